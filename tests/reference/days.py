"""Days as the references count them: Shanghai's, working by the State Council's notices, weekends off beyond them."""

from __future__ import annotations

import calendar
from datetime import date, datetime, time, timedelta, timezone

import chinese_calendar

SHANGHAI = timezone(timedelta(hours=8))  # no summer time since 1991
DAY = timedelta(days=1)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(SHANGHAI)


def end_of(day: date) -> datetime:
    return datetime.combine(day, time(23, 59, 59), SHANGHAI)


def months_later(day: date, months: int) -> date:
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def known(day: date) -> bool:
    try:
        chinese_calendar.is_workday(day)
    except NotImplementedError:
        return False
    return True


def worked(day: date) -> bool:
    return chinese_calendar.is_workday(day) if known(day) else day.weekday() < 5
