from datetime import date, timedelta

import chinese_calendar
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.policy.reading import PolicyError
from shared.policy.workdays import Moved, WorkCalendar, load_calendar

CALENDAR = WorkCalendar()
LAST_KNOWN = max(chinese_calendar.constants.holidays).year
UNKNOWN_YEAR = LAST_KNOWN + 1
ANY_DAY = st.dates(date(2005, 1, 1), date(2040, 12, 31))
KNOWN_DAY = st.dates(date(2006, 1, 1), date(2025, 12, 31))


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("2026-02-13", ["2026-02-14", "2026-02-24", "2026-02-25", "2026-02-27"]),  # Spring Festival
        ("2026-09-18", ["2026-09-20", "2026-09-21", "2026-09-22", "2026-09-24"]),  # a Sunday worked
        ("2026-09-30", ["2026-10-08", "2026-10-09", "2026-10-10", "2026-10-13"]),  # National Day
        ("2026-04-30", ["2026-05-06", "2026-05-07", "2026-05-08", "2026-05-11"]),  # Labour Day
    ],
)
def test_working_days_follow_the_notice_of_2026(start: str, expected: list[str]) -> None:
    found = [CALENDAR.add_working_days(date.fromisoformat(start), n) for n in (1, 2, 3, 5)]
    assert found == [Moved(date.fromisoformat(day), False) for day in expected]


def test_a_worked_saturday_is_a_working_day() -> None:
    assert CALENDAR.state(date(2026, 2, 14)) == "working"
    assert CALENDAR.state(date(2026, 2, 16)) == "off"
    assert CALENDAR.next_working_day(date(2026, 2, 14)) == Moved(date(2026, 2, 14), False)


def test_moved_on_over_a_whole_holiday_week() -> None:
    assert CALENDAR.next_working_day(date(2026, 10, 1)) == Moved(date(2026, 10, 8), False)
    assert CALENDAR.next_working_day(date(2026, 2, 15)) == Moved(date(2026, 2, 24), False)


def test_counting_back_over_a_holiday() -> None:
    assert CALENDAR.add_working_days(date(2026, 10, 8), -1).day == date(2026, 9, 30)
    assert CALENDAR.add_working_days(date(2026, 10, 8), 0) == Moved(date(2026, 10, 8), False)


def test_an_unknown_year_rests_on_weekends_only_and_says_so() -> None:
    new_year = date(UNKNOWN_YEAR, 1, 1)
    weekday = next(d for n in range(7) if (d := new_year + timedelta(n)).weekday() == 0)
    saturday = weekday + timedelta(5)
    assert CALENDAR.state(weekday) == CALENDAR.state(saturday) == "unknown"
    assert CALENDAR.is_working(weekday)
    assert not CALENDAR.is_working(saturday)
    assert CALENDAR.next_working_day(saturday) == Moved(saturday + timedelta(2), True)


def test_a_count_that_reaches_into_an_unknown_year_is_provisional() -> None:
    last_week = date(LAST_KNOWN, 12, 24)
    assert not CALENDAR.add_working_days(last_week, 1).provisional
    assert CALENDAR.add_working_days(last_week, 8).provisional
    assert CALENDAR.add_working_days(date(UNKNOWN_YEAR, 1, 4), -5).provisional


def test_a_notice_makes_its_year_known(tmp_path) -> None:
    file = tmp_path / "workdays.yaml"
    file.write_text(
        f"notices:\n- reference: a notice\n  year: {UNKNOWN_YEAR}\n"
        f"  days_off: [{UNKNOWN_YEAR}-03-01]\n  days_worked: [{UNKNOWN_YEAR}-03-06]\n"
    )
    calendar = load_calendar(file)
    assert calendar.state(date(UNKNOWN_YEAR, 3, 1)) == "off"
    assert calendar.state(date(UNKNOWN_YEAR, 3, 6)) == "working"
    assert {calendar.known(date(UNKNOWN_YEAR, 1, 1) + timedelta(n)) for n in range(365)} == {True}
    assert not calendar.known(date(UNKNOWN_YEAR + 1, 1, 1))
    assert not calendar.add_working_days(date(LAST_KNOWN, 12, 30), 9).provisional


def test_a_single_correction_overrules_the_library_and_leaves_the_year_unknown() -> None:
    calendar = WorkCalendar({date(2026, 3, 2): False, date(UNKNOWN_YEAR, 3, 1): False})
    assert CALENDAR.state(date(2026, 3, 2)) == "working"
    assert calendar.state(date(2026, 3, 2)) == "off"
    assert calendar.state(date(UNKNOWN_YEAR, 3, 1)) == "off"
    assert calendar.state(date(UNKNOWN_YEAR, 3, 2)) == "unknown"


def test_a_day_both_off_and_worked_is_refused(tmp_path) -> None:
    file = tmp_path / "workdays.yaml"
    file.write_text(
        "notices:\n- {reference: a, days_off: [2027-03-01]}\n"
        "- {reference: b, days_off: [2027-03-02], days_worked: [2027-03-02]}\n"
    )
    with pytest.raises(PolicyError, match=r"workdays.yaml:3: .*2027-03-02 cannot be both"):
        load_calendar(file)


def test_the_library_is_asked_once_a_day(monkeypatch) -> None:
    asked: list[date] = []
    monkeypatch.setattr(chinese_calendar, "is_workday", lambda day: asked.append(day) or True)
    calendar = WorkCalendar()
    for _ in range(3):
        calendar.add_working_days(date(2026, 3, 2), 5)
    assert len(asked) == len(set(asked)) == 5


@given(ANY_DAY)
def test_the_next_working_day_is_the_nearest(day: date) -> None:
    moved = CALENDAR.next_working_day(day)
    assert CALENDAR.is_working(moved.day)
    passed = [day + timedelta(n) for n in range((moved.day - day).days)]
    assert not any(CALENDAR.is_working(d) for d in passed)
    assert moved.provisional == any(not CALENDAR.known(d) for d in [*passed, moved.day])


@given(ANY_DAY, st.integers(1, 30))
def test_n_working_days_lie_behind_the_start(day: date, n: int) -> None:
    moved = CALENDAR.add_working_days(day, n)
    counted = [
        d for k in range(1, (moved.day - day).days + 1) if CALENDAR.is_working(d := day + timedelta(k))
    ]
    assert len(counted) == n
    assert counted[-1] == moved.day


@given(KNOWN_DAY, st.integers(-30, 30))
def test_counting_on_and_back_comes_home(day: date, n: int) -> None:
    start = CALENDAR.next_working_day(day).day
    assert CALENDAR.add_working_days(CALENDAR.add_working_days(start, n).day, -n).day == start
