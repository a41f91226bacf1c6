"""Whose turn it is in one layer: by local time, through changes to summer time, on some days and hours only."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.crisis.oncall.rotation import Held, Rotation, Span, held, perhaps_held, turns
from shared.policy.workdays import WorkCalendar
from tests.builders import at
from tests.unit.crisis.oncall.rotas import WORKDAYS, rotation, span

SHANGHAI, LONDON = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/London")
ZONES = ["Asia/Shanghai", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll"]
LENGTHS = ["day", "week", "10 days", "4 hours", "12 hours", "36 hours"]

layers = st.builds(
    lambda count, every, hand_over, zone: rotation(
        *(f"staff-{n}" for n in range(count)),
        every=every,
        hand_over=f"{hand_over // 60:02}:{hand_over % 60:02}",
        time_zone=zone,
    ),
    st.integers(1, 4),
    st.sampled_from(LENGTHS),
    st.integers(0, 24 * 60 - 1),
    st.sampled_from(ZONES),
)
spans = st.builds(
    lambda hours, length: Span(
        datetime(2026, 1, 7, tzinfo=UTC) + timedelta(hours=hours),
        datetime(2026, 1, 7, tzinfo=UTC) + timedelta(hours=hours + length),
    ),
    st.integers(0, 2 * 366 * 24),
    st.integers(1, 24 * 30),
)


def locally(found: list[Held], zone: ZoneInfo) -> list[tuple[str, str]]:
    return [(one.person, f"{one.start.astimezone(zone):%a %H:%M}") for one in found]


@settings(deadline=None)
@given(layers, spans)
def test_each_turn_begins_when_the_one_before_ends(layer: Rotation, among: Span) -> None:
    assert layer.time_zone is not None
    found = list(turns(layer, layer.time_zone, among))
    assert found[0].start <= among.start
    assert found[-1].end >= among.end
    assert all(one.start < one.end for one in found)
    assert all(one.end == following.start for one, following in pairwise(found))


@settings(deadline=None)
@given(layers, spans, st.integers(0, 24 * 30))
def test_a_turn_is_the_same_from_wherever_it_is_looked_at(layer: Rotation, among: Span, hours: int) -> None:
    assert layer.time_zone is not None
    later = Span(among.start, among.end + timedelta(hours=hours))
    wider = list(turns(layer, layer.time_zone, later))
    assert list(turns(layer, layer.time_zone, among)) == [one for one in wider if one.start < among.end]


@settings(deadline=None)
@given(layers, spans)
def test_people_take_turns_in_their_order(layer: Rotation, among: Span) -> None:
    assert layer.time_zone is not None
    found = [one.person for one in turns(layer, layer.time_zone, among)]
    first = layer.people.index(found[0])
    assert found == [layer.people[(first + n) % len(layer.people)] for n in range(len(found))]


def test_a_week_is_handed_over_at_the_same_local_time_through_a_change_to_summer_time() -> None:
    layer = rotation("a", "b", hand_over="09:00")
    found = list(turns(layer, LONDON, span("2026-03-24", 20)))
    assert [one.start.hour for one in found] == [9, 8, 8], "in UTC"
    assert locally(found, LONDON) == [("b", "Mon 09:00"), ("a", "Mon 09:00"), ("b", "Mon 09:00")]
    assert found[0].end - found[0].start == timedelta(days=7, hours=-1)


def test_the_day_that_has_25_hours_is_one_turn() -> None:
    layer = rotation("a", "b", every="day", hand_over="00:00")
    found = {
        one.start.astimezone(LONDON).date(): one.end - one.start
        for one in turns(layer, LONDON, span("2026-10-24 12:00", 3))
    }
    assert found[date(2026, 10, 25)] == timedelta(hours=25)
    assert found[date(2026, 10, 26)] == timedelta(hours=24)


def test_a_hand_over_at_a_time_that_is_skipped_is_that_much_after_the_change() -> None:
    layer = rotation("a", "b", every="day", hand_over="01:30")
    found = locally(list(turns(layer, LONDON, span("2026-03-28 20:00", 2))), LONDON)
    assert [when for _, when in found] == ["Sat 01:30", "Sun 02:30", "Mon 01:30"]


def test_a_hand_over_at_a_time_that_comes_twice_is_at_its_first_coming() -> None:
    layer = rotation("a", "b", every="day", hand_over="01:30")
    found = [one.start for one in turns(layer, LONDON, span("2026-10-25 20:00", 0.1))]
    assert found == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]


def test_nobody_before_the_first_turn_and_after_the_last() -> None:
    layer = rotation("a", "b", every="day", ends=date(2026, 1, 7))
    found = list(turns(layer, SHANGHAI, span("2025-12-20", 40)))
    assert [(one.person, one.start, one.end) for one in found] == [
        ("a", at("2026-01-05 09:00"), at("2026-01-06 09:00")),
        ("b", at("2026-01-06 09:00"), at("2026-01-07 09:00")),
    ]


def test_nights_belong_to_the_day_on_which_they_begin() -> None:
    layer = rotation("a", only_on=("fri",), hours={"since": "18:00", "until": "08:00"})
    found = held(layer, SHANGHAI, span("2026-03-02", 7), WORKDAYS)
    assert [(one.start, one.end) for one in found] == [(at("2026-03-06 18:00"), at("2026-03-07 08:00"))]


# --- days off -------------------------------------------------------------------------------------------------


def days(found: list[Held]) -> list[str]:
    return [f"{one.start.astimezone(SHANGHAI):%m-%d} - {one.end.astimezone(SHANGHAI):%m-%d}" for one in found]


def test_a_layer_of_days_off_runs_on_holidays_and_not_on_make_up_days() -> None:
    # 2026: Labour Day off from 05-01 to 05-05, Saturday 05-09 is worked.
    layer = rotation("a", only_on=("days-off",), every="10 weeks")
    found = held(layer, SHANGHAI, span("2026-04-28 09:00", 14), WORKDAYS)
    assert days(found) == ["05-01 - 05-06", "05-10 - 05-11"]


def test_working_days_and_days_off_leave_nothing_between_them() -> None:
    among = span("2026-04-27 09:00", 21)
    off, worked = (
        held(rotation("a", only_on=(kind,), every="10 weeks"), SHANGHAI, among, WORKDAYS)
        for kind in ("days-off", "working-days")
    )
    found = sorted([*off, *worked], key=lambda one: one.start)
    assert all(one.end == following.start for one, following in pairwise(found))


def test_in_an_unknown_year_a_layer_stands_behind_for_what_is_assumed_otherwise() -> None:
    calendar = WorkCalendar()
    monday = span("2099-03-02 09:00", 1)  # a Monday of a year of which nobody knows
    layer = rotation("a", only_on=("days-off",))
    assert not calendar.known(date(2099, 3, 2))
    assert [one for one in held(layer, SHANGHAI, monday, calendar) if one.end > monday.start] == []
    behind = perhaps_held(layer, SHANGHAI, monday, calendar)
    assert any(one.start <= monday.start and one.end >= monday.end for one in behind)


def test_a_layer_that_does_not_ask_for_the_calendar_stands_behind_nothing() -> None:
    assert perhaps_held(rotation("a", only_on=("mon",)), SHANGHAI, span("2099-03-02", 7), WORKDAYS) == []


# --- what a file may say --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "minutes"), [("09:00", 540), ("23:59", 1439), (1080, 1080), ("00:00", 0)]
)
def test_a_time_of_the_day_may_come_without_quotes(written: Any, minutes: int) -> None:
    found = rotation("a", hand_over=written).hand_over
    assert found.hour * 60 + found.minute == minutes


@pytest.mark.parametrize(
    "given",
    [
        {"hand_over": "9"},
        {"hand_over": "24:00"},
        {"hand_over": 1440},
        {"hand_over": True},
        {"every": "3 hours"},
        {"every": "2 years"},
        {"every": "0 days"},
        {"every": 7},
        {"ends": date(2026, 1, 5)},
        {"only_on": ("sunday",)},
        {"time_zone": "Mars/Phobos"},
        {"people": ()},
        {"unknown": 1},
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        rotation("a", **given)
