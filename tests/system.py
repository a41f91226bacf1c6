"""Some of the five services running on real engines, as a test sees them: events in, what was on the bus out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from fastapi import FastAPI

from aftercare.stack import Stack, running_stack
from shared.clock import VirtualClock
from shared.contracts.envelope import Event, parse_record
from shared.messaging.bus import Outgoing, Publisher
from shared.messaging.progress import Progress
from shared.mongo.client import Database
from shared.settings import Settings
from shared.web.auth import Role
from shared.web.service import Runtime

FAR = datetime(2200, 1, 1, tzinfo=UTC)
"""A present from which no event lies too far ahead."""


@dataclass
class System:
    """A running stack under a virtual clock, with a company system that publishes to its bus."""

    stack: Stack
    clock: VirtualClock
    progress: Progress
    publisher: Publisher

    @property
    def settings(self) -> Settings:
        return next(iter(self.stack.settings.values()))

    def app(self, service: str) -> FastAPI:
        return self.stack.apps[service]

    def runtime(self, service: str) -> Runtime:
        runtime: Runtime = self.app(service).state.runtime
        return runtime

    def db(self, service: str) -> Database:
        return self.runtime(service).db

    def client(self, service: str, *roles: Role, subject: str = "someone") -> httpx.AsyncClient:
        """An HTTP client of a service, signed in with roles; without roles, not signed in."""
        return self.stack.client(service, *roles, subject=subject)

    async def publish(self, *events: Event) -> None:
        """Put events on the bus and wait until all that follows from them is settled."""
        await self.put(*(Outgoing.of(event) for event in events))
        await self.settled()

    async def put(self, *records: Outgoing) -> None:
        """Put records on the bus as they are, good or bad."""
        await self.publisher.publish(records)

    async def settled(self, timeout: float = 30) -> None:
        await self.progress.settled(timeout)

    async def until(self, instant: datetime) -> None:
        """Move the clock there, timer by timer, each with all that follows from it."""
        await self.settled()
        while (wakeup := self.clock.next_wakeup()) is not None and wakeup <= instant:
            self.clock.advance(max(wakeup, self.clock.now()))
            await self.settled()
        self.clock.advance(instant)
        await self.settled()

    async def records(self, topic: str) -> list[ConsumerRecord]:
        """Every record that was ever on a topic, by offset; topics have one partition here."""
        return await records_on(self.settings, topic)

    async def committed(self, service: str, topic: str) -> int:
        """The offset that a service has committed on a topic; 0 when none."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.kafka_bootstrap_servers)
        place = TopicPartition(self.settings.topic(topic), 0)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(self.settings.group(service), partitions=[place])
        finally:
            await admin.close()
        return max(int(found[place].offset), 0)

    async def caught_up(self, service: str, topic: str) -> None:
        """Wait until a service has committed everything that ever was on a topic, before this start too."""
        async with asyncio.timeout(20):
            while await self.committed(service, topic) < len(await self.records(topic)):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def events(self, topic: str) -> list[Event]:
        """Every event that was on a topic, each as often as it was published."""
        return [parse_record(topic, r.headers, r.value, FAR) for r in await self.records(topic)]


async def eventually(condition: Callable[[], bool], timeout: float = 20) -> None:
    """Wait until a condition holds. Raises TimeoutError."""
    async with asyncio.timeout(timeout):
        while not condition():  # noqa: ASYNC110 - a condition of somebody else's, which sets no event
            await asyncio.sleep(0.01)


async def records_on(settings: Settings, topic: str) -> list[ConsumerRecord]:
    """Every record on the single partition of a topic."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap_servers, auto_offset_reset="earliest", fetch_max_wait_ms=10
    )
    place = TopicPartition(settings.topic(topic), 0)
    await consumer.start()
    try:
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        found: list[ConsumerRecord] = []
        async with asyncio.timeout(20):
            while len(found) < end:
                found += (await consumer.getmany(place, timeout_ms=1_000)).get(place, [])
        return found
    finally:
        await consumer.stop()


@asynccontextmanager
async def running_system(
    common: dict[str, Any],
    services: Sequence[str],
    start: datetime,
    own: dict[str, dict[str, Any]] | None = None,
) -> AsyncIterator[System]:
    """Services running from `start` until the block ends; `own` has settings of single services."""
    clock, progress = VirtualClock(start), Progress()
    async with running_stack(clock, progress, common, own, tuple(services)) as stack:
        publisher = Publisher(next(iter(stack.settings.values())), progress)
        await publisher.start()
        try:
            yield System(stack, clock, progress, publisher)
        finally:
            await publisher.stop()
