"""Events settled a second: from the bus through intake and scheduler to published follow-ups, exactly once in effect.

One process a service. Counted from the first committed offset to the last, so that starting costs nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from aftercare.engines import Engines, free_port
from benchmarks.load import EVENTS_PER_CASE, closed_cases
from shared.messaging.bus import Publisher, create_topics
from shared.messaging.progress import Progress
from shared.settings import Settings
from tests.engines.process import Process
from tests.engines.services import production_settings, service

COMPANY = ("session-completed", "case-closed")


@dataclass(frozen=True)
class Contender:
    """A way to settle the events: its processes, and the consumer groups of its two hops."""

    name: str
    processes: Callable[[dict[str, object], Path], Sequence[Process]]
    groups: tuple[str, str]
    events: int
    """How many events it settles in one run: the slow ones get fewer."""


def _ours(settings: dict[str, object], folder: Path) -> Sequence[Process]:
    return [service(name, settings, folder, free_port()) for name in ("intake", "scheduler")]


def _rival(way: str) -> Callable[[dict[str, object], Path], Sequence[Process]]:
    def processes(settings: dict[str, object], folder: Path) -> Sequence[Process]:
        command = [sys.executable, "-m", "benchmarks.rivals", way]
        return [
            Process(f"{way} {hop}", [*command, str(hop), json.dumps(settings)], folder / f"{way}-{hop}.log")
            for hop in (1, 2)
        ]

    return processes


def contenders(events: int) -> list[Contender]:
    rivals = ("rival-1", "rival-2")
    return [
        Contender("Aftercare", _ours, ("intake", "scheduler"), events),
        Contender("limit: bare aiokafka, one bulk transaction a batch", _rival("bulk"), rivals, events),
        Contender(
            "FastStream, one message and one transaction at a time", _rival("single"), rivals, events // 20
        ),
    ]


async def rate(contender: Contender, engines: Engines, folder: Path) -> float:
    """Events settled a second in one run of its own, in a namespace of its own."""
    values = production_settings(engines, f"b-{uuid.uuid4().hex[:8]}")
    settings = Settings(**values)
    await create_topics(settings)
    publisher = Publisher(settings, Progress())
    records = list(closed_cases(contender.events // EVENTS_PER_CASE, datetime.now(UTC)))
    for start in range(0, len(records), 2_000):
        await publisher.publish(records[start : start + 2_000])
    await publisher.stop()
    processes = contender.processes(values, folder)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        for process in processes:
            process.start()
        return await _measured(admin, settings, contender, processes, len(records))
    finally:
        await admin.close()
        for process in processes:
            process.kill()


async def _measured(
    admin: AIOKafkaAdminClient,
    settings: Settings,
    contender: Contender,
    processes: Sequence[Process],
    events: int,
) -> float:
    first, second = (settings.group(name) for name in contender.groups)
    began: tuple[float, int] | None = None
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        await asyncio.sleep(0.1)
        for process in processes:
            if not process.running:
                raise RuntimeError(f"{process.name} ended: {process.last_words(5)}")
        done = await _committed(admin, first, [settings.topic(name) for name in COMPANY])
        if began is None and done:
            began = (time.monotonic(), done)
        if done == events and began is not None:
            answered = await _committed(admin, second, [settings.topic("case-classified")])
            if answered >= events:
                return (events - began[1]) / (time.monotonic() - began[0])
    raise RuntimeError(f"{contender.name} did not settle {events} events in time")


async def _committed(admin: AIOKafkaAdminClient, group: str, topics: Sequence[str]) -> int:
    """How many records of these topics a group has committed; 0 while it does not exist."""
    try:
        offsets = await admin.list_consumer_group_offsets(group)
    except KafkaError:
        return 0
    return sum(max(found.offset, 0) for place, found in offsets.items() if place.topic in topics)
