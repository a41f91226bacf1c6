"""Timers fired a second and how late: many stored, and a tenth of them due at one instant.

Counted by what lies on the bus, by the broker's own clock: each timer exactly once.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import statistics
import sys
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from rich.console import Console
from rich.table import Table

from aftercare.engines import Engines, free_port
from benchmarks import timers_agenda, timers_limit, timers_servers
from benchmarks.timer_rivals.given import Given, Lot
from benchmarks.timers_servers import Missing
from shared.contracts.topics import TOPICS
from shared.messaging.bus import create_topics
from shared.mongo.client import connect, database
from shared.settings import Settings
from tests.engines.process import Process, memory_mib
from tests.engines.services import production_settings, service

DAY_SECONDS = 86_400
QUIET, QUIET_APART_SECONDS = 500, 0.01
"""Before the crowd, so many timers come one by one: how late is a timer when nothing else is due?"""
CALM_SECONDS = 3.0
"""Between them and the crowd."""
GIVES_UP_AFTER_SECONDS = 90.0
"""A contender that publishes nothing for so long has fired what it fires."""
LONGEST_SECONDS = 900.0
"""Seconds after which a crowd is over in any case: what has not fired by then counts as not fired."""

Store = Callable[[Sequence[Lot]], Awaitable[None]]


@dataclass(frozen=True)
class Site:
    """Where one run takes place."""

    engines: Engines
    values: dict[str, object]
    folder: Path
    stack: ExitStack

    @property
    def settings(self) -> Settings:
        return Settings.model_validate(self.values)


@dataclass(frozen=True)
class Contender:
    """A way to fire timers. `ready` starts what it needs, and returns how it stores timers and its processes."""

    name: str
    ready: Callable[[Site], tuple[Store, Sequence[Process]]]
    stored: int
    due: int
    kinds: Sequence[str] = ("reminder",)


@dataclass(frozen=True)
class Result:
    """One run. Lateness in seconds, of the crowd and of those that came one by one; memory in MiB."""

    rate: float
    lateness: Sequence[float]
    quiet: Sequence[float]
    memory: float
    missing: int
    twice: int


# --- the contenders -----------------------------------------------------------------------------------------------


def _ours(kinds: Sequence[str]) -> Callable[[Site], tuple[Store, Sequence[Process]]]:
    def ready(site: Site) -> tuple[Store, Sequence[Process]]:
        db = database(connect(site.settings), site.settings.database("scheduler"))
        site.stack.callback(db.client.close)

        async def store(lots: Sequence[Lot]) -> None:
            await timers_agenda.store(db, kinds, lots)

        return store, [service("scheduler", site.values, site.folder, free_port())]

    return ready


def _given(site: Site, **servers: str) -> Path:
    value, headers = timers_agenda.example()
    topic = site.settings.topic("reminder-due")
    given = Given(site.engines.kafka, topic, value, headers, **servers)
    path = site.folder / "given.json"
    path.write_text(json.dumps(dataclasses.asdict(given)))
    return path


def _told(given: Path) -> dict[str, str]:
    path = os.pathsep.join([str(timers_servers.VENV / "bin"), os.environ["PATH"]])
    return {**os.environ, "GIVEN": str(given), "PATH": path}


def _process(site: Site, given: Path, name: str, *command: str) -> Process:
    return Process(name, command, site.folder / f"{name}.log", _told(given))


def _limit(site: Site) -> tuple[Store, Sequence[Process]]:
    name = site.settings.database("limit")
    db = database(connect(site.settings), name)
    site.stack.callback(db.client.close)
    given = _given(site, mongo=site.engines.mongo, database=name)

    async def store(lots: Sequence[Lot]) -> None:
        await timers_limit.store(db, lots)

    return store, [_process(site, given, "limit", sys.executable, "-m", "benchmarks.timers_limit")]


def _rival(name: str) -> Callable[[Site], tuple[Store, Sequence[Process]]]:
    def ready(site: Site) -> tuple[Store, Sequence[Process]]:
        run = [
            str(timers_servers.rivals_python()),
            str(timers_servers.HERE / "timer_rivals" / "run.py"),
            name,
        ]
        if name.endswith("postgres"):
            given = _given(site, postgres=site.stack.enter_context(timers_servers.postgres()))
        else:
            given = _given(site, redis=site.stack.enter_context(timers_servers.redis(site.folder)))

        async def store(lots: Sequence[Lot]) -> None:
            told = [json.dumps(dataclasses.asdict(lot)) for lot in lots]
            storing = await asyncio.create_subprocess_exec(*run, "store", *told, env=_told(given))
            if await storing.wait():
                raise RuntimeError(f"{name} could not store its timers")

        workers = [_process(site, given, name, *run, "work")]
        if name.startswith("taskiq"):
            there = ("--app-dir", str(timers_servers.HERE / "timer_rivals"))
            often = ("--update-interval", "1")
            workers = [
                _process(site, given, f"{name}-scheduler",
                         "taskiq", "scheduler", f"{name}:scheduler", *there, *often),
                _process(site, given, f"{name}-worker",
                         "taskiq", "worker", f"{name}:broker", *there, "--workers", "1"),
            ]  # fmt: skip
        return store, workers

    return ready


@dataclass(frozen=True)
class Sizes:
    """How many timers are stored and due at once: ours and the limit's, and the rivals', which are slow to store."""

    stored: int
    due: int
    rivals_stored: int
    rivals_due: int

    @classmethod
    def of(cls, given: argparse.Namespace) -> Sizes:
        few = (min(given.stored, given.rivals_stored), min(given.due, given.rivals_due))
        return cls(given.stored, given.due, *few)


def options(parser: argparse.ArgumentParser) -> None:
    """What the command line may say of this benchmark."""
    parser.add_argument("--stored", type=int, default=1_000_000, help="timers that are stored")
    parser.add_argument("--due", type=int, default=100_000, help="timers of these that are due at once")
    parser.add_argument("--rivals-stored", type=int, default=100_000)
    parser.add_argument("--rivals-due", type=int, default=10_000)
    parser.add_argument("--only", action="append", help="a way to fire timers, by the start of its name")


def contenders(sizes: Sizes) -> list[Contender]:
    """Every way to fire timers that is measured."""
    many, few = (sizes.stored, sizes.due), (sizes.rivals_stored, sizes.rivals_due)
    kinds = list(timers_agenda.MAKERS)
    return [
        Contender("Aftercare", _ours(["reminder"]), *many),
        Contender("mixed kinds: Aftercare", _ours(kinds), *many, kinds),
        Contender("limit: bare claim, publish, mark", _limit, *many),
        Contender("Celery, Redis", _rival("celery_redis"), *few),
        Contender("dramatiq, Redis", _rival("dramatiq_redis"), *few),
        Contender("APScheduler, PostgreSQL", _rival("apscheduler_postgres"), *few),
        Contender("procrastinate, PostgreSQL", _rival("procrastinate_postgres"), *few),
        Contender("taskiq, Redis", _rival("taskiq_redis_lists"), *few),
    ]


# --- one run ------------------------------------------------------------------------------------------------------


async def run(contender: Contender, engines: Engines, folder: Path) -> Result:
    """Store, start, let the crowd come due, and read what was published. Raises Missing, RuntimeError."""
    values = production_settings(engines, f"t-{uuid.uuid4().hex[:8]}")
    folder = folder / str(values["namespace"])
    folder.mkdir()
    with ExitStack() as stack:
        site = Site(engines, values, folder, stack)
        await create_topics(site.settings)
        store, processes = contender.ready(site)
        for process in processes:
            stack.callback(process.kill)
        lead = await _before(contender, store)
        for process in processes:
            process.start()
        bus = Bus(site.settings)
        await bus.start()
        try:
            return await _measured(contender, store, processes, bus, lead)
        finally:
            await bus.stop()


async def _before(contender: Contender, store: Store) -> float:
    """Store what is not due for days, and one timer whose firing shows that the contender is up.

    Returns how many seconds ahead the crowd is to be stored: twice as long as it should take.
    """
    later = contender.stored - contender.due - QUIET
    began = time.monotonic()
    await store([Lot(0, later, time.time() + 10 * DAY_SECONDS, apart=1, together=1_000)])
    took = time.monotonic() - began
    await store([Lot(later, 1, time.time())])
    return 20 + 2 * took * (contender.due + QUIET) / later


async def _measured(
    contender: Contender, store: Store, processes: Sequence[Process], bus: Bus, lead: float
) -> Result:
    up = timers_agenda.firings(contender.kinds, 1)
    await _until(bus, up, processes, GIVES_UP_AFTER_SECONDS + contender.stored / 500)
    first = contender.stored - contender.due
    at = float(round(time.time() + lead))
    alone = Lot(
        first - QUIET + 1, QUIET, at - CALM_SECONDS - QUIET * QUIET_APART_SECONDS, QUIET_APART_SECONDS
    )
    crowd = Lot(first + 1, contender.due, at)
    await store([alone, crowd])
    if time.time() > alone.at - 1:
        raise RuntimeError(
            f"{contender.name} took longer to store what is due than the {lead:.0f} s given it"
        )
    await asyncio.sleep(at - time.time())
    few, many = (timers_agenda.firings(contender.kinds, lot.count) for lot in (alone, crowd))
    await _until(bus, up + few + many, processes, LONGEST_SECONDS)
    family = [pid for process in processes for pid in _family(process.pid)]
    memory = sum(memory_mib(pid, "VmHWM") for pid in family)
    published = await bus.read()
    times = Counter(name for name, _, _ in published)
    quiet = sorted(stamp - due for _, due, stamp in published if alone.at <= due < at)
    late = sorted(stamp - due for _, due, stamp in published if due >= at)
    if not late or not quiet:
        raise RuntimeError(f"{contender.name} fired nothing: {processes[-1].last_words(5)}")
    return Result(
        len(late) / late[-1],
        late,
        quiet,
        memory,
        missing=max(up + few + many - len(times), 0),
        twice=sum(times.values()) - len(times),
    )


async def _until(bus: Bus, wanted: int, processes: Sequence[Process], seconds: float) -> None:
    """Wait until so many records lie on the bus; or no more come, or the time is over."""
    deadline = time.monotonic() + seconds
    before, changed = -1, time.monotonic()
    while time.monotonic() < deadline:
        for process in processes:
            if not process.running:
                raise RuntimeError(f"{process.name} ended: {process.last_words(5)}")
        count = await bus.count()
        if count >= wanted:
            await asyncio.sleep(1)  # would it publish anything twice?
            return
        if count != before:
            before, changed = count, time.monotonic()
        if count and time.monotonic() - changed > GIVES_UP_AFTER_SECONDS:
            return
        await asyncio.sleep(0.1)
    if not before:
        raise RuntimeError(f"{processes[-1].name} fired nothing: {processes[-1].last_words(5)}")


class Bus:
    """Counts and reads the records that tell of fired timers."""

    def __init__(self, settings: Settings) -> None:
        self._places = [
            TopicPartition(settings.topic(name), partition)
            for name in timers_agenda.TOPICS
            for partition in range(settings.kafka_partitions or TOPICS[name].partitions)
        ]
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap_servers, enable_auto_commit=False
        )

    async def start(self) -> None:
        await self._consumer.start()
        self._consumer.assign(self._places)
        self._consumer.pause(*self._places)

    async def stop(self) -> None:
        await self._consumer.stop()

    async def count(self) -> int:
        """How many records there are. Reads none of them: that would take time away from the contender."""
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(self._places)
        return sum(ends.values())

    async def read(self) -> list[tuple[str, float, float]]:
        """Of each record its event id, the time its timer was due, and the broker's (Unix seconds)."""
        await self._consumer.seek_to_beginning(*self._places)
        self._consumer.resume(*self._places)
        left, found = await self.count(), []
        while left > 0:
            taken = await self._consumer.getmany(timeout_ms=1_000, max_records=10_000)
            for record in (record for records in taken.values() for record in records):
                headers = dict(record.headers)
                due = datetime.fromisoformat(headers["ce_time"].decode()).timestamp()
                found.append((headers["ce_id"].decode(), due, record.timestamp / 1_000))
                left -= 1
        return found


