"""From a flag on Kafka to the request that a provider receives: beside the floor, idle and under full load.

Flags go in turns to crisis and to the floor (`crisis_floor.py`), so both live through the same seconds. Each flag is a
drill about a client of its own and acknowledged as soon as its page is there: what is measured is a pager with a few
open incidents, which writes all of it down.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from rich.console import Console
from rich.table import Table

from aftercare.engines import Engines, free_port
from benchmarks.load import EVENTS_PER_CASE, TOPICS, closed_cases
from benchmarks.settle import Hop, Observer, observer, running
from shared.messaging.bus import create_topics
from shared.settings import Settings
from tests.builders import crisis_flagged
from tests.engines.process import Process
from tests.engines.services import production_settings, service

APART_SECONDS = 0.1
"""Between two flags on average, one for crisis and one for the floor."""
WARM_UP = 50
"""So many flags of each come first and are not counted."""
LOST_AFTER_SECONDS = 20.0
LOAD = ("intake", "scheduler", "survey", "reporting")
FLOOR_TOPIC = "floor-flagged"

AFTERCARE, FLOOR = "Aftercare", "floor: bare aiokafka consumer, httpx POST"


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    flags: int
    """Flags for each contender, idle and again under load."""
    backlog: int
    """Events that wait on the bus when the load begins: they must last as long as the flags."""
    nice: int
    """How far the other services stand back."""


class Provider(asyncio.Protocol):
    """Takes pages, and notes when each was there. As little as HTTP allows."""

    received: dict[str, float] = {}  # noqa: RUF012 - one for all connections
    links: asyncio.Queue[str] = asyncio.Queue()

    _LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
    _NAME = re.compile(rb"bench-[a-z]+-\d+")
    _LINK = re.compile(rb"/a/[\w\-]+\.[\w\-]+")
    _BODY = b'{"errcode":0,"errmsg":"ok"}'
    _ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._data = transport, b""

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        length = self._LENGTH.search(head)
        if not end or length is None or len(body) < int(length[1]):
            return
        self._data = b""
        if name := self._NAME.search(body):
            self.received.setdefault(name[0].decode(), now)
        if link := self._LINK.search(body):
            self.links.put_nowait(link[0].decode())
        self._transport.write(self._ANSWER % (len(self._BODY), self._BODY))  # type: ignore[attr-defined]


@dataclass
class Course:
    """What flags travel on: two topics, and a provider at the end of both."""

    producer: AIOKafkaProducer
    topics: Mapping[str, str]
    """By contender."""
    choice: random.Random = field(default_factory=lambda: random.Random(1))
    _number: int = 0

    async def run(self, flags: int) -> dict[str, list[float]]:
        """Milliseconds from flag to request, of each contender. Raises RuntimeError when one does not arrive."""
        await self._flag(WARM_UP)
        sent = await self._flag(flags)
        return {
            name: [(Provider.received[key] - at) * 1000 for key, at in times.items()]
            for name, times in sent.items()
        }

    async def _flag(self, flags: int) -> dict[str, dict[str, float]]:
        sent: dict[str, dict[str, float]] = {name: {} for name in self.topics}
        for _ in range(flags):
            for name in self.topics:
                self._number += 1
                key = f"bench-{'f' if name == FLOOR else 'a'}-{self._number}"
                await asyncio.sleep(self.choice.expovariate(1 / APART_SECONDS))
                sent[name][key] = await self._publish(self.topics[name], key)
        keys = [key for times in sent.values() for key in times]
        deadline = time.monotonic() + LOST_AFTER_SECONDS
        while missing := [key for key in keys if key not in Provider.received]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(missing)} of {len(keys)} flags reached no provider: {missing[0]}")
            await asyncio.sleep(0.05)
        return sent

    async def _publish(self, topic: str, key: str) -> float:
        event = crisis_flagged(client_id=key, id=key, level="drill", flagged_at=datetime.now(UTC))
        value, headers = event.data.to_json(), list(event.headers(None))
        at = time.perf_counter()
        await self.producer.send(topic, value, key=key.encode(), headers=headers)
        return at


async def _tap(crisis: str) -> None:
    """Acknowledge every page as soon as it is there, for ever."""
    async with httpx.AsyncClient(base_url=crisis, timeout=30) as http:
        while True:
            await http.post(await Provider.links.get())


@asynccontextmanager
async def _provider() -> AsyncIterator[str]:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/page"


@asynccontextmanager
async def _course(values: Mapping[str, Any], provider: str, folder: Path) -> AsyncIterator[Course]:
    """Both contenders run and read."""
    settings = Settings(**values)
    topics = {AFTERCARE: settings.topic("crisis-flagged"), FLOOR: settings.topic(FLOOR_TOPIC)}
    port = free_port()
    channels = json.dumps([{"kind": "webhook", "url": provider}])
    crisis = service("crisis", {**values, "crisis_channels": channels}, folder, port)
    command = [sys.executable, "-m", "benchmarks.crisis_floor", settings.kafka_bootstrap_servers]
    command += [topics[FLOOR], settings.group("floor"), provider]
    floor = Process("floor", command, folder / "floor.log")
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap_servers, acks="all", linger_ms=0)
    async with running([crisis, floor]):
        await producer.start()
        tapping = asyncio.create_task(_tap(f"http://127.0.0.1:{port}"))
        try:
            yield Course(producer, topics)
        finally:
            tapping.cancel()
            await producer.stop()


async def _create_topics(settings: Settings) -> None:
    await create_topics(settings)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(settings.topic(FLOOR_TOPIC), 1, 1)])
    finally:
        await admin.close()


async def _under_load(
    course: Course, bus: Observer, values: Mapping[str, Any], folder: Path, sizes: Sizes
) -> dict[str, list[float]]:
    """The same while the other services work off a backlog. Raises RuntimeError when that ends before."""
    hops = [Hop(name, TOPICS) for name in ("intake", "scheduler")]
    processes = [service(name, {**values, "nice": sizes.nice}, folder, free_port()) for name in LOAD]
    async with running(processes):
        await bus.shared_out(hops, processes)
        for process in processes:
            process.hold()
        load = list(closed_cases(sizes.backlog // EVENTS_PER_CASE, datetime.now(UTC)))
        await bus.publish(load)
        for process in processes:
            process.go_on()
        began, before = time.monotonic(), await bus.committed(hops[0])
        found = await course.run(sizes.flags)
        settled, seconds = await bus.committed(hops[0]), time.monotonic() - began
        if settled >= len(load):
            raise RuntimeError("the backlog ended before the flags did: give it more with --load-events")
    print(f"  meanwhile intake settled {(settled - before) / seconds:,.0f} events a second", flush=True)  # noqa: T201
    return found


async def run(out: Console, engines: Engines, folder: Path, sizes: Sizes) -> None:
    """Idle, then under load, and the table."""
    values = production_settings(engines, f"b-{uuid.uuid4().hex[:8]}")
    async with observer(Settings(**values)) as bus, _provider() as provider:
        await _create_topics(bus.settings)
        async with _course(values, provider, folder) as course:
            await asyncio.wait_for(_both_read(course), 90)
            idle = await course.run(sizes.flags)
            out.print("idle: measured")
            loaded = await _under_load(course, bus, values, folder, sizes)
    table = Table(
        *("flag on Kafka -> provider, ms", "p50", "p99", "p99.9", "max", "p99 of the floor's"),
        title=f"From a flag to its page, {sizes.flags:,} flags each",
    )
    for when, found in (("idle", idle), ("under load", loaded)):
        for name, times in found.items():
            ratio = quantile(times, 0.99) / quantile(found[FLOOR], 0.99)
            figures = [quantile(times, part) for part in (0.5, 0.99, 0.999, 1.0)]
            told = "" if name == FLOOR else f"{ratio:.2f} times"
            table.add_row(f"{when}: {name}", *(f"{figure:.1f}" for figure in figures), told)
    out.print(table)


async def _both_read(course: Course) -> None:
    """Flags until one of each has come through: both have their partitions then."""
    while True:
        try:
            await course._flag(1)
            return
        except RuntimeError:
            continue


def quantile(times: Sequence[float], part: float) -> float:
    """The value below which that part of them lies."""
    if part >= 1.0 or len(times) < 2:
        return max(times)
    return statistics.quantiles(times, n=1000, method="inclusive")[round(part * 1000) - 1]
