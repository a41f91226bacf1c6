"""Which month a thing belongs to: the calendar month of its day in the company's zone."""

from __future__ import annotations

from datetime import date, datetime, tzinfo

from shared.policy.counting import Period, add_period, local_day


def month_of(instant: datetime, zone: tzinfo) -> str:
    """The month of an instant's local day: 31 March 16:00 UTC is midnight in Shanghai, hence April."""
    return f"{local_day(instant, zone):%Y-%m}"


def months_up_to(month: str, count: int) -> tuple[str, ...]:
    """`count` months in order, the last of them `month`."""
    first = date.fromisoformat(f"{month}-01")
    return tuple(f"{add_period(first, Period(months=-back)):%Y-%m}" for back in reversed(range(count)))
