"""Limits of hours: on the clock, or only while somebody is there to answer. 6 March 2026 is a Friday."""

from __future__ import annotations

from datetime import UTC, time
from typing import Literal

import pytest

from shared.policy.model import DutyRule, Limit, Policy, ServiceHours
from shared.policy.schedule import duty_due
from tests.unit.policy.regime import CALENDAR, POLICY, at, written


def running(days: Literal["every-day", "working-days"]) -> Policy:
    hours = ServiceHours(opens=time(9), closes=time(21), days=days)
    switches = POLICY.switches.model_copy(update={"service_hours": hours, "hours_run": "in-service-hours"})
    return POLICY.model_copy(update={"switches": switches})


def due(rule: DutyRule, opened: str, policy: Policy = POLICY) -> str:
    return written(duty_due(rule, at(opened), {}, CALENDAR, policy).at)


W12, W32, W33 = (POLICY.duty(name) for name in ("respond-2h", "booking-matched-2h", "time-confirmed-4h"))


@pytest.mark.parametrize(
    ("opened", "on_the_clock"),
    [
        ("2026-03-06 20:00", "2026-03-06 22:00:00"),
        ("2026-03-06 23:30", "2026-03-07 01:30:00"),
        ("2026-09-30 20:30", "2026-09-30 22:30:00"),
    ],
)
def test_as_shipped_the_hours_run_on_the_clock(opened: str, on_the_clock: str) -> None:
    assert due(W12, opened) == due(W32, opened) == on_the_clock


EVERY_DAY = [
    # opened, two hours later, four hours later
    ("2026-03-06 10:00", "2026-03-06 12:00:00", "2026-03-06 14:00:00"),
    ("2026-03-06 19:00", "2026-03-06 21:00:00", "2026-03-07 11:00:00"),  # it ends with closing time
    ("2026-03-06 20:30", "2026-03-07 10:30:00", "2026-03-07 12:30:00"),  # over a night, into a Saturday
    ("2026-03-06 21:00", "2026-03-07 11:00:00", "2026-03-07 13:00:00"),
    ("2026-03-06 23:59", "2026-03-07 11:00:00", "2026-03-07 13:00:00"),
    ("2026-03-07 03:00", "2026-03-07 11:00:00", "2026-03-07 13:00:00"),
    ("2026-09-30 20:00", "2026-10-01 10:00:00", "2026-10-01 12:00:00"),
    ("2028-02-28 20:00", "2028-02-29 10:00:00", "2028-02-29 12:00:00"),
]


@pytest.mark.parametrize(("opened", "two", "four"), EVERY_DAY)
def test_every_day(opened: str, two: str, four: str) -> None:
    policy = running("every-day")
    assert (due(W12, opened, policy), due(W33, opened, policy)) == (two, four)


WORKING_DAYS = [
    ("2026-03-06 20:30", "2026-03-09 10:30:00", "2026-03-09 12:30:00"),  # over a weekend
    ("2026-03-07 12:00", "2026-03-09 11:00:00", "2026-03-09 13:00:00"),  # a Saturday
    ("2026-02-14 10:00", "2026-02-14 12:00:00", "2026-02-14 14:00:00"),  # a Saturday that is worked
    ("2026-09-30 20:00", "2026-10-08 10:00:00", "2026-10-08 12:00:00"),  # over National Day
    ("2026-10-03 12:00", "2026-10-08 11:00:00", "2026-10-08 13:00:00"),
]


@pytest.mark.parametrize(("opened", "two", "four"), WORKING_DAYS)
def test_on_working_days(opened: str, two: str, four: str) -> None:
    policy = running("working-days")
    assert (due(W32, opened, policy), due(W33, opened, policy)) == (two, four)


def test_other_hours_run_on_the_clock_all_the_same() -> None:
    assert (
        due(POLICY.duty("record-24h"), "2026-03-06 20:30", running("working-days")) == "2026-03-07 20:30:00"
    )


@pytest.mark.parametrize(
    ("hours_run", "answered"),
    [
        ("on-the-clock", "2026-03-09 02:00:00"),  # the weekend rests, the night does not
        ("in-service-hours", "2026-03-07 11:00:00"),  # somebody is there on Saturday
    ],
)
def test_service_hours_alone_say_which_days_rest(
    hours_run: Literal["on-the-clock", "in-service-hours"], answered: str
) -> None:
    policy = running("every-day")
    switches = policy.switches.model_copy(update={"hours_run": hours_run, "hours_on_days_off": "rest"})
    policy = policy.model_copy(update={"switches": switches})

    assert due(W12, "2026-03-07 03:00", policy) == answered
    assert due(POLICY.duty("record-24h"), "2026-03-07 03:00", policy) == "2026-03-10 00:00:00"


def test_a_span_longer_than_a_day_of_service_runs_on_day_after_day() -> None:
    long = W12.model_copy(update={"limit": Limit(hours=30, service_hours=True)})
    assert due(long, "2026-03-06 15:00", running("every-day")) == "2026-03-08 21:00:00"
    assert due(long, "2026-03-06 15:00", running("working-days")) == "2026-03-10 21:00:00"


def test_a_working_day_of_a_year_without_notice_makes_it_provisional() -> None:
    found = duty_due(W12, at("2030-03-06 20:30"), {}, CALENDAR, running("working-days"))
    assert found.provisional
    assert found.at.tzinfo is UTC
    assert not duty_due(W12, at("2030-03-06 20:30"), {}, CALENDAR, running("every-day")).provisional


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="open before they close"):
        ServiceHours(opens=time(21), closes=time(9), days="every-day")
    with pytest.raises(ValueError, match="service_hours is for hours"):
        Limit(days=2, service_hours=True)
    with pytest.raises(ValueError, match="needs service_hours"):
        type(POLICY.switches).model_validate(
            POLICY.switches.model_dump() | {"service_hours": None, "hours_run": "in-service-hours"}
        )
