"""Counting days, months and hours of the day in the company's zone (collision 7).

The first day does not count; a month ends on its last day when the date does not exist (31 August + 6 months is
28 February). Instants come back in UTC.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Literal

from dateutil.relativedelta import relativedelta

from shared.contracts.types import COMPANY_ZONE

TEN = time(10, 0)
LAST_SECOND = time(23, 59, 59)

MonthEnd = Literal["last-day", "next-month"]

_DURATION_UNITS = {"s": 1, "min": 60, "h": 3600, "day": 86400, "days": 86400}
_PART = re.compile(r"(\d{1,6}) ?([a-z]+)")


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of calendar months and days, months counted first: `3 months`, `1 month 2 days`."""

    months: int = 0
    days: int = 0

    @classmethod
    def parse(cls, text: str) -> Period:
        """Read `15 days` or `3 months`. Raises ValueError."""
        months = days = 0
        for number, unit in _parts(text):
            if unit in ("month", "months"):
                months += number
            elif unit in ("day", "days"):
                days += number
            else:
                raise ValueError(f"{text!r} is no period of days and months, such as '15 days' or '3 months'")
        return cls(months, days)

    def __str__(self) -> str:
        parts = [(self.months, "month"), (self.days, "day")]
        return " ".join(f"{n} {unit}{'' if n == 1 else 's'}" for n, unit in parts if n) or "0 days"


def parse_duration(text: str) -> timedelta:
    """Read an exact stretch of time: `30 min`, `24 h`, `2 days` (of 24 hours each). Raises ValueError."""
    total = timedelta()
    for number, unit in _parts(text):
        if unit not in _DURATION_UNITS:
            raise ValueError(f"{text!r} is no duration, such as '30 min', '24 h' or '2 days'")
        total += timedelta(seconds=number * _DURATION_UNITS[unit])
    return total


def _parts(text: str) -> list[tuple[int, str]]:
    found = [(int(number), unit) for number, unit in _PART.findall(text)]
    if not found or _PART.sub("", text).strip():
        raise ValueError(f"{text!r} is not a number followed by a unit, such as '15 days' or '30 min'")
    return found


def local_day(instant: datetime, zone: tzinfo = COMPANY_ZONE) -> date:
    """The calendar day on which an instant falls in the company's zone."""
    if instant.tzinfo is None:
        raise ValueError("an instant needs a time zone: pass an aware datetime")
    return instant.astimezone(zone).date()


def month_of(instant: datetime, zone: tzinfo = COMPANY_ZONE) -> str:
    """The month of an instant's local day: 31 March 16:00 UTC is midnight in Shanghai, hence `2026-04`."""
    return f"{local_day(instant, zone):%Y-%m}"


def month_span(month: str, zone: tzinfo = COMPANY_ZONE) -> tuple[datetime, datetime]:
    """From the first instant of a month to that of the next, in UTC."""
    first = date.fromisoformat(f"{month}-01")
    days = (first, add_period(first, Period(months=1)))
    start, end = (datetime.combine(day, time.min, zone).astimezone(UTC) for day in days)
    return start, end


def at_ten(day: date, hour: time = TEN, zone: tzinfo = COMPANY_ZONE) -> datetime:
    """The hour at which the regime's work is scheduled (10:00 unless the policy says otherwise), in UTC."""
    return datetime.combine(day, hour, zone).astimezone(UTC)


def end_of_day(day: date, zone: tzinfo = COMPANY_ZONE) -> datetime:
    """The last second of a day, to which "by" and "within" reach, in UTC."""
    return datetime.combine(day, LAST_SECOND, zone).astimezone(UTC)


def add_period(day: date, period: Period, month_end: MonthEnd = "last-day") -> date:
    """The day a period later; one that the month does not have becomes the month's last, or the next one's first."""
    moved = day + relativedelta(months=period.months) if period.months else day
    if month_end == "next-month" and moved.day < day.day:
        moved += timedelta(1)
    return moved + timedelta(period.days)
