"""A new version of the policy begins: what is not yet due is looked at again, before any timer fires under it.

How far this has come is stored with each step, so it goes on where it was after a restart. Of two replicas that take
the same step, one finds it done. To look at something twice is harmless: it says nothing new.
"""

from __future__ import annotations

from datetime import datetime

import structlog
from bson import ObjectId

from services.scheduler.domain.agenda import Applied, Part
from services.scheduler.domain.planning import Regime
from services.scheduler.reactions import Decision
from services.scheduler.store import Store
from shared.clock import Clock
from shared.contracts.types import write_time
from shared.messaging.bus import Outgoing
from shared.messaging.progress import Progress
from shared.mongo.client import Session
from shared.mongo.documents import Changes, Document, View
from shared.mongo.journal import Entry, Journal, Outcome

log = structlog.get_logger(__name__)

BATCH = 200
"""The most cases, clients or duties that one transaction looks at."""

_NEXT: dict[Part, Part] = {"cases": "clients", "clients": "duties", "duties": "dates", "dates": "done"}


class NewVersion:
    """Applies the versions of the policy, each from its beginning on."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        regime: Regime,
        clock: Clock,
        progress: Progress,
        batch: int = BATCH,
    ) -> None:
        """`regime`: the newest version."""
        self._store = store
        self._journal = journal
        self._regime = regime
        self._clock = clock
        self._progress = progress
        self._batch = batch
        self._applied: set[str] = set()

    def next_begin(self) -> datetime | None:
        """When the next version begins."""
        return self._regime.next_begin(self._clock.now())

    def waits(self, now: datetime) -> bool:
        """Whether the version in force is still to be applied."""
        regime = self._regime.at(now)
        return regime.before is not None and regime.policy.version not in self._applied

    async def apply(self) -> bool:
        """The version in force, where that is not done yet; whether there was anything to do. Raises PyMongoError when
        the database is away. The first version finds nothing that was planned by another."""
        if not self.waits(now := self._clock.now()):
            return False
        name = self._regime.at(now).policy.version
        with self._progress.busy("scheduler new version"):
            while await self._step(name):
                pass
        self._applied.add(name)
        log.info("a new version of the policy was applied to what is not yet due", version=name)
        return True

    async def _step(self, name: str) -> bool:
        async def work(session: Session) -> Outcome:
            return await self._decide(session, name)

        (outcome,), publishing = await self._journal.transact_in_turn(work)
        await publishing
        return bool(outcome.view.changed())

    async def _decide(self, session: Session, name: str) -> Outcome:
        applied = await self._store.applied(name, session) or Applied(id=name)
        if applied.part == "done":
            return Outcome()
        now = self._clock.now()
        regime = self._regime.at(now)
        view, found = await self._store.not_yet_due(session, applied.part, applied.after, self._batch)
        outcome = Outcome(view=view)
        records = [
            Outgoing.of(event) for one in found for event in self._look_again(view, regime, now, one).events
        ]
        further = {"after": found[-1].id} if found else {"after": "", "part": _NEXT[applied.part]}
        view.apply(Changes(puts=[applied.model_copy(update=further)]))
        if records:
            outcome.entries.append(Entry(f"out version {ObjectId()}", records))
        return outcome

    def _look_again(self, view: View, regime: Regime, now: datetime, known: Document) -> Changes:
        cause = f"version {regime.policy.version} {type(known).__name__} {known.id} {write_time(now)}"
        decision = Decision(view, regime, cause, now)
        try:
            decision.new_version(known)
            changes = decision.changes()
        except Exception:
            # A defect of ours: the others are looked at all the same, and the timers do not wait for this one.
            log.exception("a new version could not be applied", what=type(known).__name__, id=known.id)
            return Changes()
        view.apply(changes)
        return changes
