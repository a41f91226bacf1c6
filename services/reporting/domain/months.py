"""Months in a row, and the policy by which one is judged."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from shared.policy.counting import Period, add_period, month_span
from shared.policy.model import Policy
from shared.policy.versions import Policies


def months_up_to(month: str, count: int) -> tuple[str, ...]:
    """`count` months in order, the last of them `month`."""
    first = date.fromisoformat(f"{month}-01")
    return tuple(f"{add_period(first, Period(months=-back)):%Y-%m}" for back in reversed(range(count)))


def month_before(month: str) -> str:
    return months_up_to(month, 2)[0]


def months_of(year: str) -> tuple[str, ...]:
    return months_up_to(f"{year}-12", 12)


def policy_of(month: str, policies: Policies, now: datetime) -> Policy:
    """The version by which a month is judged: the one in force at its end, or now while it lasts. What is promised for
    the next month is no measure for this one."""
    return policies.by(min(month_span(month)[1] - timedelta(milliseconds=1), now))
