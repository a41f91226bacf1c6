"""A run: services as processes on a cluster, input that is published meanwhile, faults at moments of its progress."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from pymongo.errors import PyMongoError

from aftercare.engines import Engines, free_port
from aftercare.stack import settings_class
from shared.clock import SystemClock
from shared.contracts.envelope import Event
from shared.contracts.topics import SERVICES, TOPICS, consumed_by, dead_letter_topic
from shared.messaging.bus import Outgoing, Publisher, create_topics
from shared.messaging.progress import Progress
from shared.mongo.client import Database, connect, database
from tests.builders import COMPANY
from tests.engines.kafka import KafkaCluster, delete_topics
from tests.engines.mongo import ReplicaSet
from tests.engines.process import Process
from tests.engines.services import production_settings, service

RESTART_SECONDS = 0.5
"""How long a service that ended stays down: Kubernetes waits longer, and we have less time."""
STANDSTILL_SECONDS = 150.0
"""A run in which nothing moves for so long has failed."""
TELL_SECONDS = 15.0
PORTION = 100
PAUSE_SECONDS = 0.5
"""Between portions while a fault lasts: so the input does not end before the fault does."""
EVERYBODY = ("intake", "scheduler", "survey", "crisis", "reporting")
PARTITIONS = 4
"""Of each topic: as many as replicas may share, and quickly created."""

Act = Callable[[], Awaitable[str | None]]


def groups(service: str) -> dict[str, Sequence[str]]:
    """What each consumer group of a service reads: crisis has one of its own for flags."""
    if service != "crisis":
        return {service: consumed_by(service)}
    others = [topic for topic in consumed_by(service) if topic != "crisis-flagged"]
    return {"crisis": others, "crisis-flags": ["crisis-flagged"]}


@dataclass
class Cluster:
    """Brokers and as many members of a replica set, which survive the runs."""

    kafka: KafkaCluster
    mongo: ReplicaSet
    folder: Path

    @property
    def engines(self) -> Engines:
        replication = len(self.kafka.brokers)
        return Engines(self.kafka.bootstrap, self.mongo.url, idempotence=True, replication=replication)

    async def whole(self) -> None:
        """Start again whatever lies down, and wait until it is there."""
        for n, broker in enumerate(self.kafka.brokers):
            broker.start()
            await asyncio.to_thread(self.kafka.wait_for, n)
        for member in self.mongo.members:
            member.start()
        await asyncio.to_thread(self.mongo.primary)

    def stop(self) -> None:
        self.kafka.stop()
        self.mongo.stop()


class Keeper:
    """Runs the replicas of the services, and starts again what ends by itself or is killed."""

    def __init__(self, settings: dict[str, Any], folder: Path) -> None:
        self.replicas: dict[str, Process] = {}
        self.restarts = 0
        self._settings = settings
        self._folder = folder
        self._ports: dict[str, int] = {}
        self._down: set[str] = set()

    def add(self, name: str, replica: int = 0, environment: Mapping[str, str] | None = None) -> Process:
        """A replica of a service, which runs from now on."""
        port = free_port()
        process = service(name, self._settings, self._folder, port, replica, environment)
        self.replicas[process.name] = process
        self._ports[process.name] = port
        process.start()
        return process

    def address(self, called: str) -> str:
        """Where a replica is called over HTTP."""
        return f"http://127.0.0.1:{self._ports[called]}"

    async def up(self, called: str) -> None:
        """Wait until a replica listens: it has begun, whether or not it is connected yet."""
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self._ports[called])
                    writer.close()
                    return
                await asyncio.sleep(0.1)

    async def ready(self, replicas: Sequence[str]) -> None:
        """Wait until all of them reach bus and database and have partitions, all at the same time."""
        for called in replicas:
            await self.up(called)
        async with asyncio.timeout(120), httpx.AsyncClient(timeout=30) as http:
            while True:
                answers = [await http.get(f"{self.address(called)}/readyz") for called in replicas]
                if all(all(answer.json()["dependencies"].values()) for answer in answers):
                    return
                await asyncio.sleep(0.3)

    async def remove(self, called: str) -> int | None:
        """End a replica for good by SIGTERM; returns its exit code."""
        process = self.replicas.pop(called)
        return await asyncio.to_thread(process.stop)

    async def restart(self, called: str) -> None:
        """As in a rolling update: SIGTERM, wait, start."""
        self._down.add(called)
        code = await asyncio.to_thread(self.replicas[called].stop)
        assert code == 0, f"{called} did not drain: {code}\n{self.replicas[called].last_words()}"
        self.replicas[called].start()
        self._down.discard(called)

    async def keep(self) -> None:
        while True:
            for called, process in list(self.replicas.items()):
                if not process.running and called not in self._down:
                    self.restarts += 1
                    await asyncio.sleep(RESTART_SECONDS)
                    if self.replicas.get(called) is process:
                        process.start()
            await asyncio.sleep(0.1)

    def kill(self) -> None:
        for process in self.replicas.values():
            process.kill()


@dataclass
class Run:
    """One scenario under way."""

    name: str
    cluster: Cluster
    settings: dict[str, Any]
    services: Sequence[str]
    keeper: Keeper
    choice: random.Random
    publisher: Publisher
    databases: dict[str, Database]
    began: float = field(default_factory=time.monotonic)
    said: list[str] = field(default_factory=list)
    input: list[Event] = field(default_factory=list)
    _settled: dict[str, float] = field(default_factory=dict)
    _in_fault: bool = False

    def say(self, what: str) -> None:
        line = f"{time.monotonic() - self.began:6.1f} s {self.progress():4.0%}  {what}"
        self.said.append(line)
        print(f"{self.name}: {line}", flush=True)  # noqa: T201

    def progress(self) -> float:
        """How much of the input intake and scheduler have settled."""
        return sum(self._settled.values()) / max(len(self._settled), 1)

    def moments(self, count: int, first: float = 0.05, last: float = 0.95) -> list[float]:
        """Seeded parts of the input, one in each stretch of the run."""
        width = (last - first) / count
        return [first + width * (n + self.choice.random()) for n in range(count)]

    def topic(self, name: str) -> str:
        return f"{self.settings['namespace']}.{name}"

    async def play(
        self,
        told: Sequence[Event],
        faults: Sequence[tuple[float, Act]] = (),
        *,
        records: Sequence[Outgoing] | None = None,
        ahead: float = 0.25,
    ) -> None:
        """Publish the input (as `records`, if it is to be repeated or spoilt), let the faults happen, and settle.

        A fault is the part of the input that must be settled before it, and what happens then. `ahead` is the part of
        the input that may lie on the bus before intake settles it.
        """
        self.input = list(told)
        out = list(records) if records is not None else [Outgoing.of(event) for event in told]
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._watch())
            publishing = tasks.create_task(self._publish(out, ahead))
            for fraction, act in sorted(faults, key=lambda fault: fault[0]):
                await self._reach(fraction)
                self._in_fault = True
                what = await act()
                self._in_fault = False
                if what:
                    self.say(what)
            await publishing
            await self.settle()
            watch.cancel()
        self.say(f"settled; {self.keeper.restarts} restarts")

    async def _publish(self, records: Sequence[Outgoing], ahead: float) -> None:
        """A portion at a time, never further ahead of intake. What fails is published again."""
        for start in range(0, len(records), PORTION):
            while start / len(records) - self._settled.get("intake", 0) > ahead:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            if self._in_fault:
                await asyncio.sleep(PAUSE_SECONDS)
            while True:
                try:
                    await self.publisher.publish(records[start : start + PORTION])
                    break
                except (KafkaError, OSError) as error:
                    self.say(f"the company publishes again: {type(error).__name__}")
                    await asyncio.sleep(0.5)

    async def _watch(self) -> None:
        """Count what is settled of the input."""
        wholes = {
            name: len({event.unique for event in self.input if event.topic in consumed_by(name)})
            for name in ("intake", "scheduler")
        }
        while True:
            for name, whole in wholes.items():
                with contextlib.suppress(PyMongoError):
                    marks = self.databases[name].get_collection("journal")
                    count = await marks.count_documents({"_id": {"$regex": f"^in {COMPANY}"}})
                    self._settled[name] = min(count / whole, 1.0)
            await asyncio.sleep(0.3)

    async def _reach(self, fraction: float) -> None:
        seen, since = -1.0, time.monotonic()
        while self.progress() < fraction:
            if self.progress() != seen:
                seen, since = self.progress(), time.monotonic()
            assert time.monotonic() - since < STANDSTILL_SECONDS, self._standstill("progress stands still")
            await asyncio.sleep(0.05)

    async def settle(self) -> None:
        """Wait until two readings in a row find everything read, fired and published."""
        before: Any = None
        seen: Any = None
        since = told = time.monotonic()
        while True:
            try:
                reading = await self._reading()
            except (PyMongoError, KafkaError, OSError) as error:
                reading = type(error).__name__
            if reading == before and isinstance(reading, dict) and not any(reading["left"].values()):
                return
            if reading != seen:
                seen, since = reading, time.monotonic()
            assert time.monotonic() - since < STANDSTILL_SECONDS, self._standstill(f"{reading}")
            before = reading
            if time.monotonic() > told + TELL_SECONDS:
                told = time.monotonic()
                left = reading["left"] if isinstance(reading, dict) else {reading: "asked again"}
                self.say("left: " + ", ".join(f"{what} {count}" for what, count in left.items() if count))
            await asyncio.sleep(0.5)

    async def _reading(self) -> dict[str, Any]:
        left: dict[str, int] = {}
        written: dict[str, int] = {}
        now = SystemClock().now()
        for name, db in self.databases.items():
            written[name] = await db.get_collection("journal").estimated_document_count()
            left[f"{name} outbox"] = await db.get_collection("outbox").count_documents({"dispatched": False})
            left[f"{name} timers"] = await db.get_collection("agenda").count_documents(
                {"next_at": {"$lte": now}}
            )
        left |= {f"{name} behind": count for name, count in (await self.behind()).items()}
        return {"left": left, "written": written}

    async def behind(self) -> dict[str, int]:
        """How many records each consumer group has yet to settle of the topics that it reads."""
        ends = await self.ends()
        found: dict[str, int] = {}
        admin = AIOKafkaAdminClient(bootstrap_servers=self.cluster.kafka.bootstrap)
        await admin.start()
        try:
            for name in self.services:
                for group, read in groups(name).items():
                    committed = await admin.list_consumer_group_offsets(self.topic(f"aftercare-{group}"))
                    topics = {self.topic(topic) for topic in read}
                    behind = {
                        place: max(end - max(committed[place].offset if place in committed else 0, 0), 0)
                        for place, end in ends.items()
                        if place.topic in topics
                    }
                    found[group] = sum(behind.values())
        finally:
            await admin.close()
        return found

    async def in_sync(self) -> None:
        """Wait until every copy of every partition is complete: else the next broker to end takes records away."""
        names = [self.topic(name) for name in TOPICS]
        admin = AIOKafkaAdminClient(bootstrap_servers=self.cluster.kafka.bootstrap)
        await admin.start()
        try:
            async with asyncio.timeout(120):
                while True:
                    described = await admin.describe_topics(names)
                    parts = [part for topic in described for part in topic["partitions"]]
                    if all(len(part["isr"]) == len(part["replicas"]) for part in parts):
                        return
                    await asyncio.sleep(0.3)
        finally:
            await admin.close()

    async def ends(self) -> dict[TopicPartition, int]:
        """The end of every partition of the run."""
        async with self._consumer() as consumer:
            return await self._ends(consumer)

    async def _ends(self, consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
        letters = [TopicPartition(self.topic(dead_letter_topic(one)), 0) for one in SERVICES]
        places = [TopicPartition(self.topic(one), n) for one in TOPICS for n in range(PARTITIONS)]
        return dict(await consumer.end_offsets([*places, *letters]))

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.cluster.kafka.bootstrap, auto_offset_reset="earliest", fetch_max_wait_ms=50
        )
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    async def bus(self) -> dict[str, list[Any]]:
        """Every record that is on the bus, by topic."""
        found: dict[str, list[Any]] = {}
        async with self._consumer() as consumer:
            ends = {place: end for place, end in (await self._ends(consumer)).items() if end}
            consumer.assign(list(ends))
            at = dict.fromkeys(ends, 0)
            async with asyncio.timeout(120):
                while any(at[place] < end for place, end in ends.items()):
                    for place, records in (await consumer.getmany(timeout_ms=1_000)).items():
                        at[place] = records[-1].offset + 1
                        found.setdefault(place.topic.removeprefix(self.topic("")), []).extend(records)
        return found

    def _standstill(self, what: str) -> str:
        logs = "\n".join(
            f"--- {called} (runs: {process.running})\n{process.last_words(15)}"
            for called, process in self.keeper.replicas.items()
        )
        return f"{self.name}: {what}\n{logs}"


@asynccontextmanager
async def running(
    name: str,
    cluster: Cluster,
    namespace: str,
    seed: int,
    services: Sequence[str],
    *,
    started: bool = True,
    **own: Any,
) -> AsyncIterator[Run]:
    """Topics, databases and (`started` or not) services of one run; all of it is gone at the end."""
    await cluster.whole()
    settings = production_settings(
        cluster.engines, namespace, kafka_partitions=PARTITIONS, **{"batch_records": 200, **own}
    )
    shared = settings_class("intake")(**settings)
    folder = cluster.folder / namespace
    folder.mkdir()
    await _create_topics(shared)
    client = connect(shared)
    keeper = Keeper(settings, folder)
    publisher = Publisher(shared, Progress())
    databases = {one: database(client, shared.database(one)) for one in services}
    choice = random.Random(f"{name} {seed}")
    run = Run(name, cluster, settings, services, keeper, choice, publisher, databases)
    keeping = asyncio.create_task(keeper.keep())
    try:
        for one in services if started else ():
            keeper.add(one)
        yield run
    finally:
        keeping.cancel()
        keeper.kill()
        await publisher.stop()
        with contextlib.suppress(
            Exception
        ):  # the next run has names of its own: what cannot be cleared stays
            await cluster.whole()
            await _clear(run, client)
        client.close()
        shutil.rmtree(folder, ignore_errors=True)


async def _create_topics(settings: Any) -> None:
    deadline = time.monotonic() + 60
    while True:  # a broker that was just started may not be counted yet
        try:
            await create_topics(settings)
            return
        except KafkaError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(1)


async def _clear(run: Run, client: Any) -> None:
    for db in run.databases.values():
        await client.drop_database(db.name)
    await delete_topics(run.cluster.kafka.bootstrap, run.topic(""))
