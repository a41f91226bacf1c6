"""Events settled a second: from the bus through intake and scheduler to published follow-ups, exactly once in effect.

Counted from the first committed offset to the last; every process has its share of the partitions before the load is
there, so that starting costs nothing. In the same time the CPU and memory of each process are read.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from aftercare.engines import Engines, free_port
from benchmarks.load import EVENTS_PER_CASE, TOPICS, closed_cases
from benchmarks.settle_usage import Sample, Usage
from benchmarks.timers_servers import Missing, rivals_python
from shared.messaging.bus import Outgoing, Publisher, create_topics
from shared.messaging.progress import Progress
from shared.mongo.client import connect
from shared.settings import Settings
from tests.engines.process import Process
from tests.engines.services import production_settings, service

POLL_SECONDS = 0.1
STARTS_WITHIN_SECONDS = 60.0
SETTLES_WITHIN_SECONDS = 180.0


@dataclass(frozen=True)
class Hop:
    """What a service does in a run: the topics that it must have committed in the end, and its processes."""

    service: str
    topics: tuple[str, ...]
    replicas: int = 1


@dataclass(frozen=True)
class Contender:
    """A way to settle the events."""

    name: str
    hops: Sequence[Hop]
    processes: Callable[[Mapping[str, Any], Path, Hop], Sequence[Process]]
    events: int
    """How many events it settles in one run: the slow ones get fewer, the fast ones more."""
    effect: str
    """What it guarantees, and for what."""
    prepared: Hop | None = None
    """What is done beforehand, unmeasured."""
    records_per_event: int = 1
    """How many records its first hop reads for each event of the company."""
    transactional: bool = False
    """It publishes in Kafka's transactions: each leaves a marker after the last record."""
    optional: bool = False
    """It is left out, with the reason, where it does not run."""


def _ours(values: Mapping[str, Any], folder: Path, hop: Hop) -> Sequence[Process]:
    return [service(hop.service, dict(values), folder, free_port(), n) for n in range(hop.replicas)]


def _rival(way: str) -> Callable[[Mapping[str, Any], Path, Hop], Sequence[Process]]:
    def processes(values: Mapping[str, Any], folder: Path, hop: Hop) -> Sequence[Process]:
        number = hop.service[-1]
        command = [sys.executable, "-m", "benchmarks.rivals", way, number, json.dumps(dict(values))]
        return [Process(f"hop {number}", command, folder / f"{way}-{number}.log")]

    return processes


def _stream(way: str) -> Callable[[Mapping[str, Any], Path, Hop], Sequence[Process]]:
    def processes(values: Mapping[str, Any], folder: Path, hop: Hop) -> Sequence[Process]:
        number = hop.service[-1]
        command = [str(rivals_python()), "-m", "benchmarks.streams", way, number]
        command += [values["kafka_bootstrap_servers"], values["namespace"] + "."]
        return [Process(f"hop {number}", command, folder / f"{way}-{number}.log")]

    return processes


def _hops(first: str, second: str, replicas: int = 1) -> tuple[Hop, Hop]:
    return Hop(first, TOPICS, replicas), Hop(second, ("case-classified",), replicas)


AFTERCARE = "Aftercare"
TWO_OF_EACH = "Aftercare, two of each"
SCHEDULER = "scheduler alone"
TWO_SCHEDULERS = "two schedulers alone"


