"""Sessions outside their bounds (W40, W41, W47), or held too early (W43).

What was held cannot be refused: it is kept as a fact, and marked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from services.intake.domain.agreements import Agreements
from services.intake.domain.facts import Session
from services.intake.domain.ledger import Case
from shared.contracts.events import Service
from shared.policy.counting import local_day
from shared.policy.model import Policy

BOUND: Service = "workplace-adaptation"
"""The service whose sessions have bounds."""

AGREED = "agreed-sessions"
"""The row of the policy that says how many sessions an individual agrees on."""

WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Outside:
    """A session, the row of the policy that it does not keep to, and how."""

    session_no: int
    bound: str
    how: str
    """`too-short`, `too-long`, `too-many` in its week, or `too-few`: a week without one went before it."""
    clauses: tuple[str, ...]


def has_bounds(case: Case) -> bool:
    """The bounds are those of workplace adaptation; no clause gives other services any."""
    return case.opening is not None and case.opening.service == BOUND


def outside_bounds(case: Case, agreed: Agreements, policy: Policy) -> tuple[Outside, ...]:
    """The sessions outside the bounds of length and frequency, in the order in which they ended."""
    if not has_bounds(case):
        return ()
    held = case.sessions_by_end()
    lengths = (mark for session in held for mark in _length(case, session, agreed, policy))
    return (*lengths, *_frequency(held, policy))


def unconfirmed(case: Case, agreed: Agreements) -> tuple[int, ...]:
    """W43: the numbers of the sessions that began before the client had confirmed the plan, by their ends."""
    if not has_bounds(case):
        return ()
    begun = ((session, session.started_at or session.ended_at) for session in case.sessions_by_end())
    return tuple(session.session_no for session, at in begun if not agreed.confirmed_by(at))


def may_be_scheduled(case: Case | None, agreed: Agreements) -> bool:
    """W43: whether a session may be scheduled now. Of a case that is not known (yet) nothing is refused."""
    return case is None or not has_bounds(case) or agreed.plan_confirmed_at is not None


def agreed_outside(case: Case, policy: Policy) -> tuple[str, str, tuple[str, ...]] | None:
    """W41: the row that the number of agreed sessions does not keep to, how, and its clauses; None where it does.

    It is for individuals: enterprises agree on theirs by contract.
    """
    opening, row = case.opening, next((row for row in policy.counts if row.name == AGREED), None)
    if opening is None or row is None or not has_bounds(case) or opening.enterprise_id:
        return None
    if row.at_least <= opening.agreed_sessions <= row.at_most:
        return None
    how = "too-few" if opening.agreed_sessions < row.at_least else "too-many"
    return row.name, how, row.clauses


def _length(case: Case, session: Session, agreed: Agreements, policy: Policy) -> Iterator[Outside]:
    if session.started_at is None or session.mode is None:
        return
    bound = policy.bound(f"session-length-{session.mode}")
    lasted = session.ended_at - session.started_at
    if bound.at_least is not None and lasted < bound.at_least:
        yield Outside(session.session_no, bound.name, "too-short", (bound.clause,))
    if bound.at_most is not None and lasted > bound.at_most:
        # W47: longer only if the client agreed before, which is before its time was over.
        time_over = session.started_at + bound.at_most
        if not agreed.longer_agreed_by(case.id, session.session_no, time_over):
            yield Outside(session.session_no, bound.name, "too-long", bound.clauses)


def _frequency(held: list[Session], policy: Policy) -> Iterator[Outside]:
    rule = policy.frequency("sessions-a-week")
    weeks = [_week_of(session, policy) for session in held]
    so_far: Counter[date] = Counter()
    for session, week in zip(held, weeks, strict=True):
        so_far[week] += 1
        if so_far[week] > rule.at_most:
            yield Outside(session.session_no, rule.name, "too-many", rule.clauses)
    for (before, _), (week, session) in pairwise(zip(weeks, held, strict=True)):
        if rule.at_least and week - before > WEEK:
            yield Outside(session.session_no, rule.name, "too-few", rule.clauses)


def _week_of(session: Session, policy: Policy) -> date:
    """The Monday of its calendar week, in the company's zone."""
    day = local_day(session.ended_at, policy.switches.zone)
    return day - timedelta(days=day.weekday())
