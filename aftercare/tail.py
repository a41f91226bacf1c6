"""`aftercare tail`: the events on the bus, as they arrive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from rich.text import Text

from aftercare.configuration import DATA, DataFolder, stack_settings
from aftercare.mistakes import Mistake
from aftercare.terminal import out
from shared.contracts.envelope import Event, Refused, parse_record
from shared.contracts.topics import SERVICES, TOPICS, dead_letter_topic
from shared.contracts.types import COMPANY_ZONE
from shared.messaging.bus import connection
from shared.settings import Settings

DEAD_LETTER_TOPICS = tuple(dead_letter_topic(service) for service in SERVICES)


def tail(
    topics: Annotated[
        list[str] | None, typer.Argument(help="Topics to watch; all of them by default.")
    ] = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="From the oldest event that is kept.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Whole events, CloudEvents JSON, one a line.")
    ] = False,
    data: DataFolder = DATA,
) -> None:
    """Print events as they arrive: time, topic, subject, id. Reads without a group, so it disturbs nobody."""
    settings = stack_settings(data)
    known = (*TOPICS, *DEAD_LETTER_TOPICS)
    if unknown := sorted(set(topics or ()) - set(known)):
        raise Mistake(f"there is no topic {unknown[0]!r}: `aftercare topics list` shows them")
    try:
        asyncio.run(_print(settings, topics or known, from_start, as_json))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


async def _print(settings: Settings, topics: Sequence[str], from_start: bool, as_json: bool) -> None:
    async with aclosing(records(settings, topics, from_start)) as arriving:
        async for record in arriving:
            name = record.topic.removeprefix(settings.topic(""))
            if as_json:
                print(json.dumps(whole(name, record), ensure_ascii=False), flush=True)
            else:
                out.print(line(name, record), soft_wrap=True)


async def records(
    settings: Settings, topics: Sequence[str], from_start: bool
) -> AsyncGenerator[ConsumerRecord, None]:
    """Every record of the topics, for ever. Raises Mistake when the bus is away or a topic is not there."""
    consumer = AIOKafkaConsumer(
        **connection(settings), enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        places = await _partitions(settings, [settings.topic(name) for name in topics])
        await consumer.start()
        consumer.assign(places)
        await (consumer.seek_to_beginning() if from_start else consumer.seek_to_end())
        async for record in consumer:
            yield record
    except (KafkaError, OSError) as error:
        raise Mistake(
            f"the bus at {settings.kafka_bootstrap_servers} does not answer ({type(error).__name__}): "
            "start `aftercare up`, or check AFTERCARE_KAFKA_*"
        ) from None
    finally:
        await consumer.stop()


async def _partitions(settings: Settings, names: Sequence[str]) -> list[TopicPartition]:
    admin = AIOKafkaAdminClient(**connection(settings))
    try:
        await admin.start()
        there = await admin.list_topics()
        if missing := [name for name in names if name not in there]:
            raise Mistake(f"the bus has no topic {missing[0]}: create it with `aftercare topics apply`")
        described = await admin.describe_topics(names)
    finally:
        await admin.close()
    return [
        TopicPartition(topic["topic"], partition["partition"])
        for topic in described
        for partition in topic["partitions"]
    ]


def line(topic: str, record: ConsumerRecord) -> Text:
    """A record as one line."""
    if topic in DEAD_LETTER_TOPICS:
        letter = json.loads(record.value)
        text = _columns(letter["at"].replace("T", " "), topic, letter["id"][:12], letter["reason"])
        return text.append(f"  {letter['field']}")
    event = read(topic, record)
    if isinstance(event, Refused):
        return _columns(_arrival(record), topic, "unreadable", event.reason).append(f"  {event.field}")
    text = _columns(event.time.astimezone(COMPANY_ZONE).isoformat(" "), topic, event.subject, event.id)
    said = event.data.model_dump(mode="json", by_alias=True)
    return text.append("".join(f"  {said[name]}" for name in ("change", "class", "rule") if said.get(name)))


def whole(topic: str, record: ConsumerRecord) -> dict[str, Any]:
    """A record as one JSON object. What cannot be read is told without its values: they may be names."""
    if topic in DEAD_LETTER_TOPICS:
        return {"topic": topic, **json.loads(record.value)}
    event = read(topic, record)
    if isinstance(event, Refused):
        place = {"topic": topic, "partition": record.partition, "offset": record.offset}
        return {**place, "unreadable": event.reason, "field": event.field, "message": event.message}
    return event.structured()


def read(topic: str, record: ConsumerRecord) -> Event | Refused:
    """The event of a record, or why it is none."""
    try:
        return parse_record(topic, record.headers, record.value, datetime.max.replace(tzinfo=UTC, year=9998))
    except Refused as refusal:
        return refusal


def _columns(time: str, topic: str, subject: str, name: str) -> Text:
    text = Text()
    text.append(f"{time[:19]}  ", style="dim")
    text.append(f"{topic:<21}  ", style="red" if topic in DEAD_LETTER_TOPICS else "cyan")
    text.append(f"{subject:<24}  ")
    return text.append(name, style="dim")


def _arrival(record: ConsumerRecord) -> str:
    arrived = datetime.fromtimestamp(record.timestamp / 1000, COMPANY_ZONE)
    return arrived.isoformat(" ")