def contenders(events: int) -> list[Contender]:
    rivals, streams = _hops("rival-1", "rival-2"), _hops("stream-1", "stream-2")
    exactly = "exactly once, in MongoDB and on the bus"
    return [
        Contender(AFTERCARE, _hops("intake", "scheduler"), _ours, events, exactly),
        Contender(
            "limit: bare aiokafka, one bulk transaction a batch",
            *(rivals, _rival("bulk"), events),
            "as much, of documents that nobody decided on",
        ),
        Contender(
            "FastStream, one message and one transaction at a time",
            *(rivals, _rival("single"), events // 20),
            "as much, of documents that nobody decided on",
        ),
        Contender(
            "Quix Streams, exactly-once",
            *(streams, _stream("quix-exactly-once"), events * 5),
            "exactly once, on the bus alone",
            transactional=True,
            optional=True,
        ),
        Contender(
            "Quix Streams, at-least-once",
            *(streams, _stream("quix-at-least-once"), events * 5),
            "at least once, on the bus alone",
            optional=True,
        ),
        Contender(
            "Faust, at-least-once",
            *(streams, _stream("faust-at-least-once"), events),
            "at least once, on the bus alone",
            optional=True,
        ),
    ]


def replicas(events: int) -> list[Contender]:
    """What a second process adds: to the whole, and where one service has the machine to itself and the engines."""
    exactly = "exactly once, in MongoDB and on the bus"

    def alone(name: str, number: int) -> Contender:
        hop = Hop("scheduler", (*TOPICS, "case-classified"), number)
        prepared = Hop("intake", TOPICS)
        return Contender(name, (hop,), _ours, events, exactly, prepared=prepared, records_per_event=2)

    return [
        Contender(TWO_OF_EACH, _hops("intake", "scheduler", 2), _ours, events, exactly),
        alone(SCHEDULER, 1),
        alone(TWO_SCHEDULERS, 2),
    ]


async def measure(contender: Contender, engines: Engines, folder: Path) -> Usage:
    """One run of its own, in a namespace of its own. Raises RuntimeError when it does not come to an end."""
    values = production_settings(engines, f"b-{uuid.uuid4().hex[:8]}")
    load = list(closed_cases(contender.events // EVENTS_PER_CASE, datetime.now(UTC)))
    async with observer(Settings(**values)) as bus:
        await create_topics(bus.settings)
        try:
            return await bus.measure(contender, values, load, folder)
        finally:
            await bus.remove()


@asynccontextmanager
async def running(processes: Sequence[Process]) -> AsyncIterator[Sequence[Process]]:
    try:
        for process in processes:
            process.start()
        yield processes
    finally:
        for process in processes:
            if process.running:
                process.go_on()
                process.stop(5)


async def _pause(processes: Sequence[Process]) -> None:
    await asyncio.sleep(POLL_SECONDS)
    for process in processes:
        if not process.running:
            raise RuntimeError(f"{process.name} ended: {process.last_words(5)}")


class Observer:
    """Publishes the load and watches the consumer groups."""

    def __init__(self, settings: Settings, admin: AIOKafkaAdminClient, reader: AIOKafkaConsumer) -> None:
        self.settings = settings
        self._admin = admin
        self._reader = reader

    async def publish(self, records: Sequence[Outgoing]) -> None:
        publisher = Publisher(self.settings, Progress())
        for start in range(0, len(records), 2_000):
            await publisher.publish(records[start : start + 2_000])
        await publisher.stop()

    async def measure(
        self, contender: Contender, values: Mapping[str, Any], load: Sequence[Outgoing], folder: Path
    ) -> Usage:
        """What it takes to settle the load. Raises RuntimeError when it does not come to an end."""
        processes = [one for hop in contender.hops for one in contender.processes(values, folder, hop)]
        async with running(processes):
            await self.shared_out(contender.hops, processes)
            # They stand still until all the load is there: publishing it takes no time from them.
            for process in processes:
                process.hold()
            await self.publish(load)
            if contender.prepared:
                async with running(contender.processes(values, folder, contender.prepared)) as helpers:
                    while await self.committed(contender.prepared) < len(load):
                        await _pause(helpers)
            before = await self.committed(contender.hops[0])
            for process in processes:
                process.go_on()
            return await self._settled(contender, processes, before)

    async def shared_out(self, hops: Sequence[Hop], processes: Sequence[Process]) -> None:
        """Wait until every process has a share of the partitions. Raises RuntimeError if that takes too long."""
        deadline = time.monotonic() + STARTS_WITHIN_SECONDS
        while not all([await self._shared_out(hop) for hop in hops]):
            await _pause(processes)
            if time.monotonic() > deadline:
                raise RuntimeError("the partitions were not shared out in time")

    async def _settled(self, contender: Contender, processes: Sequence[Process], before: int) -> Usage:
        """Wait until all is settled, from the first record that is committed after `before`."""
        first, *rest = contender.hops
        total = await self.ends(first)
        began: tuple[Sample, int] | None = None
        deadline = time.monotonic() + SETTLES_WITHIN_SECONDS
        while time.monotonic() < deadline:
            await _pause(processes)
            done = await self.committed(first)
            if began is None:
                # What stood still for long has to join its group again.
                if done > before and all([await self._shared_out(hop) for hop in contender.hops]):
                    began = (Sample.take(processes), done)
            elif done >= total and not any([await self._left(hop, contender, total) for hop in rest]):
                events = (total - began[1]) / contender.records_per_event
                if not events:
                    raise RuntimeError(
                        "all was settled before anything could be measured: give it more events"
                    )
                return Usage.between(began[0], Sample.take(processes), events, processes)
        raise RuntimeError(f"{contender.name} settled {done} of {total} records in time")

    async def remove(self) -> None:
        """Remove the topics and databases, so that they do not slow the next run."""
        mine = self.settings.topic("")
        names = [name for name in await self._admin.list_topics() if name.startswith(mine)]
        await self._admin.delete_topics(names)
        mongo = connect(self.settings)
        for name in await mongo.list_database_names():
            if name.startswith(self.settings.namespace):
                await mongo.drop_database(name)
        mongo.close()

    async def caught_up(self, hop: Hop) -> None:
        """Wait until it has committed all that there is. Raises RuntimeError if that takes too long."""
        deadline = time.monotonic() + SETTLES_WITHIN_SECONDS
        while await self.committed(hop) < await self.ends(hop):
            await asyncio.sleep(POLL_SECONDS)
            if time.monotonic() > deadline:
                raise RuntimeError(f"{hop.service} did not catch up in time")

    async def _left(self, hop: Hop, contender: Contender, at_least: int) -> bool:
        """Whether a later hop has something left to read."""
        if await self.committed(hop) < at_least // contender.records_per_event:
            return True
        marker = 1 if contender.transactional else 0
        offsets = await self._offsets(hop)
        return any(end - offsets.get(place, 0) > marker for place, end in (await self._ends(hop)).items())

    async def ends(self, hop: Hop) -> int:
        """How many records its topics hold."""
        return sum((await self._ends(hop)).values())

    async def committed(self, hop: Hop) -> int:
        """How many records of its topics it has committed; 0 while its group does not exist."""
        return sum((await self._offsets(hop)).values())

    async def _ends(self, hop: Hop) -> dict[TopicPartition, int]:
        names = [self.settings.topic(topic) for topic in hop.topics]
        told = await self._admin.describe_topics(names)
        places = [
            TopicPartition(one["topic"], part["partition"]) for one in told for part in one["partitions"]
        ]
        return dict(await self._reader.end_offsets(places))

    async def _offsets(self, hop: Hop) -> dict[TopicPartition, int]:
        names = {self.settings.topic(topic) for topic in hop.topics}
        try:
            found = await self._admin.list_consumer_group_offsets(self.settings.group(hop.service))
        except KafkaError:
            return {}
        return {place: max(at.offset, 0) for place, at in found.items() if place.topic in names}

    async def _shared_out(self, hop: Hop) -> bool:
        """Whether each of its processes has a share of the partitions."""
        try:
            (answer,) = await self._admin.describe_consumer_groups([self.settings.group(hop.service)])
        except KafkaError:
            return False
        _error, _group, state, _type, _protocol, members, *_ = answer.groups[0]
        return state == "Stable" and len(members) == hop.replicas


@asynccontextmanager
async def observer(settings: Settings) -> AsyncIterator[Observer]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    reader = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    await reader.start()
    try:
        yield Observer(settings, admin, reader)
    finally:
        await reader.stop()
        await admin.close()


async def run(out: Console, engines: Engines, folder: Path, events: int, repeat: int) -> None:
    """All contenders in turns - what slows the machine for a while slows all of them - and the tables."""
    found: dict[str, list[Usage]] = {}
    missing: dict[str, str] = {}
    for _ in range(repeat):
        for contender in (*contenders(events), *replicas(events)):
            if contender.name in missing:
                continue
            try:
                usage = await measure(contender, engines, folder)
            except (RuntimeError, OSError, Missing) as error:
                if not contender.optional:
                    raise
                missing[contender.name] = str(error).strip().splitlines()[-1]
                out.print(f"{contender.name}: left out, {missing[contender.name]}", markup=False)
                continue
            found.setdefault(contender.name, []).append(usage)
            out.print(f"{contender.name}: {usage.rate:,.0f} events a second", markup=False)
    out.print(_contenders_table(found, contenders(events), missing, repeat))
    out.print(
        "The stream processors only validate each event and map it to an output record: they keep nothing that can "
        "be queried, hold no timers, decide by no history, and share no transaction with a database."
    )
    out.print(_replicas_table(found, repeat))
    out.print(
        "Idle is what all cores together had left. Where one process leaves a part i idle, a second can add "
        "i / (1 - i) of the first at most, as long as an event costs the same."
    )


def _median(usages: Sequence[Usage], of: Callable[[Usage], float]) -> float:
    return statistics.median(of(usage) for usage in usages)


def costs(usages: Sequence[Usage]) -> list[str]:
    """Cells: CPU seconds for 1,000 events of services, Kafka and MongoDB; idle and elsewhere."""
    seconds = [_median(usages, of) for of in (lambda u: u.services, lambda u: u.kafka, lambda u: u.mongodb)]
    shares = [_median(usages, of) for of in (lambda u: u.idle, lambda u: u.elsewhere)]
    return [*(f"{value:.2f}" for value in seconds), *(f"{value:.0%}" for value in shares)]


def peaks(usages: Sequence[Usage]) -> str:
    """A cell: peak memory of each process."""
    return ", ".join(
        f"{name} {statistics.median(one.peak[name] for one in usages):.0f}" for name in usages[0].peak
    )


COSTS = ("CPU s / 1,000: services", "Kafka", "MongoDB", "idle", "used elsewhere")


def _contenders_table(
    found: Mapping[str, Sequence[Usage]],
    listed: Sequence[Contender],
    missing: Mapping[str, str],
    repeat: int,
) -> Table:
    table = Table(
        *("events settled", "effect", "a second", "Aftercare is", *COSTS, "peak MiB"),
        title=f"Events settled, medians of {repeat}",
    )
    ours = _median(found[AFTERCARE], lambda u: u.rate)
    for contender in listed:
        usages = found.get(contender.name)
        if not usages:
            table.add_row(contender.name, f"left out: {missing.get(contender.name, '')}")
            continue
        rate = _median(usages, lambda u: u.rate)
        ratio = "" if contender.name == AFTERCARE else f"{ours / rate:.2f} times that"
        table.add_row(
            *(contender.name, contender.effect, f"{rate:,.0f}", ratio, *costs(usages), peaks(usages))
        )
    return table


def _replicas_table(found: Mapping[str, Sequence[Usage]], repeat: int) -> Table:
    table = Table(
        *("processes", "a second", "the second adds", "room for at most", *COSTS, "peak MiB"),
        title=f"A second process, medians of {repeat}",
    )
    for one, two in ((AFTERCARE, TWO_OF_EACH), (SCHEDULER, TWO_SCHEDULERS)):
        first = _median(found[one], lambda u: u.rate)
        idle = _median(found[one], lambda u: u.idle)
        for name in (one, two):
            rate = _median(found[name], lambda u: u.rate)
            added = "" if name == one else f"{rate / first - 1:.2f} of the first"
            room = "" if name == one else f"{idle / (1 - idle):.2f}"
            table.add_row(name, f"{rate:,.0f}", added, room, *costs(found[name]), peaks(found[name]))
    return table
