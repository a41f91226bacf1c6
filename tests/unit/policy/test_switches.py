"""Where clauses collide, the policy has a switch: both sides of each that moves a date (collisions 7 and 8)."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.policy.counting import local_day
from shared.policy.model import FollowUpRule, Switches
from shared.policy.schedule import calendar_due, duty_due, schedule, working_limit
from shared.policy.workdays import Moved, WorkCalendar, load_calendar
from tests.unit.policy.regime import CALENDAR, POLICY, SHANGHAI, at, switched, written

NAMES = [
    name
    for name, field in Switches.model_fields.items()
    if not field.is_required() and name != "service_hours"  # those are the company's own
]


def test_each_default_is_what_the_shipped_regime_says() -> None:
    for name in NAMES:
        assert getattr(POLICY.switches, name) == Switches.model_fields[name].default, name


def test_a_value_that_a_switch_does_not_have_is_refused() -> None:
    with pytest.raises(ValidationError):
        switched(month_end="never")


def day(rule: str, anchor: str, **switches: Any) -> str:
    return written(
        schedule(POLICY.follow_up(rule), at(anchor), CALENDAR, switched(**switches)).scheduled_for
    )[:10]


@pytest.mark.parametrize(
    ("switch", "anchor", "expected"),
    [
        ("later", "2026-09-16 16:00", "2026-10-08"),  # 1 October + National Day week
        ("earlier", "2026-09-16 16:00", "2026-09-30"),
        ("not", "2026-09-16 16:00", "2026-10-01"),
        ("later", "2026-03-02 16:00", "2026-03-17"),  # a working day stays where it is
        ("earlier", "2026-03-02 16:00", "2026-03-17"),
        ("not", "2026-03-02 16:00", "2026-03-17"),
    ],
)
def test_where_a_follow_up_on_a_day_off_goes(switch: str, anchor: str, expected: str) -> None:
    assert day("closed-15d", anchor, follow_ups_on_days_off=switch) == expected


def test_earlier_never_reaches_back_to_the_anchors_day() -> None:
    days_off = {date(2026, 3, n): False for n in range(3, 18)}
    policy = switched(follow_ups_on_days_off="earlier")
    found = schedule(POLICY.follow_up("closed-15d"), at("2026-03-02 16:00"), WorkCalendar(days_off), policy)
    assert written(found.scheduled_for) == "2026-03-18 10:00:00"


def test_care_after_a_crisis_heeds_no_switch() -> None:
    rule = POLICY.follow_up("crisis-aftercare", "1d")
    for switch in ("later", "earlier", "not"):
        found = schedule(rule, at("2026-10-02 03:00"), CALENDAR, switched(follow_ups_on_days_off=switch))
        assert written(found.scheduled_for) == "2026-10-03 10:00:00"


@pytest.mark.parametrize(("switch", "expected"), [("inside-limit", "2026-09-30"), ("not", "2026-10-02")])
def test_where_a_follow_up_inside_a_limit_goes(switch: str, expected: str) -> None:
    policy = switched(within_on_days_off=switch)
    found = schedule(POLICY.follow_up("dropped-7d"), at("2026-09-29 16:00"), CALENDAR, policy)
    assert written(found.scheduled_for)[:10] == expected
    assert found.forms == (("questionnaire",) if switch == "not" else ("phone", "questionnaire"))
    assert written(found.complete_by) == "2026-10-06 23:59:59"


@pytest.mark.parametrize(
    ("switch", "april", "october"),
    [
        ("earlier", "2026-04-03", "2026-10-08"),
        ("later", "2026-04-07", "2026-10-08"),
        ("not", "2026-04-05", "2026-10-05"),
    ],
)
def test_where_a_date_on_a_day_off_goes(switch: str, april: str, october: str) -> None:
    rule, policy = POLICY.calendar_rule("report-5th"), switched(dates_on_days_off=switch)
    assert f"{calendar_due(rule, '2026-03', CALENDAR, policy).day}" == april
    assert f"{calendar_due(rule, '2026-09', CALENDAR, policy).day}" == october


def test_a_row_that_says_for_itself_heeds_no_switch() -> None:
    rule = POLICY.calendar_rule("report-5th").model_copy(update={"move": "any-day"})
    assert calendar_due(rule, "2026-03", CALENDAR, switched(dates_on_days_off="later")).day == date(
        2026, 4, 5
    )


@pytest.mark.parametrize(("switch", "expected"), [("last-day", "2026-02-28"), ("next-month", "2026-03-02")])
def test_a_day_that_the_month_does_not_have(switch: str, expected: str) -> None:
    """28 February 2026 is a Saturday that is worked, 1 March a Sunday."""
    assert day("key-6m", "2025-08-31 16:00", month_end=switch) == expected
    effect = duty_due(
        POLICY.duty("effect-1m"), at("2026-01-31 10:00"), {}, CALENDAR, switched(month_end=switch)
    )
    assert written(effect.at)[:10] == {"last-day": "2026-02-28", "next-month": "2026-03-01"}[switch]


@pytest.mark.parametrize(("counts", "after"), [(False, "2026-03-17"), (True, "2026-03-16")])
def test_whether_the_first_day_counts(counts: bool, after: str) -> None:
    policy = switched(first_day_counts=counts)
    found = schedule(POLICY.follow_up("closed-15d"), at("2026-03-02 16:00"), CALENDAR, policy)
    assert written(found.scheduled_for)[:10] == after
    assert written(found.complete_by)[:10] == ("2026-03-22" if counts else "2026-03-24")
    month = duty_due(POLICY.duty("effect-1m"), at("2026-03-02 10:00"), {}, CALENDAR, policy)
    assert written(month.at)[:10] == ("2026-04-01" if counts else "2026-04-02")
    assert written(working_limit(at("2026-03-02 10:00"), 2, CALENDAR, policy).at)[:10] == (
        "2026-03-03" if counts else "2026-03-04"
    )
    assert written(working_limit(at("2026-03-17 10:00"), -1, CALENDAR, policy).at)[:10] == (
        "2026-03-17" if counts else "2026-03-16"
    )


@pytest.mark.parametrize(
    ("switch", "opened", "due"),
    [
        ("run", "2026-10-01 15:30", "2026-10-02 15:30:00"),
        ("rest", "2026-10-01 15:30", "2026-10-09 00:00:00"),  # all of 8 October, the first day worked
        ("rest", "2026-09-30 15:30", "2026-10-08 15:30:00"),
        ("rest", "2026-03-03 15:30", "2026-03-04 15:30:00"),
    ],
)
def test_whether_hours_run_on_days_off(switch: str, opened: str, due: str) -> None:
    policy = switched(hours_on_days_off=switch)
    assert written(duty_due(POLICY.duty("record-24h"), at(opened), {}, CALENDAR, policy).at) == due


@pytest.mark.parametrize(("switch", "monday"), [("weekends-off", 7), ("all-worked", 5)])
def test_what_an_unknown_year_is(switch: Any, monday: int) -> None:
    calendar = load_calendar(unknown_year=switch)
    assert calendar.next_working_day(date(2031, 4, 5)) == Moved(date(2031, 4, monday), True)  # a Saturday
    assert calendar.next_working_day(date(2026, 10, 1)) == Moved(date(2026, 10, 8), False)  # a known year


ANCHORS = st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1))  # noqa: DTZ001
ANY_SWITCHES = st.fixed_dictionaries(
    {
        "follow_ups_on_days_off": st.sampled_from(["later", "earlier", "not"]),
        "within_on_days_off": st.sampled_from(["inside-limit", "not"]),
        "month_end": st.sampled_from(["last-day", "next-month"]),
        "first_day_counts": st.booleans(),
    }
)


@given(st.sampled_from(POLICY.follow_ups), ANCHORS, ANY_SWITCHES)
def test_however_the_switches_stand_a_follow_up_comes_after_its_anchor_and_before_its_limit(
    rule: FollowUpRule, anchor: datetime, switches: dict[str, Any]
) -> None:
    policy = switched(**switches)
    found = schedule(rule, anchor.replace(tzinfo=SHANGHAI), CALENDAR, policy)
    day, last = (local_day(instant) for instant in (found.scheduled_for, found.complete_by))
    assert anchor.date() + timedelta(not switches["first_day_counts"]) <= day <= last
    if rule.move == "working-day" and switches["follow_ups_on_days_off"] != "not":
        assert CALENDAR.is_working(day)
