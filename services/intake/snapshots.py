"""Taking the classification of a month, some cases at a time, until all are in it (F15)."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

import structlog

from services.intake.domain import snapshots
from services.intake.domain.ledger import Client
from services.intake.domain.versions import policy_for
from services.intake.store import Store
from shared.messaging.progress import Progress
from shared.mongo.client import Session
from shared.mongo.documents import Changes
from shared.mongo.journal import Journal, Outcome
from shared.policy.versions import Policies

log = structlog.get_logger(__name__)

BATCH = 200
"""Cases that one transaction classifies."""

LOOK_AGAIN_SECONDS = 30.0
"""For what another replica left when it ended."""


class SnapshotTaker:
    """Carries out the snapshots that were asked for, each from where it stands."""

    def __init__(
        self, store: Store, journal: Journal, policies: Policies, progress: Progress, batch: int = BATCH
    ) -> None:
        self.wake = asyncio.Event()
        self._store = store
        self._journal = journal
        self._policies = policies
        self._progress = progress
        self._batch = batch

    async def run(self) -> None:
        """Take whatever is not done, for ever: what a crash left first, then whenever woken."""
        while True:
            self.wake.clear()
            with self._progress.busy("intake"):
                while await self.step():
                    pass
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_AGAIN_SECONDS):
                    await self.wake.wait()

    async def step(self) -> bool:
        """Classify the next cases of a snapshot in one transaction; whether there was one to be taken.

        Safe to be killed and to be run twice: how far it has come is written with the lines, and of two replicas that
        take the same step one finds it done. A client who is erased meanwhile collides with the adding of a line.
        """
        if not await self._store.has_snapshot_to_take():
            return False
        await self._journal.transact(self._work)
        return True

    async def _work(self, session: Session) -> Outcome:
        snapshot = await self._store.snapshot_to_take(session)
        if snapshot is None:
            return Outcome()
        cases = await self._store.cases_after(snapshot.after, self._batch, session)
        clients = await self._store.clients_by_id([case.client_id for case in cases], session)
        found = (
            snapshots.line(
                case,
                clients.get(case.client_id) or Client(id=case.client_id),
                snapshot,
                policy_for(case, snapshot.last_instant, self._policies),
            )
            for case in cases
        )
        lines = [line for line in found if line]
        taken = snapshots.advanced(snapshot, cases[-1].id if cases else None)
        outcome = Outcome()
        outcome.view.apply(Changes(puts=[*lines, taken]))
        if taken.done:
            outcome.counted.append(partial(log.info, "a month was classified", month=snapshot.id))
        return outcome
