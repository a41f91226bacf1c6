"""Provisional dates (collision 8): at the start of a replica, what the calendar now knows is computed again.

An item is looked at anew within the transaction that moves it, so replicas that start together move it once: the
slower one finds that it is not provisional any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import structlog
from bson import ObjectId

from services.scheduler.domain.agenda import Item
from services.scheduler.domain.planning import Regime
from services.scheduler.reactions import Decision
from services.scheduler.store import Store
from services.scheduler.timers import KINDS
from shared.clock import Clock
from shared.contracts.types import write_time
from shared.messaging.bus import Outgoing
from shared.messaging.progress import Progress
from shared.mongo.client import Session
from shared.mongo.journal import Entry, Journal, Outcome

log = structlog.get_logger(__name__)

BATCH = 500
"""The most items that one transaction computes again."""


class Provisional:
    """Computes the provisional items of the agenda again."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        regime: Regime,
        clock: Clock,
        progress: Progress,
        moved: Callable[[], None],
        batch: int = BATCH,
    ) -> None:
        self._store = store
        self._journal = journal
        self._regime = regime
        self._clock = clock
        self._progress = progress
        self._moved = moved
        self._batch = batch

    async def run(self) -> None:
        """At the start, once."""
        await self.recompute()

    async def recompute(self) -> int:
        """All of them, batch by batch; returns how many changed. Raises PyMongoError when the database is away:
        doing it again is harmless."""
        count, after = 0, ""
        with self._progress.busy("scheduler calendar"):
            while found := await self._store.provisional(after, self._batch):
                count += await self._together(found)
                after = found[-1]["_id"]
        if count:
            log.info("the calendar is known: provisional dates were computed again", items=count)
            self._moved()
        return count

    async def _together(self, found: Sequence[dict[str, Any]]) -> int:
        async def work(session: Session) -> Outcome:
            return await self._decide(session, found)

        # In turn with the loop and the timers: what is said of one follow-up goes out in the order of the decisions.
        (outcome,), publishing = await self._journal.transact_in_turn(work)
        await publishing
        changed = outcome.view.changed().get(Item.collection, {})
        return sum(stored["_id"] in changed for stored in found)

    async def _decide(self, session: Session, found: Sequence[dict[str, Any]]) -> Outcome:
        outcome = Outcome(view=await self._store.around(session, found))
        now = self._clock.now()
        regime = self._regime.at(now)
        records: list[Outgoing] = []
        for stored in found:
            item = outcome.view.get(KINDS[stored["kind"]], stored["_id"])
            if item is None or item.next_at is None or item.next_at <= now:
                continue  # it is due: what it says now is what was planned
            decision = Decision(outcome.view, regime, f"calendar {item.id} {write_time(now)}", now)
            decision.calendar_known(item)
            changes = decision.changes()
            outcome.view.apply(changes)
            records += [Outgoing.of(event) for event in changes.events]
        if records:
            outcome.entries.append(Entry(f"out calendar {ObjectId()}", records))
        return outcome
