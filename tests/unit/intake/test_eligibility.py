"""Who is refused and referred, and what undoes it (W23, W26, W27, W28)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from services.intake.domain.why import why
from shared.contracts.envelope import Event
from tests.builders import Timeline, at, case_closed, case_opened, client_dropped, client_erased
from tests.unit.intake.desk import Desk
from tests.unit.policy.regime import POLICY

HEALTHY = {"acute_crisis": False, "severe_illness": False}


def opened(
    eligibility: dict[str, Any] | None = None, service: str = "workplace-adaptation", **given: Any
) -> Event:
    return case_opened(service=service, eligibility=HEALTHY | (eligibility or {}), **given)


GROUNDS: dict[str, tuple[dict[str, Any], str | None, list[tuple[str, str]]]] = {
    "nothing known": ({}, None, []),
    "too young": ({"age": 17}, None, [("age", "W23")]),
    "just old enough": ({"age": 18}, None, []),
    "just young enough": ({"age": 60}, None, []),
    "too old": ({"age": 61}, None, [("age", "W23")]),
    "out of work": ({"employment": "none"}, None, [("employment", "W23")]),
    "in work": ({"employment": "employed"}, None, []),
    "about to start": ({"employment": "about-to-start"}, None, []),
    "an acute crisis": ({"acute_crisis": True}, None, [("acute-crisis", "W26")]),
    "a severe illness": ({"severe_illness": True}, None, [("severe-illness", "W26")]),
    "sent by an enterprise, a severe illness": (
        {"severe_illness": True, "agreements_signed": True}, "e-1", [("severe-illness", "W26")]
    ),
    "sent by an enterprise, too old and out of work": ({"age": 70, "employment": "none"}, "e-1", []),
    "an enterprise that has signed": ({"agreements_signed": True}, "e-1", []),
    "an enterprise that has not signed": ({"agreements_signed": False}, "e-1", [("agreements", "W28")]),
    "an enterprise of which it is not known": ({}, "e-1", []),
    "an individual has nothing to sign": ({"agreements_signed": False}, None, []),
    "several grounds": ({"age": 70, "employment": "none"}, None, [("age", "W23"), ("employment", "W23")]),
}  # fmt: skip


@pytest.mark.clause("W23", "W26", "W27", "W28")
@pytest.mark.parametrize("name", GROUNDS)
def test_the_gates_of_workplace_adaptation(name: str) -> None:
    eligibility, enterprise, grounds = GROUNDS[name]
    desk = Desk().hears(opened(eligibility, enterprise_id=enterprise))

    assert desk.classified().status == ("referred" if grounds else "open")
    assert desk.classified().case_class == "new"
    shown = why(desk.case(), POLICY)["gates"]
    assert [(gate["ground"], gate["clause"]) for gate in shown] == grounds


@pytest.mark.parametrize("service", ["career-transition", "stress", "workplace-relations"])
def test_other_services_refuse_nobody(service: str) -> None:
    worst = {"acute_crisis": True, "severe_illness": True, "age": 12, "employment": "none"}
    desk = Desk().hears(opened(worst, service=service))

    assert desk.classified().status == "open"
    assert desk.told("crisis-flagged") == []


ENDINGS = {
    "closed": case_closed(closed_at="2026-04-20 17:00"),
    "dropped": client_dropped(dropped_at="2026-04-20 17:00"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_ending_admits_who_was_refused_and_the_class_stays_that_of_the_facts(ending: str) -> None:
    for order in itertools.permutations([opened({"age": 17}), ENDINGS[ending]]):
        told = Desk().hears(*order).classified()
        assert (told.status, told.case_class) == ("referred", ending)


def test_the_opening_that_holds_decides_in_any_order() -> None:
    refused = opened({"age": 17}, time="2026-03-02 12:00")
    admitted = opened({"age": 18}, time="2026-03-03 12:00")
    refused_again = opened({"severe_illness": True}, time="2026-03-04 12:00")

    for order in itertools.permutations([refused, admitted]):
        assert Desk().hears(*order).classified().status == "open"
    for order in itertools.permutations([refused, admitted, refused_again]):
        assert Desk().hears(*order).classified().status == "referred"


def test_w26_an_acute_crisis_pages_once_for_each_opening_whichever_holds() -> None:
    first = opened({"acute_crisis": True}, time="2026-03-02 12:00")
    calm = opened(time="2026-03-03 12:00")
    again = opened({"acute_crisis": True}, time="2026-03-04 12:00")

    ids = set()
    for order in itertools.permutations([first, calm, again]):
        desk = Desk().hears(*order)
        flags = desk.told("crisis-flagged")
        assert len(flags) == 2
        ids.add(frozenset(one.id for one in desk.published if one.topic == "crisis-flagged"))
    assert len(ids) == 1  # the same two flags in every order


def test_the_flag_follows_from_the_opening_alone_whenever_that_is_heard_of() -> None:
    (flag,) = Desk().hears(opened({"acute_crisis": True}), now="2026-03-05 09:00").told("crisis-flagged")

    assert (flag.client_id, flag.case_id, flag.source) == ("client-1", "case-1", "booking")
    assert (flag.signals, flag.level, flag.flagged_at) == (("acute-crisis",), "high", at("2026-03-02 10:00"))


def test_of_a_client_who_was_forgotten_nobody_is_paged() -> None:
    desk = Desk().hears(client_erased(), opened({"acute_crisis": True}))

    assert desk.published == []


def test_why_names_the_facts_that_hold_and_the_clause_of_the_class() -> None:
    story = Timeline().opened("2026-03-02", id="o1").sessions(3, "2026-03-03").closed("2026-04-01", id="c1")
    shown = why(Desk().hears(*story.events, opened(time="2026-02-01", id="outranked")).case(), POLICY)

    assert [fact["topic"] for fact in shown["facts"]] == [
        "case-opened", "session-completed", "session-completed", "session-completed", "case-closed",
    ]  # fmt: skip
    assert [fact["id"] for fact in shown["facts"] if fact["topic"] == "case-opened"] == ["o1"]
    assert shown["class"] == {"class": "closed", "clause": "F11"}
    assert (shown["gates"], shown["proposal"], shown["marks"]) == ([], None, [])
