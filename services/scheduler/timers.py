"""The timers: what is due fires, a batch in one transaction, without a claim for each.

The events' ids are made of the item and its time, so firing again after a crash says the same again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from services.scheduler.domain import dates
from services.scheduler.domain.agenda import AnyItem, Date, Duty, FollowUp, Reminder, name_of
from services.scheduler.domain.planning import Regime
from services.scheduler.leases import SlotLeases
from services.scheduler.reactions import Decision
from services.scheduler.store import Store
from shared.clock import Clock
from shared.contracts.types import write_time
from shared.messaging.bus import Outgoing
from shared.messaging.progress import Progress
from shared.mongo.client import Session
from shared.mongo.documents import Changes
from shared.mongo.journal import Entry, Journal, Outcome
from shared.observability import metrics, tracing

log = structlog.get_logger(__name__)

PUT_OFF = timedelta(hours=1)
"""How long an item waits that could not be fired."""

POLL_SECONDS = 5.0
"""How often a replica looks for timers that another replica's reactions set. Wall-clock time."""


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
    ) -> None:
        self.wake = asyncio.Event()
        self._store = store
        self._journal = journal
        self._leases = leases
        self._regime = regime
        self._clock = clock
        self._progress = progress
        self._batch = batch
        self._publishing: asyncio.Task[None] | None = None

    async def ensure_dates(self) -> None:
        """Put the dates of the regime on the agenda that are not there yet."""
        rules = {name_of("date", rule.name): rule for rule in self._regime.policy.calendar}
        missing = await self._store.missing_dates(list(rules))

        async def work(session: Session) -> Outcome:
            outcome = Outcome()
            for key in missing:
                date = dates.next_date(rules[key], self._clock.now(), self._regime)
                outcome.view.apply(Changes(puts=[date]))
            return outcome

        if missing:
            await self._journal.transact(work)

    async def run(self) -> None:
        """Fire what is due, wait for the next, for ever."""
        while True:
            self.wake.clear()
            with self._progress.busy("scheduler timers"):
                next_at = await self._store.next_at(self._leases.mine)
                while next_at and next_at <= self._clock.now():
                    await self.fire_due()
                    next_at = await self._store.next_at(self._leases.mine)
            await self._clock.wait_until(next_at, self.wake)

    async def poll(self) -> None:
        """Look again now and then: other replicas set timers of our slots, and slots change hands."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self.wake.set()

    async def fire_due(self) -> int:
        """Fire one batch; returns how many items were due."""
        now = self._clock.now()
        due = await self._store.due(self._leases.mine, now, self._batch)
        if due:

            async def work(session: Session) -> Outcome:
                return await self._fire(session, due, now)

            _, publishing = await self._journal.transact_in_turn(work)
            # One batch may be on its way to the bus while the next is decided: a slow bus slows us, not our memory.
            before, self._publishing = self._publishing, publishing
            if before:
                await before
        return len(due)

    async def _fire(self, session: Session, due: Sequence[dict[str, Any]], now: datetime) -> Outcome:
        outcome = Outcome(view=await self._store.around(session, due))
        for stored in due:
            item = _find(outcome, stored["_id"])
            if item is None or item.next_at is None or item.next_at > now:
                continue  # another replica fired it, or what fired before has changed it
            try:
                self._fire_one(outcome, item, item.next_at)
            except Exception:
                # A defect of ours: the others fire all the same, and this one is tried again after a while.
                log.exception("a timer failed", rule=item.rule, item=item.id)
                metrics.TIMERS_FAILED.labels(item.kind).inc()
                put_off = item.model_copy(update={"next_at": now + PUT_OFF})
                outcome.view.apply(Changes(puts=[put_off]))
                continue
            metrics.TIMERS_FIRED.labels(item.kind).inc()
            metrics.TIMER_LATENESS_SECONDS.observe((now - item.next_at).total_seconds())
        return outcome

    def _fire_one(self, outcome: Outcome, item: AnyItem, at: datetime) -> None:
        name = f"timer {item.id} {write_time(at)} {item.fired}"
        with tracing.span(f"scheduler timer {item.rule}", **{"aftercare.subject": item.subject}):
            decision = Decision(outcome.view, self._regime, name, at)
            decision.fire(item)
            changes = decision.changes()
            trace = tracing.current()
        outcome.view.apply(changes)
        records = [Outgoing.of(replace(event, traceparent=trace)) for event in changes.events]
        outcome.entries.append(Entry(f"out {name}", records))


def _find(outcome: Outcome, key: str) -> AnyItem | None:
    for kind in (FollowUp, Duty, Reminder, Date):
        found = outcome.view.get(kind, key)
        if isinstance(found, FollowUp | Duty | Reminder | Date):
            return found
    return None
