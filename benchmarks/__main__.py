"""`make bench`: every benchmark in one run, on Apache Kafka and MongoDB, as tables with ratios.

python -m benchmarks [settle|timers|growth|capacity|crisis|all] [--events 20000] [--repeat 3]
                     [--flags 2000] [--load-events 600000] [--nice 5] [--cases 10000 100000 1000000]
                     [--stored 1000000] [--due 100000] [--rivals-stored 100000] [--rivals-due 10000] [--only NAME]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from rich.console import Console

from aftercare.engines import Engines
from benchmarks import capacity, crisis, growth, settle, timers
from tests.engines.clusters import real_engines

WIDTH = 200
"""Columns of a table where no terminal says how many there are."""

Benchmark = Callable[[Console, Engines, Path, argparse.Namespace], Awaitable[None]]

BENCHMARKS: dict[str, Benchmark] = {
    "settle": lambda out, engines, folder, given: settle.run(
        out, engines, folder, given.events, given.repeat
    ),
    "timers": lambda out, engines, folder, given: timers.compare(
        out, engines, folder, timers.Sizes.of(given), given.only, given.repeat
    ),
    "growth": lambda out, engines, folder, given: growth.run(
        out, engines, folder, given.cases, given.events, given.repeat
    ),
    "crisis": lambda out, engines, folder, given: crisis.run(
        out, engines, folder, crisis.Sizes(given.flags, given.load_events, given.nice)
    ),
    "capacity": lambda out, engines, folder, given: capacity.run(
        out, engines, folder, given.counted, capacity.Rates(given.events_a_second, given.timers_a_second)
    ),
}
"""Each has engines of its own that are new."""


async def main(given: argparse.Namespace) -> None:
    # A topic that is new has no leader at first: tried again, and nothing to see.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    out = Console()
    out = out if out.is_terminal else Console(width=WIDTH)
    for name in BENCHMARKS if given.benchmark == "all" else [given.benchmark]:
        with tempfile.TemporaryDirectory() as folder:
            async with real_engines(1) as engines:
                await BENCHMARKS[name](out, engines, Path(folder), given)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("benchmark", nargs="?", choices=[*BENCHMARKS, "all"], default="all")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3)
    timers.options(parser)
    parser.add_argument("--cases", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--flags", type=int, default=2_000, help="flags of each kind that `crisis` measures")
    parser.add_argument(
        "--load-events", type=int, default=600_000, help="backlog of the other services while it does"
    )
    parser.add_argument("--nice", type=int, default=5, help="how far the load stands back for crisis")
    parser.add_argument("--counted", type=int, default=5_000, help="cases whose bytes `capacity` counts")
    parser.add_argument("--events-a-second", type=float, default=1_100, help="as `settle` has measured")
    parser.add_argument("--timers-a-second", type=float, default=6_000, help="as `timers` has measured")
    asyncio.run(main(parser.parse_args()))
