from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.policy.counting import Period, add_period, at_ten, end_of_day, local_day, parse_duration
from tests.unit.policy.regime import at

DAYS = st.dates(date(2000, 1, 1), date(2100, 1, 1))


def test_the_day_changes_at_midnight_in_shanghai() -> None:
    assert local_day(datetime(2026, 3, 1, 15, 59, 59, tzinfo=UTC)) == date(2026, 3, 1)
    assert local_day(datetime(2026, 3, 1, 16, 0, 0, tzinfo=UTC)) == date(2026, 3, 2)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        local_day(datetime(2026, 3, 1))  # noqa: DTZ001


def test_ten_and_the_end_of_day_are_shanghais_and_in_utc() -> None:
    assert at_ten(date(2026, 3, 2)) == at("2026-03-02 10:00")
    assert at_ten(date(2026, 3, 2)).tzinfo is UTC
    assert end_of_day(date(2026, 3, 2)) == at("2026-03-02 23:59:59")
    assert at_ten(date(2026, 3, 2), time(9, 30), ZoneInfo("UTC")) == datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "period", "end"),
    [
        ("2026-08-31", "6 months", "2027-02-28"),
        ("2027-08-31", "6 months", "2028-02-29"),
        ("2026-01-31", "1 month", "2026-02-28"),
        ("2026-11-30", "3 months", "2027-02-28"),
        ("2028-02-29", "3 months", "2028-05-29"),
        ("2028-02-28", "1 day", "2028-02-29"),
        ("2028-02-14", "15 days", "2028-02-29"),
        ("2026-12-31", "1 month 2 days", "2027-02-02"),
    ],
)
def test_adding_periods(start: str, period: str, end: str) -> None:
    assert add_period(date.fromisoformat(start), Period.parse(period)) == date.fromisoformat(end)


@given(DAYS, st.integers(0, 24))
def test_a_month_lands_in_its_month_on_the_same_day_or_its_last(day: date, months: int) -> None:
    end = add_period(day, Period(months=months))
    assert (end.year * 12 + end.month) - (day.year * 12 + day.month) == months
    assert end.day == day.day or (end.day < day.day and (end + timedelta(1)).day == 1)


@given(DAYS, DAYS, st.integers(0, 12), st.integers(0, 60))
def test_a_later_start_never_ends_earlier(a: date, b: date, months: int, days: int) -> None:
    early, late = sorted((a, b))
    period = Period(months, days)
    assert add_period(early, period) <= add_period(late, period)


@given(DAYS)
def test_the_local_day_of_its_hours_is_the_day(day: date) -> None:
    assert local_day(at_ten(day)) == local_day(end_of_day(day)) == day
    assert local_day(end_of_day(day) + timedelta(seconds=1)) == day + timedelta(1)


def test_durations_and_periods_are_read_and_written() -> None:
    assert parse_duration("30 min") == timedelta(minutes=30)
    assert parse_duration("1 day 12 h") == timedelta(hours=36)
    assert [str(Period.parse(text)) for text in ("15 days", "1 month", "2 months 1 day")] == [
        "15 days",
        "1 month",
        "2 months 1 day",
    ]


@pytest.mark.parametrize("text", ["", "15", "days", "15 weeks", "-3 days", "3 days later", "1.5 days"])
def test_a_period_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        Period.parse(text)
    with pytest.raises(ValueError, match="such as"):
        parse_duration(text)
