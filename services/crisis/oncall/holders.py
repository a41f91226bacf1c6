"""Who is on call now, in memory: asked by every page, and never waits for anything.

The file is read again when it changes, the overrides every few seconds. Without the database the last known ones
hold; a file that has become unreadable leaves the one before in force. Whatever the rota cannot answer goes to
everybody with the role: a page never goes to nobody because of the rota.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from pymongo.errors import PyMongoError

from services.crisis.oncall.overrides import Override
from services.crisis.oncall.rota import Rota, read_rota
from services.crisis.oncall.rotation import Span
from services.crisis.oncall.shifts import Gap, Shift, gaps, holder
from services.crisis.oncall.store import OnCallStore
from shared.clock import Clock
from shared.contracts.types import write_time
from shared.observability import metrics
from shared.policy.reading import PolicyError
from shared.policy.workdays import load_calendar

log = structlog.get_logger(__name__)

EVERY_SECONDS = 10.0
"""After so long each replica knows what was changed at another."""
READ_SECONDS = 5.0
AHEAD = timedelta(days=14)
"""So long before a gap it is warned of."""
PLAN_VALID = timedelta(hours=1)
AGAIN_AFTER = timedelta(days=1)
"""A gap that is still there is logged again."""


@dataclass(frozen=True)
class Plan:
    """The shifts of each role that touch a span: computed once, asked often."""

    span: Span
    shifts: dict[str, list[Shift]]


class OnCall:
    """The rota, the overrides, and what follows from both."""

    def __init__(
        self, path: Path | None, workdays_file: Path | None, known: Collection[str], clock: Clock
    ) -> None:
        self.rota: Rota | None = None
        """None: there is no file, or it could not be read since the start."""
        self.overrides: dict[str, Override] = {}
        self._path = path
        self._workdays_file = workdays_file
        self._known = frozenset(known)
        self._clock = clock
        self._seen: object = None
        self._unreadable: list[str] | None = None
        self._plan: Plan | None = None
        self._told: dict[tuple[str, str], datetime] = {}
        self.reload()

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that the rota covers."""
        return self.rota.roles if self.rota else ()

    def can_be_paged(self, person: str) -> bool:
        """Whether the roster has an entry for this person."""
        return person in self._known

    # --- asked by a page --------------------------------------------------------------------------------------

    def holders(self, role: str) -> tuple[str, ...] | None:
        """Whom a page to this role is for; None: everybody who has it. Raises nothing."""
        if self._path is None or (self.roles and role not in self.roles):
            return None
        try:
            person, reason = self._holder(role)
        except Exception as error:  # a defect in the rota must not keep the page from the others
            person, reason = None, "defect"
            log.error("the rota failed", role=role, error=type(error).__name__)
        if person is None:
            log.warning("the rota names nobody who can be paged: everybody is", role=role, reason=reason)
            metrics.ROTA_FALLBACKS.labels(role, reason).inc()
            return None
        return (person,)

    def _holder(self, role: str) -> tuple[str | None, str]:
        if not self.roles:
            return None, "unreadable" if self._unreadable else "empty"
        now = self._clock.now()
        person = holder(self._planned(now).shifts[role], now)
        if person is None:
            return None, "gap"
        return (person, "") if self.can_be_paged(person) else (None, "not-on-the-roster")

    # --- asked by people --------------------------------------------------------------------------------------

    def shifts(self, role: str, span: Span) -> list[Shift]:
        """The shifts of a role that touch the span. Empty for a role that is not covered."""
        if self.rota is None or role not in self.rota.roles:
            return []
        return self.rota.shifts(role, span, list(self.overrides.values()))

    def gaps(self, span: Span) -> list[Gap]:
        """When nobody is on call within the span, for every role that is covered."""
        return [gap for role in self.roles for gap in gaps(role, self.shifts(role, span), span)]

    # --- kept up to date --------------------------------------------------------------------------------------

    def learn(self, overrides: Iterable[Override]) -> None:
        """Take up overrides that are stored. One that was taken back stays so: a slow reading may be older."""
        for one in overrides:
            known = self.overrides.get(one.id)
            if known is None or (one.withdrawn_at and not known.withdrawn_at):
                self.overrides[one.id] = one
                self._plan = None

    def reload(self) -> None:
        """Read the file where it has changed. What cannot be read is logged, and what was read before holds."""
        if self._path is None or (self._unreadable is None and self._seen == self._signature()):
            return
        try:
            seen, rota = self._signature(), read_rota(self._path, load_calendar(self._workdays_file))
        except PolicyError as error:
            self._complain([str(problem) for problem in error.problems])
            return
        except Exception as error:  # a defect in reading must not keep crisis from starting
            self._complain([f"defect {type(error).__name__}"])
            return
        self.rota, self._unreadable, self._plan = rota, None, None
        self._seen = seen if seen == self._signature() else None
        metrics.ROTA_UNREADABLE.set(0)
        log.info("the rota was read", roles=rota.roles)
        if unknown := sorted(rota.people() - self._known):
            log.warning("the rota names people whom the roster does not have", people=unknown)

    def _complain(self, problems: list[str]) -> None:
        metrics.ROTA_UNREADABLE.set(1)
        if problems != self._unreadable:  # it is read again every few seconds until it can be
            self._unreadable = problems
            log.error("the rota cannot be used: what was read before holds", problems=problems)

    async def refresh(self, store: OnCallStore) -> None:
        """Learn what was changed here and at other replicas. Raises PyMongoError, TimeoutError."""
        async with asyncio.timeout(READ_SECONDS):
            self.learn(await store.overrides(self._clock.now()))

    async def run(self, store: OnCallStore) -> None:
        """Keep file and overrides up to date and look ahead, for ever, by the wall clock."""
        while True:
            self.reload()
            try:
                await self.refresh(store)
            except (PyMongoError, TimeoutError) as error:
                log.warning("the last known overrides hold", error=type(error).__name__)
            self.look_ahead()
            await asyncio.sleep(EVERY_SECONDS)

    def look_ahead(self) -> None:
        """Measure the gaps that come, and log each once a day."""
        now = self._clock.now()
        ahead, plan = Span(now, now + AHEAD), self._planned(now)
        metrics.ROTA_GAP_SECONDS.clear()
        metrics.ROTA_NEXT_GAP_SECONDS.clear()
        for role in self.roles:
            found = gaps(role, plan.shifts[role], ahead)
            length = sum((gap.end - gap.start for gap in found), timedelta()).total_seconds()
            metrics.ROTA_GAP_SECONDS.labels(role).set(length)
            until = (found[0].start - now).total_seconds() if found else math.inf
            metrics.ROTA_NEXT_GAP_SECONDS.labels(role).set(until)
            self._warn(role, found, now)

    def _warn(self, role: str, found: Sequence[Gap], now: datetime) -> None:
        self._told = {key: at for key, at in self._told.items() if at + AGAIN_AFTER > now}
        # One that lasts begins "now", whenever it is looked at: it is still the same.
        keys = {(role, write_time(gap.start) if gap.start > now else "now"): gap for gap in found}
        if fresh := [key for key in keys if key not in self._told]:
            first = keys[fresh[0]]
            start, end = write_time(first.start), write_time(first.end)
            log.warning("the rota has a gap", role=role, start=start, end=end, gaps=len(found))
            self._told |= dict.fromkeys(fresh, now)

    def _planned(self, now: datetime) -> Plan:
        plan = self._plan
        if plan is None or not plan.span.start <= now < plan.span.start + PLAN_VALID:
            span = Span(now, now + AHEAD + PLAN_VALID)
            plan = self._plan = Plan(span, {role: self.shifts(role, span) for role in self.roles})
        return plan

    def _signature(self) -> object:
        """Changes whenever the file, a calendar that it names, or that of the working days does."""
        assert self._path is not None
        files = self.rota.files if self.rota else (self._path,)
        return [_stamp(path) for path in (*files, *([self._workdays_file] if self._workdays_file else []))]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
