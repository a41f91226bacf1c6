"""What people may change of the rota, and that repeating it changes nothing more."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.crisis.oncall.overrides import NotPossible, Override, override, swap, withdrawn
from services.crisis.oncall.shifts import Shift
from tests.builders import at
from tests.unit.crisis.oncall.rotas import ROLE, held_by, rota, rotation, span

NOW = at("2026-03-20 10:00")
WEEKS = rota(rotation("a", "b", "c"))
AMONG = span("2026-03-20 10:00", 60)


def shifts(known: list[Override]) -> list[Shift]:
    return WEEKS.shifts(ROLE, AMONG, known)


def made(person: str, start: str, days: float, known: list[Override] | None = None) -> Override:
    return override(known or [], ROLE, person, span(start, days), "staff-9", NOW)


def swapped(known: list[Override], one: Shift, other: Shift) -> tuple[Override, Override]:
    """Swap these two shifts as they stand among what is known."""
    there = {(shift.role, shift.start): shift for shift in shifts(known)}
    return swap(
        known,
        there[one.role, one.start],
        there[other.role, other.start],
        (one.person, other.person),
        "staff-9",
        NOW,
    )


def test_the_same_override_again_is_the_one_that_is_there() -> None:
    first = made("x", "2026-03-24", 1)
    assert made("x", "2026-03-24", 1, [first]) == first


def test_two_replicas_that_are_asked_the_same_make_the_same() -> None:
    assert made("x", "2026-03-24", 1) == made("x", "2026-03-24", 1)


def test_an_override_that_another_has_overtaken_is_made_anew() -> None:
    first = made("x", "2026-03-24", 1)
    second = made("y", "2026-03-24", 1, [first])
    third = made("x", "2026-03-24", 1, [first, second])
    assert third.id not in (first.id, second.id)
    assert held_by(shifts([first, second, third]), at("2026-03-24 12:00")) == "x"


def test_an_override_that_was_taken_back_is_made_anew() -> None:
    first = made("x", "2026-03-24", 1)
    back = withdrawn([first], first.id, "staff-8", NOW)
    again = made("x", "2026-03-24", 1, back)
    assert held_by(shifts([*back, again]), at("2026-03-24 12:00")) == "x"


@pytest.mark.parametrize(
    ("start", "days"), [("2026-03-24", 0), ("2026-03-24", -1), ("2026-03-18", 1), ("2026-03-24", 93)]
)
def test_what_makes_no_sense_is_refused(start: str, days: float) -> None:
    with pytest.raises(NotPossible):
        made("x", start, days)


@settings(deadline=None)
@given(st.data())
def test_a_swap_is_symmetric(data: st.DataObject) -> None:
    coming = [shift for shift in shifts([]) if shift.start > NOW]
    one = data.draw(st.sampled_from(coming))
    other = data.draw(st.sampled_from([shift for shift in coming if shift.person != one.person]))
    there, back = shifts(list(swapped([], one, other))), shifts(list(swapped([], other, one)))
    assert there == back
    holders = {shift.start: shift.person for shift in there}
    assert (holders[one.start], holders[other.start]) == (other.person, one.person)
    left = {shift.start: shift.person for shift in coming} | {one.start: "", other.start: ""}
    assert all(holders[start] == person for start, person in left.items() if person)


def test_a_swap_of_the_swapped_shifts_puts_them_back() -> None:
    one, other = [shift for shift in shifts([]) if shift.start > NOW][:2]
    known = list(swapped([], one, other))
    one_now, other_now = (next(s for s in shifts(known) if s.start == shift.start) for shift in (one, other))
    known += swapped(known, one_now, other_now)
    holders = {shift.start: shift.person for shift in shifts(known)}
    assert (holders[one.start], holders[other.start]) == (one.person, other.person)


def test_a_swap_told_twice_is_done_once() -> None:
    one, other = [shift for shift in shifts([]) if shift.start > NOW][:2]
    known = list(swapped([], one, other))
    assert list(swapped(known, one, other)) == known


def test_a_swap_is_refused_where_the_shifts_are_not_theirs() -> None:
    one, other, third = [shift for shift in shifts([]) if shift.start > NOW][:3]
    for shift, theirs, people in (
        (one, other, (other.person, one.person)),
        (one, other, (one.person, third.person)),
        (one, one, (one.person, one.person)),
    ):
        with pytest.raises(NotPossible):
            swap([], shift, theirs, people, "staff-9", NOW)


def test_a_shift_that_has_begun_is_not_swapped() -> None:
    running, coming = shifts([])[:2]
    with pytest.raises(NotPossible, match="override for the rest"):
        swap([], running, coming, (running.person, coming.person), "staff-9", NOW)


def test_a_swap_is_taken_back_whole_by_any_of_its_ids() -> None:
    one, other = [shift for shift in shifts([]) if shift.start > NOW][:2]
    half, rest = swapped([], one, other)
    assert half.swap is not None
    for key in (half.id, rest.id, half.swap):
        back = withdrawn([half, rest], key, "staff-8", NOW)
        assert [part.withdrawn_by for part in back] == ["staff-8", "staff-8"]
        assert shifts(back) == shifts([])


def test_taking_back_again_changes_nothing_and_an_unknown_id_takes_back_nothing() -> None:
    back = withdrawn([made("x", "2026-03-24", 1)], made("x", "2026-03-24", 1).id, "staff-8", NOW)
    assert withdrawn(back, back[0].id, "staff-7", NOW + timedelta(hours=1)) == back
    assert withdrawn(back, "unknown", "staff-7", NOW) == []
