"""Sessions outside their bounds are kept, marked and counted (W40, W47)."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from services.intake.domain.why import why
from shared.contracts.envelope import Event
from tests.builders import at, case_opened, session_completed
from tests.unit.intake.desk import Desk
from tests.unit.policy.regime import POLICY

OPENED = case_opened(service="workplace-adaptation")


def held(day: str, minutes: int = 50, **given: Any) -> Event:
    begun = at(f"{day} 10:00")
    return session_completed(started_at=begun, ended_at=begun + timedelta(minutes=minutes), **given)


def marks(desk: Desk) -> list[tuple[int, str]]:
    shown = why(desk.case(), POLICY)["marks"]
    assert {one["mark"] for one in shown} <= {"session-outside-bounds"}
    return [(one["session_no"], one["how"]) for one in shown]


@pytest.mark.clause("W40")
@pytest.mark.parametrize(
    ("mode", "minutes", "expected"),
    [
        ("individual", 49, ["too-short"]), ("individual", 50, []), ("individual", 60, []),
        ("individual", 61, ["too-long"]),
        ("group", 89, ["too-short"]), ("group", 90, []), ("group", 120, []), ("group", 121, ["too-long"]),
    ],
)  # fmt: skip
def test_the_length_of_a_session_by_its_mode(mode: str, minutes: int, expected: list[str]) -> None:
    desk = Desk().hears(OPENED, held("2026-03-03", minutes, mode=mode))

    assert [how for _, how in marks(desk)] == expected
    assert desk.counted == len(expected)
    assert len(desk.classified().session_ends) == 1  # a gate cannot refuse what has happened


@pytest.mark.clause("W47")
def test_a_session_over_its_time_is_one_that_did_not_end_on_time() -> None:
    (mark,) = why(Desk().hears(OPENED, held("2026-03-03", 75)).case(), POLICY)["marks"]

    assert mark == {
        "mark": "session-outside-bounds",
        "session_no": 1,
        "bound": "session-length-individual",
        "how": "too-long",
        "clauses": ["W40", "W47"],
    }


def test_the_third_session_of_a_week_is_one_too_many_and_a_week_without_one_too_few() -> None:
    """2 March 2026 is a Monday, 8 March the Sunday of that week."""
    week = [held(day, session_no=n) for n, day in enumerate(["2026-03-02", "2026-03-05", "2026-03-08"], 1)]
    assert marks(Desk().hears(OPENED, *week)) == [(3, "too-many")]
    spread = [held(day, session_no=n) for n, day in enumerate(["2026-03-02", "2026-03-15", "2026-03-22"], 1)]
    assert marks(Desk().hears(OPENED, *spread)) == []
    rare = [held("2026-03-08", session_no=1), held("2026-03-16", session_no=2)]
    assert marks(Desk().hears(OPENED, *rare)) == [(2, "too-few")]


def test_each_mark_is_counted_once_in_any_order() -> None:
    story = [OPENED, held("2026-03-02", 30, session_no=1), held("2026-03-03", 75, session_no=2)]
    for order in itertools.permutations(story):
        desk = Desk().hears(*order)
        assert (marks(desk), desk.counted) == ([(1, "too-short"), (2, "too-long")], 2)


def test_other_services_have_no_bounds() -> None:
    desk = Desk().hears(case_opened(service="stress"), held("2026-03-02", 20))

    assert (marks(desk), desk.counted) == ([], 0)
