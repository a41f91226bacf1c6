"""Layers and overrides laid over each other: one at a time, the higher covers, gaps are seen."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from services.crisis.oncall.overrides import Override
from services.crisis.oncall.rota import Rota
from services.crisis.oncall.rotation import Held, Rotation, Span
from services.crisis.oncall.shifts import gaps, now_and_next, one_after_the_other
from shared.policy.workdays import WorkCalendar
from tests.builders import at
from tests.unit.crisis.oncall.rotas import ROLE, held_by, override, rota, rotation, span

HOUR = timedelta(hours=1)
AMONG = span("2026-03-23 09:00", 14)
"""Two weeks with a change to summer time in Europe."""

layers = st.lists(
    st.builds(
        lambda people, every, zone, only_on, night: rotation(
            *people,
            every=every,
            time_zone=zone,
            only_on=only_on,
            hours={"since": "18:00", "until": "08:00"} if night else None,
        ),
        st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3),
        st.sampled_from(["day", "week", "12 hours", "5 days"]),
        st.sampled_from(["Asia/Shanghai", "Europe/London"]),
        st.sampled_from([(), ("days-off",), ("working-days",), ("sat", "sun"), ("mon",)]),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)
overrides = st.lists(
    st.builds(
        lambda person, start, length, number: override(
            person, "2026-03-23 09:00", "2026-03-23 10:00", number
        ).model_copy(
            update={"start": AMONG.start + start * HOUR, "end": AMONG.start + (start + length) * HOUR}
        ),
        st.sampled_from(["x", "y", "z"]),
        st.integers(-48, 14 * 24),
        st.integers(1, 72),
        st.integers(1, 9),
    ),
    max_size=4,
)


def instants(found: Span) -> list[Span]:
    return [Span(found.start + n * HOUR, found.end) for n in range((found.end - found.start) // HOUR)]


@settings(deadline=None)
@given(layers, overrides)
def test_one_holder_at_a_time(parts: list[Rotation], changes: list[Override]) -> None:
    found = rota(*parts).shifts(ROLE, AMONG, changes)
    assert all(shift.start < shift.end for shift in found)
    assert all(one.end <= following.start for one, following in pairwise(found))


@settings(deadline=None)
@given(layers, overrides)
def test_shifts_and_gaps_fill_the_time(parts: list[Rotation], changes: list[Override]) -> None:
    among = rota(*parts)
    found = among.shifts(ROLE, AMONG, changes)
    empty = gaps(ROLE, found, AMONG)
    pieces = sorted([(one.start, one.end) for one in found] + [(gap.start, gap.end) for gap in empty])
    assert pieces[0][0] <= AMONG.start
    assert pieces[-1][1] >= AMONG.end
    assert all(one[1] == following[0] for one, following in pairwise(pieces))


@settings(deadline=None)
@given(layers)
def test_a_higher_layer_covers_where_it_has_somebody(parts: list[Rotation]) -> None:
    together = rota(*parts).shifts(ROLE, AMONG, [])
    alone = [rota(part).shifts(ROLE, AMONG, []) for part in parts]
    for one in instants(AMONG):
        holders = [person for found in alone if (person := held_by(found, one.start))]
        assert held_by(together, one.start) == (holders[0] if holders else None)


@settings(deadline=None)
@given(layers, overrides)
def test_the_latest_override_wins(parts: list[Rotation], changes: list[Override]) -> None:
    among = rota(*parts)
    found, without = among.shifts(ROLE, AMONG, changes), among.shifts(ROLE, AMONG, [])
    for one in instants(AMONG):
        there = [change for change in changes if change.start <= one.start < change.end]
        latest = max(there, key=lambda change: (change.number, change.id), default=None)
        expected = latest.person if latest else held_by(without, one.start)
        assert held_by(found, one.start) == expected


@settings(deadline=None)
@given(layers, overrides, st.integers(1, 13))
def test_shifts_are_the_same_from_wherever_they_are_looked_at(
    parts: list[Rotation], changes: list[Override], days: int
) -> None:
    among = rota(*parts)
    less = Span(AMONG.start, AMONG.start + timedelta(days=days))
    assert among.shifts(ROLE, less, changes) == [
        shift for shift in among.shifts(ROLE, AMONG, changes) if shift.start < less.end
    ]


def test_an_override_taken_back_holds_no_more() -> None:
    back = override("x", "2026-03-24 00:00", "2026-03-25 00:00", withdrawn_at=at("2026-03-23 10:00"))
    among = rota(rotation("a"))
    assert among.shifts(ROLE, AMONG, [back]) == among.shifts(ROLE, AMONG, [])


def test_an_override_cuts_a_shift_in_two() -> None:
    change = override("x", "2026-03-24 00:00", "2026-03-25 00:00")
    found = rota(rotation("a", "b")).shifts(ROLE, span("2026-03-23 09:00"), [change])
    assert [(shift.person, shift.source) for shift in found] == [
        ("b", "rotation"),
        ("x", "override"),
        ("b", "rotation"),
    ]


def test_a_gap_is_seen_where_a_layer_ends() -> None:
    found = gaps(ROLE, rota(rotation("a", ends=date(2026, 3, 25))).shifts(ROLE, AMONG, []), AMONG)
    assert [(gap.start, gap.end) for gap in found] == [(at("2026-03-25 09:00"), AMONG.end)]


def test_without_a_shift_all_is_a_gap() -> None:
    assert [(gap.start, gap.end) for gap in gaps(ROLE, [], AMONG)] == [(AMONG.start, AMONG.end)]


def test_nobody_is_left_alone_in_a_year_whose_working_days_are_unknown() -> None:
    among = rota(rotation("a", only_on=("days-off",)), workdays=WorkCalendar(unknown_year="all-worked"))
    week = span("2099-03-02 09:00")
    assert gaps(ROLE, among.shifts(ROLE, week, []), week) == []
    both = rota(rotation("a", only_on=("days-off",)), rotation("b"))
    assert held_by(both.shifts(ROLE, week, []), week.start) == "b", "who has it for certain stands before"


def test_now_and_next() -> None:
    found = rota(rotation("a", "a", "b"), time_zone="Europe/London")
    week = span("2026-03-23 18:00", 30)
    said = now_and_next(ROLE, found.shifts(ROLE, week, []), week)
    assert (said.now, said.next_at, said.next) == (("b",), at("2026-03-30 16:00"), ("a",))


def test_next_is_nobody_before_a_gap_and_nothing_where_nothing_changes() -> None:
    ending = rota(rotation("a", ends=date(2026, 3, 25))).shifts(ROLE, AMONG, [])
    said = now_and_next(ROLE, ending, AMONG)
    assert (said.now, said.next_at, said.next) == (("a",), at("2026-03-25 09:00"), ())
    alone = now_and_next(ROLE, rota(rotation("a")).shifts(ROLE, AMONG, []), AMONG)
    assert (alone.now, alone.next_at, alone.next) == (("a",), None, ())


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.integers(1, 30)), min_size=1, max_size=8
    )
)
def test_events_over_each_other_are_held_one_after_the_other(events: list[tuple[str, int, int]]) -> None:
    given = [
        Held(person, AMONG.start + start * HOUR, AMONG.start + (start + length) * HOUR)
        for person, start, length in events
    ]
    found = one_after_the_other(given)
    assert all(one.end <= following.start for one, following in pairwise(found))
    for n in range(90):
        instant = AMONG.start + n * HOUR
        there = any(one.start <= instant < one.end for one in given)
        assert there == any(one.start <= instant < one.end for one in found)


def test_a_rota_without_a_schedule_covers_nothing() -> None:
    empty: Rota = rota()
    assert (empty.roles, empty.people()) == ((), frozenset())
