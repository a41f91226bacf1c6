"""The timers: what is due fires, a batch in one transaction, without a claim for each.

The events' ids are made of the item and its time, so firing again after a crash says the same again.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from bson import ObjectId

from services.scheduler.domain import dates
from services.scheduler.domain.agenda import AnyItem, Date, Duty, FollowUp, Reminder, name_of
from services.scheduler.domain.planning import Regime
from services.scheduler.leases import SlotLeases
from services.scheduler.new_version import NewVersion
from services.scheduler.reactions import Decision
from services.scheduler.store import Store
from shared.clock import Clock
from shared.contracts.types import write_time
from shared.messaging.bus import Outgoing
from shared.messaging.progress import Progress
from shared.mongo.client import Session
from shared.mongo.documents import Changes
from shared.mongo.journal import Entry, Journal, Outcome, Transaction
from shared.observability import metrics, tracing

log = structlog.get_logger(__name__)

PUT_OFF = timedelta(hours=1)
"""How long an item waits that could not be fired."""

LOOKS_AHEAD = 10
"""How many batches one look finds. Each look steps over the index entries of what has fired meanwhile, which MongoDB
keeps for minutes: one for every batch would take ever longer while many fire."""

LANES = 2
"""How many batches are under way together: while the database works on one, we decide on the other."""

POLL_SECONDS = 5.0
"""How often a replica looks for timers that another replica's reactions set. Wall-clock time."""


_OURS = frozenset({"follow-up-due", "reminder-due", "calendar-due"})
"""What timers say. Rules may listen to it."""

KINDS: dict[str, type[AnyItem]] = {"follow-up": FollowUp, "duty": Duty, "reminder": Reminder, "date": Date}


class Timers:
    """Fires the due items of the slots that this replica leases."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        leases: SlotLeases,
        regime: Regime,
        clock: Clock,
        progress: Progress,
        batch: int,
        versions: NewVersion | None = None,
    ) -> None:
        """`regime`: the newest version; `versions` applies each before anything fires under it."""
        self.wake = asyncio.Event()
        self._store = store
        self._journal = journal
        self._leases = leases
        self._regime = regime
        self._clock = clock
        self._progress = progress
        self._batch = batch
        self._versions = versions
        self._publishing: asyncio.Task[None] | None = None

    async def ensure_dates(self) -> None:
        """Put the dates of the regime on the agenda that are not there yet."""
        regime = self._regime.at(self._clock.now())
        rules = {name_of("date", rule.name): rule for rule in regime.policy.calendar}
        missing = await self._store.missing_dates(list(rules))

        async def work(session: Session) -> Outcome:
            outcome = Outcome()
            for key in missing:
                date = dates.next_date(rules[key], self._clock.now(), regime)
                outcome.view.apply(Changes(puts=[date]))
                reminder = dates.ahead(date, regime)
                if reminder and reminder.next_at and reminder.next_at > self._clock.now():
                    outcome.view.apply(Changes(puts=[reminder]))
            return outcome

        if missing:
            await self._journal.transact(work)

    async def run(self) -> None:
        """Fire what is due, wait for the next, for ever."""
        while True:
            self.wake.clear()
            with self._progress.busy("scheduler timers"):
                await self._new_version()
                while await self.fire_due():
                    await self._new_version()
                next_at = await self._store.next_at(self._leases.mine)
                begins = self._versions.next_begin() if self._versions else None
            await self._clock.wait_until(min(filter(None, (next_at, begins)), default=None), self.wake)

    async def _new_version(self) -> None:
        if self._versions and await self._versions.apply():
            await self.ensure_dates()

    async def poll(self) -> None:
        """Look again now and then: other replicas set timers of our slots, and slots change hands."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self.wake.set()

    async def fire_due(self) -> int:
        """Fire what one look finds, some batches at a time; returns how many items were due."""
        due = await self._store.due(self._leases.mine, self._clock.now(), LOOKS_AHEAD * self._batch)
        # What is about one subject stays in one lane, and so in its order.
        lanes = [[one for one in due if _lane(one["subject"]) == lane] for lane in range(LANES)]
        for start in range(0, max(map(len, lanes)), self._batch):
            batches = [lane[start : start + self._batch] for lane in lanes]
            await self._fire_together([batch for batch in batches if batch], self._clock.now())
        return len(due)

    async def _fire_together(self, batches: Sequence[Sequence[dict[str, Any]]], now: datetime) -> None:
        def work(batch: Sequence[dict[str, Any]]) -> Transaction:
            return lambda session: self._fire(session, batch, now)

        _, publishing = await self._journal.transact_in_turn(*map(work, batches))
        # One batch may be on its way to the bus while the next is decided: a slow bus slows us, not our memory.
        before, self._publishing = self._publishing, publishing
        if before:
            await before

    async def _fire(self, session: Session, due: Sequence[dict[str, Any]], now: datetime) -> Outcome:
        if self._versions and self._versions.waits(now):
            return Outcome()  # a version has begun just now: it is applied first
        regime = self._regime.at(now)
        with_cases = not _OURS.isdisjoint(regime.asks_for_services)
        with_plans = regime.policy.switches.after_the_plan == "signed-first"
        view = await self._store.around(session, due, with_cases=with_cases, with_plans=with_plans)
        outcome = Outcome(view=view)
        records: list[Outgoing] = []
        fired: list[AnyItem] = []
        for stored in due:
            item = outcome.view.get(KINDS[stored["kind"]], stored["_id"])
            if item is None or item.next_at is None or item.next_at > now:
                continue  # another replica fired it, or what fired before has changed it
            try:
                records += self._fire_one(outcome, item, item.next_at, regime)
            except Exception:
                # A defect of ours: the others fire all the same, and this one is tried again after a while.
                log.exception("a timer failed", rule=item.rule, item=item.id)
                outcome.counted.append(metrics.TIMERS_FAILED.labels(item.kind).inc)
                put_off = item.model_copy(update={"next_at": now + PUT_OFF})
                outcome.view.apply(Changes(puts=[put_off]))
                continue
            fired.append(item)
        outcome.counted.append(partial(_count, fired, now))
        if records:
            # One mark for all: what keeps a timer from firing twice is its item, which everybody who fires it writes.
            outcome.entries.append(Entry(f"out timers {ObjectId()}", records))
        return outcome

    def _fire_one(self, outcome: Outcome, item: AnyItem, at: datetime, regime: Regime) -> list[Outgoing]:
        name = f"timer {item.id} {write_time(at)} {item.fired}"
        with tracing.span(f"scheduler timer {item.rule}", **{"aftercare.subject": item.subject}):
            decision = Decision(outcome.view, regime, name, at)
            decision.fire(item)
            changes = decision.changes()
            trace = tracing.current()
        outcome.view.apply(changes)
        return [Outgoing.of(event, trace) for event in changes.events]


def _lane(subject: str) -> int:
    return zlib.crc32(subject.encode()) % LANES


def _count(fired: Sequence[AnyItem], now: datetime) -> None:
    for kind, count in Counter(item.kind for item in fired).items():
        metrics.TIMERS_FIRED.labels(kind).inc(count)
    for item in fired:
        assert item.next_at
        metrics.TIMER_LATENESS_SECONDS.observe((now - item.next_at).total_seconds())
