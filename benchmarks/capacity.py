"""What a company of so many cases needs: bytes measured here, rates as measured on a machine like yours.

All five services handle some cases; what they and the bus hold of them afterwards is counted. The rest is arithmetic
over the assumptions below (docs/capacity.md explains them).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from rich.console import Console
from rich.table import Table

from aftercare.engines import Engines, free_port
from benchmarks.load import EVENTS_PER_CASE, closed_cases
from benchmarks.settle import Hop, Observer, observer, running
from shared.contracts.topics import SERVICES, consumed_by
from shared.messaging.bus import create_topics
from shared.settings import Settings
from tests.engines.services import production_settings, service

COMPANIES = (10_000, 1_000_000, 100_000_000)
"""Cases stored."""

YEARS_KEPT = 2
"""So a new case comes for each two stored, every year."""
EVENTS_OF_A_CASE = 10
"""Of company systems, from opening to closing, sessions announced and held."""
WORKING_DAYS = 250
BUSY_HOURS = 2
"""Half of a day's events come within so many hours."""
TIMERS_OF_A_CASE = 10
"""Follow-ups, notices, invitations and preparations that fire at the regime's hour, over the life of a case."""
HOLIDAY_DAYS = 8
"""After the longest holidays the follow-ups of so many days come together."""

QUIET_SECONDS = 3.0


@dataclass(frozen=True)
class Rates:
    """What one process does a second, as `settle` and `timers` have measured it."""

    events: float
    timers: float


@dataclass(frozen=True)
class Held:
    """Bytes for each case."""

    databases: Mapping[str, float]
    """On disk, indexes included, the outbox left out."""
    outbox: float
    """Kept for thirty days after its dispatch."""
    bus: float
    """Bodies and keys on all topics."""


async def run(out: Console, engines: Engines, folder: Path, cases: int, rates: Rates) -> None:
    held = await _measure(engines, folder, cases)
    out.print(_held_table(held, cases))
    out.print(_companies_table(held, rates))


async def _measure(engines: Engines, folder: Path, cases: int) -> Held:
    values = production_settings(engines, f"c-{uuid.uuid4().hex[:8]}")
    mongo: MongoClient[dict[str, Any]] = MongoClient(engines.mongo)
    settings = Settings(**values)
    load = list(closed_cases(cases, datetime.now(UTC)))
    async with observer(settings) as bus:
        await create_topics(settings)
        await bus.publish(load)
        async with running([service(name, dict(values), folder, free_port()) for name in SERVICES]):
            await _rest(bus, mongo, settings)
        held = await asyncio.to_thread(_count, mongo, settings, cases)
        await bus.remove()
    mongo.close()
    incoming = sum(len(record.value) + len(record.key) for record in load) / cases
    return Held(held.databases, held.outbox, held.bus + incoming)


async def _rest(bus: Observer, mongo: MongoClient[dict[str, Any]], settings: Settings) -> None:
    """Wait until everybody has read everything, and all is published."""
    quiet = 0.0
    while quiet < QUIET_SECONDS:
        for name in SERVICES:
            if name != "crisis":  # flags alone, of which there are none
                await bus.caught_up(Hop(name, consumed_by(name)))
        left = [
            mongo[settings.database(name)].outbox.count_documents({"dispatched": False}) for name in SERVICES
        ]
        await asyncio.sleep(0.5)
        quiet = 0.0 if any(left) else quiet + 0.5


def _count(mongo: MongoClient[dict[str, Any]], settings: Settings, cases: int) -> Held:
    mongo.admin.command("fsync")  # sizes on disk are those of the last checkpoint
    databases: dict[str, float] = {}
    outbox = published = 0.0
    for name in SERVICES:
        db = mongo[settings.database(name)]
        whole = db.command("dbStats")
        waiting = db.command("collStats", "outbox")
        outbox += (waiting["storageSize"] + waiting["totalIndexSize"]) / cases
        published += waiting["size"] / cases
        on_disk = whole["storageSize"] + whole["indexSize"]
        databases[name] = (on_disk - waiting["storageSize"] - waiting["totalIndexSize"]) / cases
    return Held(databases, outbox, published)


def _held_table(held: Held, cases: int) -> Table:
    table = Table(
        *("a case of", *SERVICES, "outboxes", "bus"), title=f"Kilobytes for each of {cases:,} closed cases"
    )
    sizes = [*(held.databases[name] for name in SERVICES), held.outbox, held.bus]
    table.add_row(f"{EVENTS_PER_CASE} events", *(f"{size / 1e3:.2f}" for size in sizes))
    return table


def _companies_table(held: Held, rates: Rates) -> Table:
    table = Table(
        *("cases stored", "events a year", "busiest hour, a second", "processes for it"),
        *("timers at 10:00", "fired within", "after a holiday", "with 16 schedulers"),
        *("databases", "outboxes, 30 days", "bus, 30 days"),
        title=(
            f"With {rates.events:,.0f} events settled and {rates.timers:,.0f} timers fired a second by one process, "
            f"{EVENTS_OF_A_CASE} events and {TIMERS_OF_A_CASE} timers a case, kept for {YEARS_KEPT} years; "
            "sizes of one copy"
        ),
    )
    longer = EVENTS_OF_A_CASE / EVENTS_PER_CASE
    for cases in COMPANIES:
        new = cases / YEARS_KEPT
        events = new * EVENTS_OF_A_CASE
        busiest = events / WORKING_DAYS / 2 / (BUSY_HOURS * 3600)
        timers = new * TIMERS_OF_A_CASE / WORKING_DAYS
        after_holiday = timers * HOLIDAY_DAYS
        month = new / 12 * longer
        table.add_row(
            f"{cases:,}",
            f"{events:,.0f}",
            f"{busiest:,.2f}",
            f"{busiest / rates.events:.2g} of one"
            if busiest < rates.events
            else f"{busiest / rates.events:.1f}",
            f"{timers:,.0f}",
            _duration(timers / rates.timers),
            _duration(after_holiday / rates.timers),
            _duration(after_holiday / rates.timers / 16),
            _size(sum(held.databases.values()) * longer * cases),
            _size(held.outbox * month),
            _size(held.bus * month),
        )
    return table


def _duration(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _size(size: float) -> str:
    return f"{size / 1e9:.2g} GB" if size < 1e12 else f"{size / 1e12:.1f} TB"
