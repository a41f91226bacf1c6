"""Sessions outside their bounds (W40, W47). What was held cannot be refused: it is kept as a fact, and marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise

from services.intake.domain.facts import Session
from services.intake.domain.ledger import Case
from shared.contracts.events import Service
from shared.policy.counting import local_day
from shared.policy.model import Policy

BOUND: Service = "workplace-adaptation"
"""The service whose sessions have bounds."""

WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Outside:
    """A session, the row of the policy that it does not keep to, and how."""

    session_no: int
    bound: str
    how: str
    """`too-short`, `too-long`, `too-many` in its week, or `too-few`: a week without one went before it."""
    clauses: tuple[str, ...]


def outside_bounds(case: Case, policy: Policy) -> tuple[Outside, ...]:
    """The sessions outside the bounds of length and frequency, in the order in which they ended.

    The bounds are those of workplace adaptation; no clause gives other services any.
    """
    if case.opening is None or case.opening.service != BOUND:
        return ()
    held = case.sessions_by_end()
    return (*(mark for session in held for mark in _length(session, policy)), *_frequency(held, policy))


def _length(session: Session, policy: Policy) -> Iterator[Outside]:
    if session.started_at is None or session.mode is None:
        return
    bound = policy.bound(f"session-length-{session.mode}")
    lasted = session.ended_at - session.started_at
    if bound.at_least is not None and lasted < bound.at_least:
        yield Outside(session.session_no, bound.name, "too-short", (bound.clause,))
    if bound.at_most is not None and lasted > bound.at_most:
        # W47: longer only if the client agreed before. No event says so: a person reads the mark.
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
