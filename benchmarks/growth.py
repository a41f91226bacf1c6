"""Events settled a second, and their CPU, with ever more cases already stored: the same load on each database.

The databases are filled with copies of what the services themselves made of `SEEDS` cases of the last two years.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from rich.console import Console
from rich.table import Table

from aftercare.engines import Engines
from benchmarks.growth_copies import Filled, Stock, fill, name, read
from benchmarks.load import EVENTS_PER_CASE, SESSIONS, TOPICS, closed_case, consent, session
from benchmarks.settle import AFTERCARE, COSTS, Contender, Hop, contenders, costs, observer, peaks, running
from benchmarks.settle_usage import Usage
from shared.messaging.bus import Outgoing, create_topics
from shared.settings import Settings
from tests.engines.services import production_settings

CACHE_GIB = 4
"""MongoDB's cache while this is measured."""

SEEDS = 2_000
"""So many cases go through the services themselves."""

YEARS = timedelta(days=730)
"""The cases lie in so long a time before now."""

QUIET_SECONDS = 3.0
"""The services have come to rest once they have written nothing for so long."""


@dataclass(frozen=True)
class Stored:
    """A filled database and where it is."""

    values: Mapping[str, Any]
    cases: int
    filled: Filled


async def run(
    out: Console, engines: Engines, folder: Path, sizes: Sequence[int], events: int, repeat: int
) -> None:
    """Fill a database for each size, measure them in turns, and print the table."""
    mongo: MongoClient[dict[str, Any]] = MongoClient(engines.mongo)
    mongo.admin.command("setParameter", 1, wiredTigerEngineRuntimeConfig=f"cache_size={CACHE_GIB}G")
    stock = await _stock(out, engines, folder, mongo)
    stored: dict[int, Stored] = {}
    for size in sizes:
        values = production_settings(engines, f"g-{uuid.uuid4().hex[:8]}")
        filled = await asyncio.to_thread(fill, mongo, Settings(**values), stock, size)
        stored[size] = Stored(values, size, filled)
        out.print(
            f"{size:,} cases: {filled.documents:,} documents, {filled.gigabytes:.1f} GB, {filled.seconds:.0f} s"
        )
    found: dict[int, list[Usage]] = {}
    for nth in range(repeat):  # in turns: what slows the machine for a while slows all of them
        for size in sizes:
            usage = await _measure(stored[size], events, nth, folder)
            found.setdefault(size, []).append(usage)
            out.print(f"{size:,} cases: {usage.rate:,.0f} events a second")
    out.print(_table(stored, found, repeat))
    mongo.close()


async def _stock(out: Console, engines: Engines, folder: Path, mongo: MongoClient[dict[str, Any]]) -> Stock:
    """Let the services handle the first cases, and read all that they stored."""
    values = production_settings(engines, f"g-{uuid.uuid4().hex[:8]}")
    began = time.monotonic()
    last = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    closed = {os.urandom(8).hex(): last - YEARS * (1 - number / SEEDS) for number in range(SEEDS)}
    async with observer(Settings(**values)) as bus:
        await create_topics(bus.settings)
        await bus.publish(list(_careers(closed)))
        # The topics that every case passes: all that is left then are timers, which are waited for.
        hops = (
            Hop("intake", (*TOPICS, "consent-changed")),
            Hop("scheduler", (*TOPICS, "case-classified")),
        )
        ours = _aftercare(0)
        async with running([one for hop in hops for one in ours.processes(values, folder, hop)]):
            for hop in hops:  # in this order: what the second reads is all there once the first is through
                await bus.caught_up(hop)
            await _rest(mongo, bus.settings)
        stock = await asyncio.to_thread(read, mongo, bus.settings, closed, YEARS)
        await bus.remove()
    indexes = sum(len(found) for found in stock.indexes.values())
    out.print(
        f"{SEEDS:,} cases by the services: {stock.documents / SEEDS:.1f} documents a case, "
        f"{indexes} indexes, {time.monotonic() - began:.0f} s"
    )
    return stock


def _careers(closed: Mapping[str, datetime]) -> Iterator[Outgoing]:
    """Cases with a week between their sessions."""
    week = timedelta(days=7)
    for case, at in closed.items():
        began = at - EVENTS_PER_CASE * week
        yield consent(case, began)
        yield from closed_case(case, began, week)


async def _rest(mongo: MongoClient[dict[str, Any]], settings: Settings) -> None:
    """Wait until all timers that are due have fired, and all is published and marked."""

    def left() -> int:
        scheduler = mongo[settings.database("scheduler")]
        due = scheduler.agenda.count_documents({"next_at": {"$lte": datetime.now(UTC)}})
        outboxes = [mongo[settings.database(name)].outbox for name in ("intake", "scheduler")]
        return due + sum(outbox.count_documents({"dispatched": False}) for outbox in outboxes)

    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < QUIET_SECONDS:
        if await asyncio.to_thread(left):
            quiet_since = time.monotonic()
        await asyncio.sleep(0.2)


def _aftercare(events: int) -> Contender:
    return next(one for one in contenders(events) if one.name == AFTERCARE)


async def _measure(stored: Stored, events: int, nth: int, folder: Path) -> Usage:
    """New cases, and for each a late session of a case that is stored, drawn from all of them."""
    now = datetime.now(UTC).replace(microsecond=0)
    new = events // (EVENTS_PER_CASE + 1)
    load: list[Outgoing] = []
    for _ in range(new):
        load += closed_case(os.urandom(8).hex(), now - timedelta(hours=6), timedelta(hours=1))
    for number in random.sample(range(stored.cases), min(new, stored.cases)):
        late = session(name(number, stored.cases), SESSIONS + 1 + nth, now - timedelta(hours=2))
        load.insert(random.randrange(len(load)), late)
    async with observer(Settings(**stored.values)) as bus:
        await create_topics(bus.settings)
        return await bus.measure(_aftercare(events), stored.values, load, folder)


def _table(stored: Mapping[int, Stored], found: Mapping[int, Sequence[Usage]], repeat: int) -> Table:
    table = Table(
        *("cases stored", "documents", "GB", "filled in s", "events a second", "of the smallest", *COSTS),
        "peak MiB",
        title=f"Growth, medians of {repeat}; MongoDB's cache {CACHE_GIB} GiB",
    )
    smallest = statistics.median(one.rate for one in found[min(found)])
    for size, usages in found.items():
        rate = statistics.median(one.rate for one in usages)
        filled = stored[size].filled
        table.add_row(
            *(f"{size:,}", f"{filled.documents:,}", f"{filled.gigabytes:.1f}", f"{filled.seconds:.0f}"),
            *(f"{rate:,.0f}", f"{rate / smallest:.2f}", *costs(usages), peaks(usages)),
        )
    return table
