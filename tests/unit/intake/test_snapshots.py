"""What a case was at the end of a month, by the facts of that time and not by their arrival (F15, F16)."""

from __future__ import annotations

import itertools
from datetime import datetime
from typing import Any

import pytest

from services.intake.domain import snapshots
from services.intake.domain.ledger import Case, Client
from services.intake.domain.snapshots import Line, Snapshot
from shared.contracts.envelope import Event
from shared.contracts.events import CaseClassified
from tests.builders import Timeline, at, case_closed, client_erased, consent_changed, event
from tests.unit.intake.desk import Desk
from tests.unit.policy.regime import POLICY

MARCH = snapshots.wanted("2026-03")


def line(*told: Event) -> Line | None:
    view = Desk().hears(*told).view
    (case,) = view.all(Case)
    return snapshots.line(case, view.get(Client, "client-1") or Client(id="client-1"), MARCH, POLICY)


def stood(*told: Event) -> CaseClassified:
    found = line(*told)
    assert found
    return CaseClassified.from_json(found.body)


@pytest.mark.parametrize(
    ("month", "end"),
    [("2026-03", "2026-04-01 00:00"), ("2026-12", "2027-01-01 00:00"), ("2028-02", "2028-03-01 00:00")],
)
def test_a_month_ends_at_midnight_in_shanghai(month: str, end: str) -> None:
    assert snapshots.end_of_month(month) == at(end)


STORIES: dict[str, tuple[Timeline, str, str]] = {
    "closed in April": (Timeline().opened("2026-03-02").sessions(3, "2026-03-03").closed("2026-04-01 00:00"),
                        "in-counselling", "open"),
    "closed in the last second of March": (Timeline().opened("2026-03-02").closed("2026-03-31 23:59:59"),
                                           "closed", "closed"),
    "the third session in April": (Timeline().opened("2026-03-02").sessions(2, "2026-03-03").session("2026-04-02"),
                                   "new", "open"),
    "a later word on the closing": (
        Timeline().opened("2026-03-02").closed("2026-03-20").closed("2026-03-20", time="2026-04-02",
                                                                   outcome="below-expectation"),
        "closed", "closed",
    ),
    "a later word on a session": (
        Timeline().opened("2026-03-02").session("2026-03-03", marks=["career-crisis"])
        .session("2026-03-03", session_no=1, time="2026-04-02"),
        "key-attention", "open",
    ),
    "reopened in April": (Timeline().opened("2026-03-02").dropped("2026-03-20").opened("2026-04-02"),
                          "dropped", "dropped"),
    "lifted in April": (Timeline().attention("2026-03-20").attention("2026-04-02", "lifted"),
                        "key-attention", "open"),
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_what_happens_in_april_is_not_in_march_in_any_order(name: str) -> None:
    story, case_class, status = STORIES[name]
    for order in itertools.permutations(story.events):
        told = stood(*order)
        assert (told.case_class, told.status) == (case_class, status)
        assert told.as_of == at("2026-04-01 00:00")


def test_the_cause_is_the_last_fact_of_the_time() -> None:
    assert stood(
        *Timeline().opened("2026-03-02").session("2026-03-03").closed("2026-04-02").events
    ).cause == ("session-completed")


def test_a_case_of_which_nothing_had_happened_yet_is_not_in_it() -> None:
    assert line(*Timeline().opened("2026-04-01 00:00").session("2026-04-03").events) is None


def test_consents_are_those_of_the_time() -> None:
    words = [
        consent_changed(changed_at="2026-03-10", purposes={"follow-up": False, "scales": True}),
        consent_changed(changed_at="2026-04-02", purposes={"follow-up": True, "recording": True}),
    ]
    for order in itertools.permutations([*Timeline().opened("2026-03-02").events, *words]):
        assert stood(*order).consents.model_dump() == {
            "follow_up": False, "scales": True, "recording": False, "employer_sharing": False,
        }  # fmt: skip


def test_who_was_referred_then_stands_so() -> None:
    refused: dict[str, Any] = {
        "service": "workplace-adaptation",
        "eligibility": {"acute_crisis": False, "severe_illness": True},
    }
    story = Timeline().opened("2026-03-02", **refused).opened("2026-03-02", time="2026-04-02")
    assert stood(*story.events).status == "referred"


def due(month: str = "2026-03", rule: str = "classification-5th", number: int = 1) -> Event:
    body = {"rule": rule, "clause": "F15", "month": month, "due_at": at("2026-04-03 10:00")}
    return event(
        "calendar-due", body, time="2026-04-03 10:00", id=f"due-{number}", source="/aftercare/scheduler"
    )


def test_f15_the_date_asks_for_a_snapshot_once() -> None:
    desk = Desk().hears(due(), due(rule="report-5th", month="2026-02"))
    (asked,) = desk.view.all(Snapshot)
    assert (asked.id, asked.as_of, asked.done) == ("2026-03", at("2026-04-01 00:00"), False)

    desk.view.load([snapshots.advanced(asked, None)])
    (kept,) = desk.hears(due(number=2)).view.all(Snapshot)
    assert kept.done
    assert desk.published == []


def test_it_advances_from_case_to_case_until_there_are_no_more() -> None:
    half = snapshots.advanced(MARCH, "case-200")
    assert (half.after, half.done) == ("case-200", False)
    whole = snapshots.advanced(half, None)
    assert (whole.after, whole.done) == ("case-200", True)


def test_who_is_forgotten_vanishes_from_every_month() -> None:
    desk = Desk().hears(*Timeline().opened("2026-03-02").events)
    mine = line(*Timeline().opened("2026-03-02").events)
    assert mine
    other = mine.model_copy(update={"id": "2026-03 case-2", "client_id": "client-2"})
    desk.view.load([mine, other])

    assert desk.hears(client_erased()).view.all(Line) == [other]


def test_what_was_stored_before_facts_were_kept_can_still_be_read() -> None:
    held = Desk().hears(case_closed(closed_at="2026-03-20")).case().to_mongo()
    for name in ("earlier", "records", "told_class"):
        del held[name]
    then = Case.model_validate(held).as_of(datetime.fromisoformat("2026-04-01T00:00:00+08:00"))

    assert then
    assert then.closing
