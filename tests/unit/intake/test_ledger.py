"""The ledger of a case: which fact holds, and the class that follows from the facts."""

from __future__ import annotations

import itertools

import pytest

from services.intake.domain import ledger as domain
from services.intake.domain.ledger import Case, Client
from shared.contracts.envelope import Event, Refused
from shared.contracts.events import ConsentChanged
from tests.builders import (
    Timeline,
    at,
    attention_changed,
    case_closed,
    case_opened,
    client_dropped,
    consent_changed,
    session_completed,
)
from tests.unit.policy.regime import POLICY


def ledger(*events: Event) -> Case:
    case = Case(id="case-1", client_id="client-1")
    for event in events:
        case = domain.record(case, event)
    return case


CLASSES = {
    "nothing but an opening": (Timeline().opened("2026-03-02"), "new"),
    "two sessions": (Timeline().sessions(2, "2026-03-02"), "new"),
    "three sessions": (Timeline().sessions(3, "2026-03-02"), "in-counselling"),
    "the same session three times": (
        Timeline().session("2026-03-02").session("2026-03-03", session_no=1).session("2026-03-04", session_no=1),
        "new",
    ),
    "closed": (Timeline().sessions(3, "2026-03-02").closed("2026-04-01"), "closed"),
    "closed below expectation": (Timeline().closed("2026-04-01", outcome="below-expectation"), "key-attention"),
    "attention while open": (Timeline().sessions(3, "2026-03-02").attention("2026-03-20"), "key-attention"),
    "attention proposed": (Timeline().attention("2026-03-20", "proposed"), "key-attention"),
    "attention lifted": (
        Timeline().attention("2026-03-20").closed("2026-04-01").attention("2026-04-02", "lifted"), "closed"
    ),
    "a mark in a session": (Timeline().session("2026-03-02", marks=["severe-work-stress"]), "key-attention"),
    "a mark after attention was lifted": (
        Timeline().attention("2026-03-01", "lifted").session("2026-03-02", marks=["career-crisis"]), "key-attention"
    ),
    "dropped": (Timeline().session("2026-03-02").dropped("2026-03-20"), "dropped"),
    "dropped with attention": (Timeline().attention("2026-03-02").dropped("2026-03-20"), "dropped"),
    "dropped and returned": (Timeline().dropped("2026-03-20").session("2026-03-21"), "new"),
    "reopened": (Timeline().closed("2026-03-20").opened("2026-04-20"), "new"),
    "a session after closing": (Timeline().closed("2026-03-20").session("2026-03-21"), "closed"),
    "dropped, later closed": (Timeline().dropped("2026-03-20").closed("2026-03-25"), "closed"),
    "closed, later dropped": (Timeline().closed("2026-03-20").dropped("2026-03-25"), "dropped"),
    "returned to what was closed": (
        Timeline().closed("2026-03-20").dropped("2026-03-25").session("2026-03-28"), "closed"
    ),
}  # fmt: skip


@pytest.mark.clause("F11", "F12", "F13", "F14")
@pytest.mark.parametrize("name", CLASSES)
def test_the_class_follows_from_the_facts_in_any_order(name: str) -> None:
    story, expected = CLASSES[name]
    for order in itertools.permutations(story.events):
        assert domain.case_class(ledger(*order), POLICY) == expected


def test_of_two_facts_of_a_kind_the_later_word_holds_whichever_comes_first() -> None:
    first = case_closed(closed_at="2026-04-02", time="2026-04-02 12:00")
    mended = case_closed(closed_at="2026-04-01", time="2026-04-03 12:00", outcome="below-expectation")

    for order in ((first, mended), (mended, first)):
        closing = ledger(*order).closing
        assert closing
        assert (closing.closed_at, closing.below_expectation) == (at("2026-04-01"), True)


def test_at_the_same_time_source_and_then_id_decide() -> None:
    facts = [
        client_dropped(dropped_at=day, time="2026-04-01 12:00", source=source, id=key)
        for day, source, key in [
            ("2026-04-01", "/a", "9"),
            ("2026-03-31", "/b", "1"),
            ("2026-03-30", "/b", "2"),
        ]
    ]
    for order in itertools.permutations(facts):
        dropping = ledger(*order).dropping
        assert dropping
        assert dropping.dropped_at == at("2026-03-30")


def test_sessions_are_told_in_the_order_in_which_they_ended() -> None:
    case = ledger(
        session_completed(session_no=2, ended_at="2026-03-02"),
        session_completed(session_no=1, ended_at="2026-03-09"),
    )
    told = domain.classified(case, domain.standing(case, Client(id="client-1"), POLICY))

    assert [end.session_no for end in told.session_ends] == [2, 1]


def test_attention_says_who_decided() -> None:
    marked = domain.attention(ledger(session_completed(marks=["career-crisis", "other"])), POLICY)
    said = domain.attention(ledger(attention_changed(state="proposed", decided_by="machine")), POLICY)

    assert marked
    assert (marked.reason, marked.state, marked.decided_by) == ("career-crisis", "decided", "counsellor")
    assert said
    assert (said.reason, said.state, said.decided_by) == ("career-crisis", "proposed", "machine")


def test_a_case_that_is_another_clients_takes_no_fact() -> None:
    with pytest.raises(Refused) as refusal:
        ledger(case_opened(), session_completed(client_id="client-2"))

    assert refusal.value.reason == "client-mismatch"
    assert "client-2" not in str(refusal.value)


class TestConsents:
    def client(self, *events: Event) -> Client:
        client = Client(id="client-1")
        for event in events:
            assert isinstance(event.data, ConsentChanged)
            client = domain.grant(client, event, event.data)
        return client

    def test_until_a_client_says_otherwise_follow_up_is_allowed_and_nothing_else(self) -> None:
        assert Client(id="client-1").allows() == {
            "follow-up": True,
            "scales": False,
            "recording": False,
            "employer-sharing": False,
        }

    def test_a_purpose_that_is_not_named_keeps_its_last_value_in_any_order(self) -> None:
        words = [
            consent_changed(changed_at="2026-04-01", purposes={"follow-up": False, "recording": True}),
            consent_changed(changed_at="2026-04-02", purposes={"scales": True}),
            consent_changed(changed_at="2026-04-03", purposes={"follow-up": True, "scales": False}),
        ]
        for order in itertools.permutations(words):
            assert self.client(*order).allows() == {
                "follow-up": True,
                "scales": False,
                "recording": True,
                "employer-sharing": False,
            }


def test_nothing_new_is_told_of_a_fact_that_changes_nothing() -> None:
    client = Client(id="client-1")
    before = ledger(case_closed(closed_at="2026-04-02"))
    after = domain.record(before, case_closed(closed_at="2026-04-01"))

    assert domain.standing(before, client, POLICY) == domain.standing(after, client, POLICY)