def _family(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [one for child in children.read_text().split() for one in _family(int(child))]
    return found


# --- all runs -----------------------------------------------------------------------------------------------------


async def compare(
    out: Console, engines: Engines, folder: Path, sizes: Sizes, only: Sequence[str] | None, repeat: int
) -> None:
    """Run every contender (or `only` some) so many times, in turns, and print the medians."""
    chosen = [one for one in contenders(sizes) if only is None or one.name.startswith(tuple(only))]
    results: dict[str, list[Result]] = {}
    missing: set[str] = set()
    for _ in range(repeat):  # in turns: what slows the machine for a while slows all of them
        for contender in chosen:
            if contender.name in missing:
                continue
            try:
                result = await run(contender, engines, folder)
            except Missing as why:
                missing.add(contender.name)
                out.print(f"{contender.name}: left out, {why}")
                continue
            except RuntimeError as why:
                out.print(f"{contender.name}: no figure of this run: {why}")
                continue
            results.setdefault(contender.name, []).append(result)
            out.print(
                f"{contender.name}: {result.rate:,.0f} timers a second; "
                f"not fired: {result.missing}, published twice: {result.twice}"
            )
    out.print(_table(chosen, results, repeat))


def _table(chosen: Sequence[Contender], results: dict[str, list[Result]], repeat: int) -> Table:
    ours = results.get("Aftercare")
    table = Table(title=f"timers fired, medians of {repeat} runs")
    for heading in ("", "stored", "due at once", "fired a second", "Aftercare is", "late p50", "p99"):
        table.add_column(heading, justify="right" if heading else "left")
    for heading in ("one by one, late p50", "p99", "memory MiB", "not fired", "twice"):
        table.add_column(heading, justify="right")
    for contender in chosen:
        found = results.get(contender.name)
        if not found:
            continue
        rate = _median(found, lambda result: result.rate)
        ratio = _median(ours, lambda result: result.rate) / rate if ours else 0
        table.add_row(
            contender.name,
            f"{contender.stored:,}",
            f"{timers_agenda.firings(contender.kinds, contender.due):,}",
            f"{rate:,.0f}",
            f"{ratio:.2f} times that" if ratio and contender.name != "Aftercare" else "",
            f"{_median(found, lambda result: _quantile(result.lateness, 0.5)):.2f} s",
            f"{_median(found, lambda result: _quantile(result.lateness, 0.99)):.2f} s",
            f"{_median(found, lambda result: _quantile(result.quiet, 0.5)) * 1000:.0f} ms",
            f"{_median(found, lambda result: _quantile(result.quiet, 0.99)) * 1000:.0f} ms",
            f"{_median(found, lambda result: result.memory):,.0f}",
            f"{max(result.missing for result in found):,}",
            f"{max(result.twice for result in found):,}",
        )
    return table


def _median(found: Sequence[Result], figure: Callable[[Result], float]) -> float:
    return statistics.median(map(figure, found))


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
