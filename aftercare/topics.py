"""`aftercare topics`: the declared topics, and creating them."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer
from aiokafka.errors import KafkaError
from rich.table import Table

from aftercare.configuration import DATA, DataFolder, stack_settings
from aftercare.mistakes import Mistake
from aftercare.terminal import out
from shared.contracts.topics import TOPICS
from shared.messaging.bus import create_topics
from shared.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The topics of the bus.")


@app.command("list")
def list_topics() -> None:
    """Show every topic: what it says, who publishes and who reads it."""
    table = Table("topic", "says", "published by", "read by", "subject", "partitions", "days", "versions")
    for topic in TOPICS.values():
        table.add_row(
            topic.name,
            topic.says,
            ", ".join(topic.publishers),
            ", ".join(topic.consumers),
            topic.subject,
            str(topic.partitions),
            str(topic.retention_days),
            ", ".join(f"v{version}" for version in sorted(topic.versions)),
        )
    out.print(table)


@app.command()
def apply(
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the bus.")] = 60,
    data: DataFolder = DATA,
) -> None:
    """Create the topics that do not exist yet; existing ones are left as they are."""
    created = asyncio.run(create_when_reachable(stack_settings(data), wait))
    out.print(f"{len(created)} topics created" + "".join(f"\n  {name}" for name in sorted(created)))


async def create_when_reachable(settings: Settings, wait: float) -> list[str]:
    """The topics that had to be created. Raises Mistake when the bus takes none within `wait` seconds."""
    deadline = time.monotonic() + wait
    while True:
        try:
            return await create_topics(settings)
        except (KafkaError, OSError) as error:
            if time.monotonic() >= deadline:
                raise Mistake(
                    f"the bus at {settings.kafka_bootstrap_servers} did not create the topics within "
                    f"{wait:g} s ({error}): "
                    "check AFTERCARE_KAFKA_* and that the broker runs"
                ) from None
            await asyncio.sleep(0.5)
