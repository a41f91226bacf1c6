"""Sessions outside their bounds, or held too early, are kept and marked (W40, W41, W43, W47)."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import pytest

from services.intake.domain.agreements import Agreements
from services.intake.domain.sessions import may_be_scheduled
from services.intake.domain.why import why
from shared.contracts.envelope import Event
from tests.builders import at, case_opened, client_erased, milestone_reached, session_completed
from tests.unit.intake.desk import Desk
from tests.unit.policy.regime import POLICY

OPENED = case_opened(service="workplace-adaptation")


def confirmed(when: str, **given: Any) -> Event:
    said = {"milestone": "plan-confirmed", "subject": "case-1", "reached_at": f"{when} 10:00", **given}
    return milestone_reached(**said)


CONFIRMED = confirmed("2026-03-01")


def held(day: str, minutes: int = 50, **given: Any) -> Event:
    begun = at(f"{day} 10:00")
    return session_completed(started_at=begun, ended_at=begun + timedelta(minutes=minutes), **given)


def longer(when: str, subject: str = "case-1:1", **given: Any) -> Event:
    return milestone_reached(milestone="longer-session-agreed", subject=subject, reached_at=when, **given)


def agreed(desk: Desk, case_id: str = "case-1") -> Agreements:
    nothing = Agreements.none_of(case_id)
    return desk.view.get(Agreements, nothing.id) or nothing


def shown(desk: Desk, case_id: str = "case-1") -> list[dict[str, Any]]:
    marked: list[dict[str, Any]] = why(desk.case(case_id), POLICY, agreed(desk, case_id))["marks"]
    return marked


def marks(desk: Desk) -> list[tuple[int, str]]:
    """The marks of a case whose plan was confirmed."""
    assert {one["mark"] for one in shown(desk)} <= {"session-outside-bounds"}
    return [(one["session_no"], one["how"]) for one in shown(desk)]


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
    desk = Desk().hears(CONFIRMED, OPENED, held("2026-03-03", minutes, mode=mode))

    assert [how for _, how in marks(desk)] == expected
    assert desk.counted == len(expected)
    assert len(desk.classified().session_ends) == 1  # a gate cannot refuse what has happened


@pytest.mark.clause("W47")
def test_a_session_over_its_time_is_one_that_did_not_end_on_time() -> None:
    (mark,) = shown(Desk().hears(CONFIRMED, OPENED, held("2026-03-03", 75)))

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
    assert marks(Desk().hears(CONFIRMED, OPENED, *week)) == [(3, "too-many")]
    spread = [held(day, session_no=n) for n, day in enumerate(["2026-03-02", "2026-03-15", "2026-03-22"], 1)]
    assert marks(Desk().hears(CONFIRMED, OPENED, *spread)) == []
    rare = [held("2026-03-08", session_no=1), held("2026-03-16", session_no=2)]
    assert marks(Desk().hears(CONFIRMED, OPENED, *rare)) == [(2, "too-few")]


def test_each_mark_is_counted_once_in_any_order() -> None:
    story = [CONFIRMED, OPENED, held("2026-03-02", 30, session_no=1), held("2026-03-03", 75, session_no=2)]
    for order in itertools.permutations(story):
        desk = Desk().hears(*order)
        assert (marks(desk), desk.counted) == ([(1, "too-short"), (2, "too-long")], 2)


def test_other_services_have_no_bounds() -> None:
    desk = Desk().hears(case_opened(service="stress"), held("2026-03-02", 20))

    assert (marks(desk), desk.counted) == ([], 0)


# --- what the client agreed to --------------------------------------------------------------------------------


@pytest.mark.clause("W43")
def test_a_session_before_the_plan_was_confirmed_is_marked_whatever_is_heard_of_first() -> None:
    early, later = held("2026-03-02", session_no=1), held("2026-03-09", session_no=2)
    for order in itertools.permutations([OPENED, early, later, confirmed("2026-03-04")]):
        assert shown(Desk().hears(*order)) == [
            {"mark": "counselling-before-confirmation", "session_no": 1, "clauses": ["W43"]}
        ]


@pytest.mark.clause("W43")
def test_without_a_confirmation_every_session_is_marked_and_only_of_workplace_adaptation() -> None:
    sessions = [held("2026-03-02", session_no=1), held("2026-03-09", session_no=2)]
    assert [one["session_no"] for one in shown(Desk().hears(OPENED, *sessions))] == [1, 2]
    assert shown(Desk().hears(case_opened(service="stress"), *sessions)) == []


def test_of_two_confirmations_the_first_counts() -> None:
    told = [confirmed("2026-03-01"), confirmed("2026-03-20", id="again")]
    for order in itertools.permutations([OPENED, held("2026-03-02"), *told]):
        assert shown(Desk().hears(*order)) == []


@pytest.mark.clause("W43")
def test_a_session_may_be_scheduled_once_the_plan_is_confirmed() -> None:
    desk = Desk().hears(OPENED)
    assert not may_be_scheduled(desk.case(), agreed(desk))
    desk.hears(CONFIRMED)
    assert may_be_scheduled(desk.case(), agreed(desk))
    assert may_be_scheduled(None, agreed(desk, "never-heard-of"))
    assert may_be_scheduled(Desk().hears(case_opened()).case(), Agreements.none_of("case-1"))  # of stress


@pytest.mark.clause("W47")
@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (longer("2026-03-02 18:00"), []),
        (longer("2026-03-03 11:00"), []),  # at the very end of its sixty minutes
        (longer("2026-03-03 11:01"), [(1, "too-long")]),  # it was longer by then
        (longer("2026-03-02 18:00", "case-1:2"), [(1, "too-long")]),  # of another session
        (longer("2026-03-02 18:00", "case-1:1", case_id="case-1"), []),
    ],
)
def test_a_longer_session_is_as_it_should_be_if_the_client_agreed_before(
    told: Event, expected: list[tuple[int, str]]
) -> None:
    for order in itertools.permutations([CONFIRMED, OPENED, held("2026-03-03", 75), told]):
        assert marks(Desk().hears(*order)) == expected


@pytest.mark.clause("W47")
def test_a_session_of_a_case_with_a_long_id_is_found_by_the_hash_of_its_subject() -> None:
    case_id = "c" * 63
    subject = Agreements.none_of(f"{case_id}:1").id  # as the policy joins what is too long
    told = longer("2026-03-02 18:00", subject, case_id=case_id)
    opened = case_opened(case_id=case_id, service="workplace-adaptation")
    desk = Desk().hears(confirmed("2026-03-01", subject=case_id), told, opened)
    assert shown(desk.hears(held("2026-03-03", 75, case_id=case_id)), case_id) == []


@pytest.mark.clause("F7")
def test_what_comes_after_the_client_was_erased_is_not_kept() -> None:
    desk = Desk().hears(OPENED, CONFIRMED, client_erased(), confirmed("2026-03-05", id="late"))
    assert agreed(desk) == Agreements(id=Agreements.none_of("case-1").id, erased=True)


def test_other_milestones_leave_nothing_here() -> None:
    assert Desk().hears(milestone_reached(case_id="case-1")).view.all(Agreements) == []


@pytest.mark.clause("W41")
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"agreed_sessions": 2}, ["too-few"]),
        ({"agreed_sessions": 3}, []),
        ({"agreed_sessions": 6}, []),
        ({"agreed_sessions": 7}, ["too-many"]),
        ({"agreed_sessions": 40, "enterprise_id": "enterprise-1"}, []),  # by contract
        ({"agreed_sessions": 40, "service": "stress"}, []),
    ],
)
def test_how_many_sessions_an_individual_agrees_on(given: dict[str, Any], expected: list[str]) -> None:
    marked = shown(Desk().hears(case_opened(**{"service": "workplace-adaptation", **given})))
    assert [one["how"] for one in marked] == expected
    for one in marked:
        assert (one["mark"], one["bound"], one["clauses"]) == (
            "agreed-outside-bounds",
            "agreed-sessions",
            ["W41"],
        )
