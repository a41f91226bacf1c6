"""What is known of a follow-up and a client follows from the facts, whatever the order in which they arrive."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.survey.domain import clients, follow_ups
from services.survey.domain.clients import Client
from services.survey.domain.follow_ups import FollowUp
from shared.contracts.envelope import Event
from tests.builders import at, client_status_changed, consent_changed
from tests.integration.survey.events import due, incident, planned

TWO_DAYS = timedelta(days=2)


def followed(events: list[Event]) -> FollowUp:
    known: FollowUp | None = None
    for event in events:
        data: Any = event.data
        take: Any = follow_ups.due if event.topic == "follow-up-due" else follow_ups.planned
        known = take(known, data, event.time, "i", TWO_DAYS)
    assert known
    return known


PLANNED = planned("2026-03-02 09:00")
MOVED = planned("2026-03-10 09:00", change="moved", scheduled_for="2026-03-20 10:00", class_="key-attention")
DUE = due("2026-03-15 10:00", scheduled_for="2026-03-17 10:00")
CANCELLED = planned("2026-03-16 09:00", change="cancelled", scheduled_for="2026-03-20 10:00")
PLANNED_AGAIN = planned("2026-03-16 12:00", change="planned", scheduled_for="2026-03-20 10:00")

DUE_AGAIN = due("2026-03-18 10:00", scheduled_for="2026-03-20 10:00", template="key-attention")

STORY = [PLANNED, MOVED, DUE, CANCELLED, PLANNED_AGAIN, DUE_AGAIN]


@given(st.permutations(STORY), st.integers(1, len(STORY)))
def test_the_order_of_arrival_makes_no_difference(shuffled: list[Event], length: int) -> None:
    taken = shuffled[:length]
    in_order = sorted(taken, key=lambda event: event.time)
    assert followed(taken) == followed(in_order)


@given(st.permutations([*STORY, *STORY]))
def test_a_fact_told_twice_changes_nothing(shuffled: list[Event]) -> None:
    assert followed(shuffled) == followed(STORY)


def test_due_before_planned_is_due() -> None:
    assert followed([DUE]).state == "due"
    assert followed([DUE, PLANNED]) == followed([PLANNED, DUE])
    assert followed([DUE, PLANNED]).state == "due"


def test_a_cancel_before_the_due_keeps_it_off() -> None:
    off = planned("2026-03-14 09:00", change="cancelled")
    assert followed([off, PLANNED, DUE]).state == "cancelled"
    assert followed([DUE, off]).state == "cancelled"


def test_given_again_it_is_on_again() -> None:
    assert followed([PLANNED, DUE, CANCELLED]).state == "cancelled"
    assert followed([PLANNED, DUE, CANCELLED, PLANNED_AGAIN]).state == "due"


def test_what_was_recorded_stands_before_any_plan() -> None:
    recorded = followed([PLANNED, DUE]).model_copy(update={"outcome": "completed"})
    cancelled: Any = CANCELLED.data
    assert follow_ups.planned(recorded, cancelled, CANCELLED.time, "i", TWO_DAYS).state == "recorded"


def test_a_move_after_the_due_puts_the_work_off() -> None:
    moved = planned("2026-03-16 09:00", change="moved", scheduled_for="2026-04-20 10:00")
    for order in ([DUE, moved], [moved, DUE]):
        assert followed(order).work_from == at("2026-04-18 00:00")
        assert followed(order).state == "due"


CHANGES = [
    consent_changed(changed_at="2026-04-01 10:00", purposes={"follow-up": False}),
    consent_changed(changed_at="2026-04-02 10:00", purposes={"scales": True}),
    consent_changed(changed_at="2026-04-03 10:00", purposes={"follow-up": True}),
    consent_changed(changed_at="2026-04-04 10:00", purposes={"follow-up": False}),
    client_status_changed(status="unreachable", at="2026-04-01 11:00"),
    client_status_changed(status="incapable", at="2026-04-01 12:00"),
    client_status_changed(status="active", at="2026-04-05 12:00"),
    client_status_changed(status="deceased", at="2026-04-03 12:00"),
    incident("opened", "2026-04-01 10:00"),
    incident("resolved", "2026-04-02 10:00"),
    incident("reopened", "2026-04-03 10:00"),
    incident("opened", "2026-04-04 10:00", incident_id="incident-2"),
    incident("resolved", "2026-04-05 10:00", incident_id="incident-2"),
]


def known(events: list[Event]) -> Client:
    client = Client(id="client-1")
    for event in events:
        data: Any = event.data
        if event.topic == "consent-changed":
            client = clients.consent(client, event, data)
        elif event.topic == "client-status-changed":
            client = clients.status(client, data)
        else:
            client = clients.incident(client, data)
    return client


@given(st.permutations(CHANGES), st.integers(1, len(CHANGES)))
def test_a_client_is_the_same_in_any_order(shuffled: list[Event], length: int) -> None:
    taken = shuffled[:length]
    assert known(taken) == known(sorted(taken, key=lambda event: event.time))


def test_the_latest_word_on_consent_holds_and_death_is_for_good() -> None:
    assert known(CHANGES[:1]).stopped == "withdrawn"
    assert known(CHANGES[:3]).stopped is None
    assert known([CHANGES[7], CHANGES[6], CHANGES[5]]).stopped == "deceased"
    assert not known(CHANGES[8:10]).in_incident
    assert known(CHANGES[8:11]).in_incident
