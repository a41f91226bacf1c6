"""The times of follow-ups, duties and dates, as contracts fix them."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.policy.counting import add_period, local_day
from shared.policy.model import FollowUpRule
from shared.policy.schedule import (
    Due,
    Scheduled,
    calendar_due,
    calendar_due_at,
    duty_due,
    month_about,
    schedule,
    work_begins,
    working_limit,
)
from shared.policy.workdays import Moved, WorkCalendar
from tests.unit.policy.regime import CALENDAR, POLICY, SHANGHAI, at, written

RULES = st.sampled_from(POLICY.follow_ups)
ANCHORS = st.datetimes(datetime(2025, 1, 1), datetime(2028, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


def plan(name: str, anchor: str, step: str | None = None, calendar: WorkCalendar = CALENDAR) -> Scheduled:
    return schedule(POLICY.follow_up(name, step), at(anchor), calendar, POLICY)


@pytest.mark.clause("F36", "F38", "F40", "F42", "A32")
@pytest.mark.parametrize(
    ("name", "step", "anchor", "scheduled", "complete"),
    [
        # Moved on to a working day, complete a week after the moved day.
        ("closed-15d", None, "2026-03-02 16:00", "2026-03-17", "2026-03-24"),
        ("closed-15d", None, "2026-09-16 16:00", "2026-10-08", "2026-10-15"),  # National Day week
        ("closed-15d", None, "2026-01-30 16:00", "2026-02-14", "2026-02-21"),  # a Saturday that is worked
        ("closed-15d", None, "2026-02-01 16:00", "2026-02-24", "2026-03-03"),  # Spring Festival
        ("closed-3m", None, "2026-03-02 16:00", "2026-06-02", "2026-06-09"),
        ("closed-3m", None, "2025-11-30 16:00", "2026-02-28", "2026-03-07"),  # 28 Feb 2026, a worked Saturday
        ("key-15d", None, "2026-03-02 16:00", "2026-03-17", "2026-03-24"),
        ("key-1m", None, "2026-03-31 09:00", "2026-04-30", "2026-05-07"),
        ("key-1m", None, "2026-04-01 09:00", "2026-05-06", "2026-05-13"),  # Labour Day
        ("key-3m", None, "2026-01-31 09:00", "2026-04-30", "2026-05-07"),
        ("key-6m", None, "2026-03-02 16:00", "2026-09-02", "2026-09-09"),
        ("key-6m", None, "2027-08-31 16:00", "2028-02-29", "2028-03-07"),  # a leap day
        # Inside the limit, complete by the limit whatever happens.
        ("counselling-every-3", None, "2026-03-02 16:00", "2026-03-04", "2026-03-09"),
        ("counselling-every-3", None, "2026-03-05 16:00", "2026-03-09", "2026-03-12"),
        (
            "counselling-every-3",
            None,
            "2026-09-29 16:00",
            "2026-09-30",
            "2026-10-06",
        ),  # earlier: after is all off
        ("dropped-7d", None, "2026-03-02 16:00", "2026-03-05", "2026-03-09"),
        ("dropped-7d", None, "2026-03-04 16:00", "2026-03-09", "2026-03-11"),
        ("dropped-7d", None, "2026-09-29 16:00", "2026-09-30", "2026-10-06"),
        ("dropped-7d", None, "2026-09-28 16:00", "2026-09-30", "2026-10-05"),  # the last one before 1 October
        ("dropped-7d", None, "2026-10-01 09:00", "2026-10-08", "2026-10-08"),  # on the limit itself
        # On any day.
        ("crisis-aftercare", "1d", "2026-10-02 03:00", "2026-10-03", "2026-10-05"),
        ("crisis-aftercare", "3d", "2026-10-02 03:00", "2026-10-05", "2026-10-07"),
        ("crisis-aftercare", "7d", "2026-10-02 03:00", "2026-10-09", "2026-10-11"),
        ("crisis-aftercare", "30d", "2026-10-02 03:00", "2026-11-01", "2026-11-03"),
    ],
)
def test_when_a_follow_up_is_due(
    name: str, step: str | None, anchor: str, scheduled: str, complete: str
) -> None:
    rule = POLICY.follow_up(name, step)
    found = schedule(rule, at(anchor), CALENDAR, POLICY)
    assert written(found.scheduled_for) == f"{scheduled} 10:00:00"
    assert written(found.complete_by) == f"{complete} 23:59:59"
    assert found.forms == rule.forms


@pytest.mark.parametrize("name", ["counselling-every-3", "dropped-7d"])
def test_where_no_working_day_fits_the_unmoved_day_stays_by_questionnaire_alone(name: str) -> None:
    found = plan(name, "2026-09-30 16:00")
    unmoved = "2026-10-02" if name == "counselling-every-3" else "2026-10-03"
    assert written(found.scheduled_for) == f"{unmoved} 10:00:00"
    assert written(found.complete_by) == "2026-10-07 23:59:59"
    assert found.forms == ("questionnaire",)
    assert not found.provisional


def test_the_anchors_day_is_shanghais() -> None:
    before, after = plan("closed-15d", "2026-03-01 23:59:59"), plan("closed-15d", "2026-03-02 00:00:00")
    assert written(before.scheduled_for) == "2026-03-16 10:00:00"
    assert written(after.scheduled_for) == "2026-03-17 10:00:00"


def test_an_unknown_year_gives_a_provisional_time_that_a_notice_settles() -> None:
    # 2026-12-20 + 15 days is Monday 4 January 2027.
    calendar = WorkCalendar()
    found = plan("closed-15d", "2026-12-20 12:00", calendar=calendar)
    assert found.provisional == (not calendar.known(date(2027, 1, 4)))
    settled = plan("closed-15d", "2026-12-20 12:00", calendar=WorkCalendar({date(2027, 1, 4): False}, [2027]))
    assert (written(settled.scheduled_for), settled.provisional) == ("2027-01-05 10:00:00", False)


def test_years_that_nobody_knows_are_provisional_except_on_any_day() -> None:
    assert plan("dropped-7d", "2031-03-05 12:00").provisional
    assert plan("key-6m", "2031-03-05 12:00").provisional
    assert not plan("crisis-aftercare", "2031-03-05 12:00", "7d").provisional


def test_a_search_that_stays_in_the_known_year_is_not_provisional() -> None:
    calendar = WorkCalendar({date(2027, 1, 1): False})  # one day alone: the year stays unknown
    found = plan("counselling-every-3", "2026-12-28 12:00", calendar=calendar)
    assert (written(found.scheduled_for), found.provisional) == ("2026-12-30 10:00:00", False)


@given(RULES, ANCHORS)
def test_every_follow_up_keeps_its_promises(rule: FollowUpRule, anchor: datetime) -> None:
    found = schedule(rule, anchor, CALENDAR, POLICY)
    first, day, last = (local_day(t) for t in (anchor, found.scheduled_for, found.complete_by))
    assert first < day <= last
    assert written(found.scheduled_for).endswith("10:00:00")
    assert written(found.complete_by).endswith("23:59:59")
    if rule.within is not None:
        assert last == add_period(first, rule.within)  # never later than the limit
    elif rule.complete_after is not None:
        assert last == add_period(day, rule.complete_after)
    if rule.move == "any-day":
        assert day == add_period(first, rule.after)
    elif not CALENDAR.is_working(day):
        assert rule.move == "inside-limit"
        assert (found.forms, day) == (("questionnaire",), add_period(first, rule.after))
        between = [first + timedelta(n) for n in range(1, (last - first).days + 1)]
        assert not any(CALENDAR.is_working(d) for d in between)
    else:
        assert found.forms == rule.forms


@given(RULES, ANCHORS, ANCHORS)
def test_a_later_anchor_is_never_followed_up_earlier(rule: FollowUpRule, a: datetime, b: datetime) -> None:
    early, late = (schedule(rule, anchor, CALENDAR, POLICY) for anchor in sorted((a, b)))
    assert early.scheduled_for <= late.scheduled_for
    assert early.complete_by <= late.complete_by


@given(RULES, ANCHORS, st.integers(0, 14))
def test_neighbouring_anchors_are_followed_up_in_order(rule: FollowUpRule, anchor: datetime, n: int) -> None:
    early = schedule(rule, anchor, CALENDAR, POLICY)
    late = schedule(rule, anchor + timedelta(n), CALENDAR, POLICY)
    assert early.scheduled_for <= late.scheduled_for


@given(RULES, st.dates(date(2025, 1, 1), date(2028, 1, 1)), st.times(), st.times())
def test_the_hour_of_the_anchor_plays_no_part(rule: FollowUpRule, day: date, a, b) -> None:
    found = [schedule(rule, datetime.combine(day, hour, SHANGHAI), CALENDAR, POLICY) for hour in (a, b)]
    assert found[0] == found[1]


def test_the_work_begins_two_days_before() -> None:
    assert work_begins(at("2026-03-17 10:00"), POLICY) == at("2026-03-15 10:00")


# --- duties -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "opened", "due"),
    [
        ("record-24h", "2026-10-01 15:30", "2026-10-02 15:30:00"),  # hours run through holidays
        ("match-2wd", "2026-09-30 10:00", "2026-10-09 23:59:59"),
        ("complaint-3wd", "2026-02-13 10:00", "2026-02-25 23:59:59"),
        ("handle-5wd", "2026-04-30 00:00", "2026-05-11 23:59:59"),
        ("effect-1m", "2026-01-31 10:00", "2026-02-28 23:59:59"),
    ],
)
def test_limits_that_count_from_the_opening(rule: str, opened: str, due: str) -> None:
    found = duty_due(POLICY.duty(rule), at(opened), {}, CALENDAR, POLICY)
    assert written(found.at) == due


@pytest.mark.clause("F52")
@pytest.mark.parametrize(
    ("scheduled", "due"),
    [
        ("2026-03-17 10:00", "2026-03-16"),
        ("2026-03-16 10:00", "2026-03-13"),
        ("2026-10-08 10:00", "2026-09-30"),
    ],
)
def test_preparation_ends_one_working_day_before(scheduled: str, due: str) -> None:
    data = {"scheduled_for": at(scheduled).isoformat()}
    found = duty_due(POLICY.duty("prepare-1wd"), at("2026-03-01 10:00"), data, CALENDAR, POLICY)
    assert written(found.at) == f"{due} 23:59:59"


def test_a_limit_before_a_time_needs_that_time() -> None:
    with pytest.raises(ValueError, match="scheduled_for"):
        duty_due(POLICY.duty("prepare-1wd"), at("2026-03-01 10:00"), {}, CALENDAR, POLICY)


def test_hours_before_a_time_are_exact() -> None:
    data = {"starts_at": at("2026-03-03 14:00")}
    found = duty_due(POLICY.duty("case-analysed"), at("2026-03-01 10:00"), data, CALENDAR, POLICY)
    assert found == Due(at("2026-03-03 14:00"), False)


def test_a_working_limit_starts_from_shanghais_day_and_may_be_provisional() -> None:
    midnight = datetime(2026, 3, 1, 16, 0, tzinfo=UTC)  # 2 March in Shanghai
    assert written(working_limit(midnight, 2, CALENDAR, POLICY).at) == "2026-03-04 23:59:59"
    assert working_limit(at("2031-03-03 10:00"), 1, CALENDAR, POLICY).provisional


# --- dates --------------------------------------------------------------------------------------------------------


@pytest.mark.clause("F15", "F44", "F64")
@pytest.mark.parametrize(
    ("rule", "month", "due"),
    [
        ("report-5th", "2026-01", "2026-02-05"),
        ("report-5th", "2026-03", "2026-04-03"),  # 4 to 6 April is the Tomb-Sweeping holiday
        ("report-5th", "2026-04", "2026-05-06"),  # 1 to 5 May are off: never before the 1st
        ("report-5th", "2026-08", "2026-09-04"),
        ("report-5th", "2026-09", "2026-10-08"),
        ("report-5th", "2025-12", "2026-01-05"),
        ("classification-5th", "2026-04", "2026-05-06"),
        ("plan-28th", "2026-03", "2026-02-28"),  # a Saturday that is worked
        ("plan-28th", "2026-04", "2026-03-27"),
        ("plan-28th", "2026-01", "2025-12-26"),
    ],
)
def test_dates_of_the_regime(rule: str, month: str, due: str) -> None:
    assert calendar_due(POLICY.calendar_rule(rule), month, CALENDAR, POLICY) == Moved(
        date.fromisoformat(due), False
    )


def test_a_date_comes_at_ten() -> None:
    found = calendar_due_at(POLICY.calendar_rule("report-5th"), "2026-04", CALENDAR, POLICY)
    assert (written(found.at), found.provisional) == ("2026-05-06 10:00:00", False)


def test_a_date_in_an_unknown_year_is_provisional() -> None:
    assert calendar_due(POLICY.calendar_rule("report-5th"), "2031-03", CALENDAR, POLICY).provisional


def test_how_a_date_moves_is_a_switch() -> None:
    rule = POLICY.calendar_rule("report-5th")
    for move, due in (("any-day", 5), ("working-day", 7), ("earlier-in-month", 3)):
        moved = calendar_due(rule.model_copy(update={"move": move}), "2026-03", CALENDAR, POLICY)
        assert moved.day == date(2026, 4, due)


@given(st.sampled_from(POLICY.calendar), st.integers(2024, 2030), st.integers(1, 12))
def test_a_date_stays_in_its_month_on_a_working_day(rule, year: int, number: int) -> None:
    month = f"{year}-{number:02}"
    moved = calendar_due(rule, month, CALENDAR, POLICY)
    assert CALENDAR.is_working(moved.day)
    about = month_about(rule, f"{moved.day:%Y-%m}")
    assert about == (month if number % rule.due.every_months == 0 else None)


def test_a_quarters_date_rests_in_the_other_months() -> None:
    rule = POLICY.calendar_rule("templates-quarterly")
    assert [month_about(rule, f"2026-{m:02}") for m in (1, 2, 3, 4)] == [None, None, "2026-03", None]
    yearly = POLICY.calendar_rule("budget-yearly")
    assert [month_about(yearly, f"2026-{m:02}") for m in (12, 1)] == [None, "2025-12"]
