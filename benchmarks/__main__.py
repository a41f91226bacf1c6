"""`make bench`: every benchmark in one run, on Apache Kafka and MongoDB, as a table with ratios.

python -m benchmarks [--events 20000] [--repeat 3]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import settle
from tests.engines.clusters import real_engines


async def main(events: int, repeat: int) -> None:
    out = Console()
    async with real_engines(1) as engines:
        with tempfile.TemporaryDirectory() as folder:
            rates: dict[str, list[float]] = {}
            for _ in range(repeat):  # in turns: what slows the machine for a while slows all of them
                for contender in settle.contenders(events):
                    measured = await settle.rate(contender, engines, Path(folder))
                    rates.setdefault(contender.name, []).append(measured)
                    out.print(f"{contender.name}: {measured:,.0f} events a second")
    medians = {name: statistics.median(found) for name, found in rates.items()}
    ours = medians["Aftercare"]
    table = Table("events settled", "a second", "Aftercare is", title=f"medians of {repeat} runs")
    for name, median in medians.items():
        table.add_row(
            name, f"{median:,.0f}", "" if name == "Aftercare" else f"{ours / median:.2f} times that"
        )
    out.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    asyncio.run(main(given.events, given.repeat))
