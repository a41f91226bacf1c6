"""How a follow-up ends, whoever or whatever conducted it: state, messages, events, and a crisis that cannot wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

import httpx
import structlog
from pymongo.errors import PyMongoError

from services.survey.domain import follow_ups, records
from services.survey.domain.follow_ups import FollowUp
from services.survey.domain.records import Conducted
from services.survey.reactions import dropped_with
from shared.contracts.envelope import Event
from shared.messaging.bus import Outgoing
from shared.messaging.progress import Progress
from shared.mongo.documents import Changes, View
from shared.mongo.erasure import Erasure
from shared.mongo.journal import Entry, Journal, Outcome, Transaction
from shared.observability import metrics, tracing
from shared.web.problems import Problem

log = structlog.get_logger(__name__)


class Unavailable(Problem):
    """The database is away: nothing was stored, and where there was a crisis, nobody could be told."""

    def __init__(self) -> None:
        super().__init__(503, "not-stored", "nothing was taken: the database is away, send it again")


class CrisisLine:
    """Tells the crisis service of a flag over HTTP, when bus or database do not take it within seconds."""

    def __init__(self, http: httpx.AsyncClient | None, patience: float, progress: Progress) -> None:
        self._http = http
        self._progress = progress
        self.patience = patience

    async def tell(self, flag: Event) -> bool:
        """Whether the crisis service took it. Telling it twice is harmless."""
        if self._http is None:
            log.error("a crisis waits for bus or database and AFTERCARE_CRISIS_URL is not set")
            return False
        try:
            with self._progress.busy("survey"):
                answer = await self._http.post("/v1/crises", json=flag.structured())
                answer.raise_for_status()
        except httpx.HTTPError as error:
            log.error("the crisis service could not be told", error=type(error).__name__)
            metrics.CRISES_OVER_HTTP.labels("survey", "failed").inc()
            return False
        metrics.CRISES_OVER_HTTP.labels("survey", "taken").inc()
        return True


class Committing:
    """Commits commands. A crisis among what they say never waits for bus or database longer than seconds."""

    def __init__(self, journal: Journal, crisis_line: CrisisLine, changed: Callable[[], None]) -> None:
        self.journal = journal
        self._crisis_line = crisis_line
        self._changed = changed

    async def commit(self, work: Transaction) -> None:
        """One transaction; returns once what it says is on the bus. Raises Unavailable, and what `work` raises."""
        try:
            await self.journal.transact(work)
        except PyMongoError:
            raise Unavailable from None
        self._changed()

    async def commit_crisis(
        self, work: Transaction, flags: Sequence[Event], otherwise: Event | None = None
    ) -> None:
        """One transaction that may put a flag into `flags`. `otherwise` is the flag to give to the crisis service
        where the transaction did not even begin. Raises Unavailable where nobody could be told."""
        try:
            _, publishing = await self.journal.transact_then_publish(work)
        except PyMongoError:
            flag = flags[0] if flags else otherwise
            if flag is None or not await self._crisis_line.tell(flag):
                raise Unavailable from None
            return
        self._changed()
        # Without a crisis there is time; with one, the person on the phone gets help and not a waiting page.
        patience = self._crisis_line.patience if flags else None
        done, _ = await asyncio.wait([publishing], timeout=patience)
        if not done:
            await self._crisis_line.tell(flags[0])


def known(view: View, follow_up_id: str) -> FollowUp:
    """The follow-up. Raises Problem 404 for one that was never heard of, or whose client was erased."""
    follow_up = view.get(FollowUp, follow_up_id)
    if follow_up is None or view.get(Erasure, follow_up.client_id):
        raise Problem(
            404,
            "unknown-follow-up",
            "no such follow-up; a crisis can be flagged at the crisis service: POST /v1/crises",
        )
    return follow_up


def ended(
    view: View,
    follow_up: FollowUp,
    how: Conducted,
    kept: Changes,
    said: Sequence[Event],
    now: datetime,
) -> Outcome:
    """State, messages dropped and everything said in one journal entry; `said` (a crisis) goes first."""
    after = follow_ups.settled(follow_up.model_copy(update={"outcome": how.outcome, "recorded_at": now}))
    changes = kept + Changes(puts=[after]) + dropped_with(view, after, now)
    events = [*said, *records.said(follow_up, how, now)]
    return written(view, changes, f"follow-up-recorded {follow_up.id}", events)


def written(view: View, changes: Changes, name: str, events: Sequence[Event]) -> Outcome:
    """What a command writes: the changes, and one journal entry `out <name>` with what is said about them."""
    view.apply(changes)
    trace = tracing.current()
    outgoing = [Outgoing.of(event, trace) for event in events]
    return Outcome(entries=[Entry(f"out {name}", outgoing)] if events else [], view=view)
