"""The second clock: checks that the first one goes, and beats for a third that stands outside.

Every 20 seconds of the wall clock each incident must have a next step that is not long past. What is not so is put
right and logged. The heartbeat goes out only when all is well, so that its absence calls somebody when we cannot.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import httpx
import structlog

from services.crisis import domain
from services.crisis.board import Watch
from services.crisis.flags import FlagReader
from services.crisis.keeper import Keeper
from services.crisis.pager import Pager
from shared.clock import Clock
from shared.observability import metrics

log = structlog.get_logger(__name__)

EVERY_SECONDS = 20.0
OVERDUE = timedelta(seconds=90)
"""A step this late is not just slow: a send takes 50 seconds at most."""
HANGS_SECONDS = 90.0
"""Of the monotonic clock: so long nobody works on one step."""
PROBLEMS = (
    "pager-stands-still",
    "flags-not-read",
    "incidents-not-written-down",
    "hangs",
    "overdue",
    "reaches-nobody",
    "no-next-step",
    "unreadable",  # it lies in the database, and nobody is paged about it
    "ahead-of-time",  # written by a clock that was wrong: its next step is too late by as much
)
PATIENCE_SECONDS = 120.0
"""So long bus and database may be away before the heartbeat stops."""


class Auditor:
    """Watches the pager."""

    def __init__(
        self,
        pager: Pager,
        keeper: Keeper,
        flags: FlagReader,
        clock: Clock,
        heartbeat_url: str | None,
        client: httpx.AsyncClient,
    ) -> None:
        self._pager = pager
        self._board = pager.board
        self._keeper = keeper
        self._flags = flags
        self._clock = clock
        self._url = heartbeat_url
        self._client = client
        self._ticks = -1
        self._well_since: dict[str, float] = {}

    async def run(self) -> None:
        """Look and beat, for ever."""
        while True:
            problems = self.look()
            _show(problems)
            if problems:
                log.error("the pager is not well", problems=problems)
                metrics.HEARTBEATS.labels("withheld").inc()
            else:
                await self._beat()
            await asyncio.sleep(EVERY_SECONDS)

    def look(self) -> list[str]:
        """What is wrong, as codes; mends what it can."""
        problems = [
            problem for watch in list(self._board.watches.values()) if (problem := self._checked(watch))
        ]
        problems += [f"unreadable {key}" for key in self._board.unreadable]
        if not self._pager.running or self._pager.ticks == self._ticks:
            problems.append("pager-stands-still")
        self._ticks = self._pager.ticks
        self._board.wake.set()  # a pager that moves will have ticked by the next look
        if self._away("bus", self._flags.reading):
            problems.append("flags-not-read")
        if self._away("database", not (self._keeper.failing and self._keeper.backlog)):
            problems.append("incidents-not-written-down")
        return problems

    def _checked(self, watch: Watch) -> str | None:
        try:
            return self._check(watch)
        except Exception as error:  # the others are looked at all the same
            log.error("an incident cannot be checked", incident=watch.incident.id, error=type(error).__name__)
            return f"no-next-step {watch.incident.id}"

    def _check(self, watch: Watch) -> str | None:
        incident = watch.incident
        if watch.worker is not None and time.monotonic() - watch.at_work_since > HANGS_SECONDS:
            watch.worker.cancel()  # the next one begins anew, and better twice than never
            return f"hangs {incident.id}"
        at = domain.next_at(incident, self._board.chains.of(incident))
        if incident.timeline[-1].at > self._clock.now() + OVERDUE:
            return f"ahead-of-time {incident.id}"
        if at is None and incident.awaiting:
            return f"no-next-step {incident.id}"
        attempts = [
            line for line in incident.timeline if line.kind in ("paged", "page-failed") and not line.stage
        ]
        if incident.awaiting and attempts and attempts[-1].kind == "page-failed":
            return f"reaches-nobody {incident.id}"
        if at is None or watch.worker is not None or at > self._clock.now() - OVERDUE:
            return None
        watch.held_until = None  # whoever held it has had long enough
        return f"overdue {incident.id}"

    def _away(self, what: str, well: bool) -> bool:
        now = time.monotonic()
        if well:
            self._well_since[what] = now
        return now - self._well_since.setdefault(what, now) > PATIENCE_SECONDS

    async def _beat(self) -> None:
        if not self._url:
            return
        try:
            answer = await self._client.get(self._url)
            answer.raise_for_status()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            log.warning("the heartbeat was not taken", error=type(error).__name__)
            metrics.HEARTBEATS.labels("refused").inc()
        else:
            metrics.HEARTBEATS.labels("taken").inc()


def _show(problems: Sequence[str]) -> None:
    """Each problem by its code, as a metric: without the incident that it may name."""
    found = Counter(problem.split()[0] for problem in problems)
    for code in PROBLEMS:
        metrics.PAGER_PROBLEMS.labels(code).set(found[code])
