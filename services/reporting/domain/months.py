"""Months in a row."""

from __future__ import annotations

from datetime import date

from shared.policy.counting import Period, add_period


def months_up_to(month: str, count: int) -> tuple[str, ...]:
    """`count` months in order, the last of them `month`."""
    first = date.fromisoformat(f"{month}-01")
    return tuple(f"{add_period(first, Period(months=-back)):%Y-%m}" for back in reversed(range(count)))


def month_before(month: str) -> str:
    return months_up_to(month, 2)[0]


def months_of(year: str) -> tuple[str, ...]:
    return months_up_to(f"{year}-12", 12)
