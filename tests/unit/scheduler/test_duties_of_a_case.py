"""The duties about a case of workplace adaptation: for that service alone, again and again, until the case ends.

Told to intake and scheduler in any order; the duties come out the same. The weeks used are ordinary ones: 2 March 2026
is a Monday, and 4 to 6 April are off.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from services.scheduler.domain.agenda import CaseEvents, Duty
from shared.contracts.envelope import Event
from tests.builders import (
    at,
    case_closed,
    case_opened,
    client_dropped,
    client_erased,
    client_status_changed,
    follow_up_recorded,
    milestone_reached,
    session_completed,
    session_scheduled,
)
from tests.reference.fold import Fold, folded
from tests.unit.scheduler.desk import Desk, classified

ADAPTATION = "workplace-adaptation"


def opened(when: str = "2026-03-02 10:00", service: str = ADAPTATION, **other: Any) -> Event:
    return case_opened(opened_at=when, service=service, **other)


def done(milestone: str, when: str, subject: str = "case-1") -> Event:
    return milestone_reached(milestone=milestone, subject=subject, reached_at=when)


def end_of(day: str) -> datetime:
    return at(f"{day} 23:59:59")


def as_they_are(fold: Fold) -> set[tuple[Any, ...]]:
    """The duties about the case that anybody was told of: what has to be done by when, and how it ended."""
    return {
        (duty.id, duty.rule, duty.subject, duty.opened_at, duty.due_at, duty.fulfilled_at, duty.cancelled_at, duty.open)
        for duty in fold.scheduler.all(Duty)
        if duty.published and duty.subject.startswith("case-1")
    }  # fmt: skip


def of(fold: Fold, rule: str) -> list[tuple[datetime | None, datetime | None, str]]:
    """Each time the duty had to be done: opened, due, and how it stands."""
    found = [duty for duty in fold.scheduler.all(Duty) if duty.rule == rule and duty.published]
    return sorted((duty.opened_at, duty.due_at, duty.state) for duty in found)  # type: ignore[type-var]


def changes(fold: Fold, rule: str) -> list[tuple[str, datetime]]:
    return [(data.change, data.at) for data in fold.told("duty-changed") if data.rule == rule]


def assert_each_told_once(fold: Fold) -> None:
    told = Counter((data.duty_id, data.change) for data in fold.told("duty-changed"))
    assert set(told.values()) <= {1}


STORIES: dict[str, list[Event]] = {
    "a whole course": [
        opened(),
        session_scheduled(starts_at="2026-03-10 10:00", time="2026-03-03 10:00"),
        done("assessment-done", "2026-03-03 16:00"),
        done("progress-fed-back", "2026-03-04 16:00"),
        done("standard-detailed", "2026-03-05 09:00"),
        session_completed(ended_at="2026-03-10 10:50"),
        done("session-recorded", "2026-03-10 12:00", "case-1:1"),
        done("progress-fed-back", "2026-03-11 16:00"),
        case_closed(closed_at="2026-03-20 17:00"),
        done("evaluation-collected", "2026-03-23 09:00"),
    ],
    "dropped, returned, closed": [
        opened(),
        session_completed(ended_at="2026-03-10 10:50"),
        client_dropped(dropped_at="2026-03-12 10:00"),
        session_completed(session_no=2, ended_at="2026-03-24 10:50"),
        done("progress-fed-back", "2026-03-26 16:00"),
        case_closed(closed_at="2026-04-10 17:00"),
    ],
    "closed, reopened, closed again": [
        opened(),
        case_closed(closed_at="2026-03-03 17:00"),
        done("evaluation-collected", "2026-03-04 09:00"),
        opened("2026-03-16 10:00"),
        case_closed(closed_at="2026-04-10 17:00"),
    ],
    "closed, and a session after it": [
        opened(),
        case_closed(closed_at="2026-03-10 17:00"),
        session_completed(ended_at="2026-03-12 10:50"),
    ],
    "of another service": [
        opened(service="stress"),
        session_scheduled(starts_at="2026-03-10 10:00", time="2026-03-03 10:00"),
        session_completed(ended_at="2026-03-10 10:50"),
        case_closed(closed_at="2026-03-20 17:00"),
    ],
    "another service at first": [
        opened(service="stress"),
        session_completed(ended_at="2026-03-10 10:50"),
        opened("2026-03-02 10:00", time="2026-03-11 10:00"),
    ],
}


@pytest.mark.parametrize("name", STORIES)
def test_in_any_order_the_same_has_to_be_done(name: str) -> None:
    story = STORIES[name]
    choice = random.Random(name)
    in_order = folded(story)
    in_order.until(at("2026-06-30"))
    assert_each_told_once(in_order)
    for seed in range(25):
        told = choice.sample(story, len(story)) + choice.choices(story, k=2)
        fold = folded(told, seed)
        fold.until(at("2026-06-30"))

        assert as_they_are(fold) == as_they_are(in_order)
        assert_each_told_once(fold)


def test_only_cases_of_the_service_have_its_duties() -> None:
    assert as_they_are(folded(STORIES["of another service"])) == {
        one
        for one in as_they_are(folded(STORIES["of another service"]))
        if one[1] == "case-analysed"  # A19 is for every case
    }
    ours = {one[1] for one in as_they_are(folded(STORIES["a whole course"]))}
    assert {
        "standard-3wd",
        "progress-3wd",
        "evaluation-1wd",
        "effect-1m",
        "effect-service-1m",
        "session-record-2h",
        "assessment-2wd",
    } <= ours


@pytest.mark.clause("W10", "W14", "W34", "W46", "W48")
def test_limits_of_a_course() -> None:
    fold = folded(STORIES["a whole course"])

    assert of(fold, "standard-3wd") == [(at("2026-03-03"), end_of("2026-03-05"), "fulfilled")]  # W10
    assert of(fold, "session-record-2h") == [(at("2026-03-10 10:50"), at("2026-03-10 12:50"), "fulfilled")]
    assert of(fold, "evaluation-1wd") == [(at("2026-03-20 17:00"), end_of("2026-03-23"), "fulfilled")]  # W14
    assert of(fold, "effect-1m") == [(at("2026-03-20 17:00"), end_of("2026-04-20"), "open")]  # W48
    assert of(fold, "effect-service-1m") == [(at("2026-03-20 17:00"), end_of("2026-04-20"), "open")]
    assert of(fold, "assessment-2wd") == [(at("2026-03-02"), end_of("2026-03-04"), "fulfilled")]  # W34


@pytest.mark.clause("W13")
def test_w13_each_feedback_opens_the_next_counted_from_it() -> None:
    fold = folded(STORIES["a whole course"])

    assert of(fold, "progress-3wd") == [
        (at("2026-03-02 10:00"), end_of("2026-03-05"), "fulfilled"),
        (at("2026-03-04 16:00"), end_of("2026-03-09"), "fulfilled"),
        (at("2026-03-11 16:00"), end_of("2026-03-16"), "cancelled"),
    ]
    assert changes(fold, "progress-3wd") == [
        ("opened", at("2026-03-02 10:00")),
        ("fulfilled", at("2026-03-04 16:00")),
        ("opened", at("2026-03-04 16:00")),
        ("late", end_of("2026-03-09")),
        ("fulfilled", at("2026-03-11 16:00")),
        ("opened", at("2026-03-11 16:00")),
        ("late", end_of("2026-03-16")),
        ("cancelled", at("2026-03-20 17:00")),
    ]


def test_w13_what_runs_late_stays_late_until_it_is_done() -> None:
    fold = folded([opened()])
    fold.until(at("2026-05-01"))
    assert changes(fold, "progress-3wd") == [("opened", at("2026-03-02")), ("late", end_of("2026-03-05"))]

    fold.deliver(done("progress-fed-back", "2026-05-08 10:00")).settle()

    assert of(fold, "progress-3wd") == [
        (at("2026-03-02"), end_of("2026-03-05"), "fulfilled"),
        (at("2026-05-08"), end_of("2026-05-12"), "open"),  # 9 May is a Saturday that is worked
    ]


def test_w13_what_is_fed_back_before_closing_and_reopening_are_heard_of_leaves_the_next_one_open() -> None:
    fold = Fold(at("2026-03-06 11:00"))
    for told in (
        opened(),
        done("progress-fed-back", "2026-03-06 10:00"),
        case_closed(closed_at="2026-03-04 10:00"),
        opened("2026-03-05 10:00"),
    ):
        fold.deliver(told).settle()

    still_open = [duty for duty in fold.scheduler.all(Duty) if duty.rule == "progress-3wd" and duty.open]
    assert [(duty.opened_at, duty.due_at) for duty in still_open] == [
        (at("2026-03-06 10:00"), end_of("2026-03-11"))
    ]
    assert_each_told_once(fold)


def test_w13_goes_on_with_the_session_that_shows_that_the_client_returned() -> None:
    fold = folded(STORIES["dropped, returned, closed"])

    assert of(fold, "progress-3wd") == [
        (at("2026-03-02 10:00"), end_of("2026-03-05"), "cancelled"),
        (at("2026-03-24 10:50"), end_of("2026-03-27"), "fulfilled"),
        (at("2026-03-26 16:00"), end_of("2026-03-31"), "cancelled"),
    ]


def test_a_session_after_the_closing_reopens_nothing() -> None:
    fold = folded(STORIES["closed, and a session after it"])

    assert [state for *_, state in of(fold, "progress-3wd")] == ["cancelled"]
    assert [state for *_, state in of(fold, "session-record-2h")] == ["open"]  # W46: it was held all the same


def test_what_hangs_on_an_end_is_asked_at_each_end_and_not_in_between() -> None:
    fold = folded(STORIES["closed, reopened, closed again"])

    assert of(fold, "evaluation-1wd") == [
        (at("2026-03-03 17:00"), end_of("2026-03-04"), "fulfilled"),
        (at("2026-04-10 17:00"), end_of("2026-04-13"), "open"),
    ]
    for rule in ("effect-1m", "effect-service-1m"):
        assert of(fold, rule) == [
            (at("2026-03-03 17:00"), end_of("2026-04-03"), "cancelled"),
            (at("2026-04-10 17:00"), end_of("2026-05-10"), "open"),
        ]
    assert of(fold, "assessment-2wd") == [
        (at("2026-03-02 10:00"), end_of("2026-03-04"), "cancelled"),
        (at("2026-03-16 10:00"), end_of("2026-03-18"), "cancelled"),
    ]


@pytest.mark.clause("W39", "A19")
@pytest.mark.parametrize(
    "end", [case_closed(closed_at="2026-03-03 17:00"), client_dropped(dropped_at="2026-03-03 17:00")]
)
def test_what_was_still_to_be_done_for_counselling_ends_with_the_case(end: Event) -> None:
    """W34, W39, W43, W10, A19: nobody is late with the plan of a case that is over."""
    fold = folded(
        [
            opened(),
            session_scheduled(starts_at="2026-03-20 10:00", time="2026-03-02 11:00"),
            done("assessment-done", "2026-03-03 09:00"),
            done("counselling-planned", "2026-03-03 10:00"),
            end,
        ]
    )  # fmt: skip
    fold.until(at("2026-04-30"))

    assert [change for change, _ in changes(fold, "plan-sent-1wd")] == ["opened", "cancelled"]
    assert [change for change, _ in changes(fold, "standard-3wd")] == ["opened", "cancelled"]
    assert [change for change, _ in changes(fold, "case-analysed")] == ["opened", "cancelled"]
    assert [change for change, _ in changes(fold, "assessment-2wd")] == ["opened", "fulfilled"]
    assert [change for change, _ in changes(fold, "assessment-reported-1wd")] == [
        "opened",
        "late",
    ]  # W38 is owed


def test_a_case_that_turns_out_to_be_of_another_service_has_none_of_its_duties_open() -> None:
    story = [opened(), session_completed(ended_at="2026-03-03 10:50")]
    fold = folded(story)
    assert [state for *_, state in of(fold, "session-record-2h")] == ["open"]

    fold.deliver(opened(service="stress", time="2026-03-03 11:00")).settle()
    fold.until(at("2026-03-03 11:30"))
    assert [change for change, _ in changes(fold, "session-record-2h")] == ["opened", "cancelled"]
    assert not any(duty.open for duty in fold.scheduler.all(Duty))

    fold.deliver(opened(time="2026-03-03 12:00")).settle()
    assert sorted(state for *_, state in of(fold, "session-record-2h")) == ["cancelled", "open"]
    assert [duty.due_at for duty in fold.scheduler.all(Duty) if duty.rule == "session-record-2h"] == [
        at("2026-03-03 12:50")
    ] * 2
    fold.deliver(done("session-recorded", "2026-03-03 12:40", "case-1:1")).settle()
    assert sorted(state for *_, state in of(fold, "session-record-2h")) == ["cancelled", "fulfilled"]
    assert_each_told_once(fold)


def test_w10_a_first_session_that_moves_takes_its_limit_along() -> None:
    fold = folded(
        [
            opened(),
            session_scheduled(starts_at="2026-03-10 10:00", time="2026-03-02 11:00"),
            session_scheduled(starts_at="2026-03-17 10:00", time="2026-03-03 11:00"),
        ]
    )

    assert of(fold, "standard-3wd") == [(at("2026-03-02 11:00"), end_of("2026-03-12"), "open")]


@pytest.mark.parametrize(
    "gone", [client_status_changed(at="2026-03-03 10:00"), client_erased(requested_at="2026-03-03 10:00")]
)
def test_nothing_remains_to_be_done_for_who_is_gone_and_nothing_opens_again(gone: Event) -> None:
    """What a milestone opened names no client, only the case."""
    fold = Fold(at("2026-03-02"))
    for told in (opened(), done("assessment-done", "2026-03-03 09:00"), gone):
        fold.deliver(told).settle()
    assert [change for change, _ in changes(fold, "counselling-planned-1wd")] == ["opened", "cancelled"]
    assert [change for change, _ in changes(fold, "progress-3wd")] == ["opened", "cancelled"]

    before = len(fold.told("duty-changed"))
    fold.deliver(done("counselling-planned", "2026-03-04 09:00")).settle()
    fold.deliver(session_completed(ended_at="2026-03-05 10:50")).settle()
    fold.until(at("2026-06-30"))
    assert len(fold.told("duty-changed")) == before
    assert fold.told("escalation-required") == []


@pytest.mark.parametrize(
    "first", [session_scheduled(session_no=2, time="2026-03-02 10:00"), follow_up_recorded()]
)
def test_whose_case_it_is_may_have_been_said_by_what_asks_for_nothing_of_it(first: Event) -> None:
    fold = Fold(at("2026-03-02"))
    for told in (
        first,
        done("agreement-received", "2026-04-02"),
        client_status_changed(at="2026-04-02 11:00"),
    ):
        fold.deliver(told).settle()

    assert [change for change, _ in changes(fold, "agreement-1wd")] == ["opened", "cancelled"]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_heard_first_of_who_is_gone_nothing_stays_open(seed: int) -> None:
    story = [
        opened(),
        done("assessment-done", "2026-03-03 09:00"),
        session_completed(ended_at="2026-03-03 09:50"),
        client_status_changed(at="2026-03-03 10:00"),
    ]
    fold = folded(random.Random(seed).sample(story, len(story)), seed)
    fold.until(at("2026-03-03 10:30"))

    assert [duty.rule for duty in fold.scheduler.all(Duty) if duty.open] == []


def test_a_referred_case_has_no_progress_to_feed_back() -> None:
    desk = Desk("2026-03-02 10:00").hears(opened())
    body = classified(status="open", service=ADAPTATION, closed_at=None) | {"class": "new"}
    desk.hears_of("case-classified", "2026-03-02 10:00", **body)
    assert [change for change, _ in desk.duties("progress-3wd")] == ["opened"]

    desk.hears_of("case-classified", "2026-03-02 11:00", **(body | {"revision": 2, "status": "referred"}))

    assert [change for change, _ in desk.duties("progress-3wd")] == ["opened", "cancelled"]
    assert [change for change, _ in desk.duties("assessment-2wd")] == ["opened", "cancelled"]


def test_an_ending_leaves_nothing_about_what_was_never_opened() -> None:
    """A case has a dozen duties that its ending cancels: none is written down for a case that has none of them."""
    fold = folded([opened(service="stress"), case_closed(closed_at="2026-03-10 17:00")])

    assert [duty.rule for duty in fold.scheduler.all(Duty)] == []
    assert len(fold.scheduler.all(CaseEvents)) == 1


def test_an_ending_that_was_heard_of_first_cancels_what_a_milestone_opens_later() -> None:
    fold = Fold(at("2026-03-02"))
    for told in (opened(), case_closed(closed_at="2026-03-10 17:00")):
        fold.deliver(told).settle()
    fold.deliver(done("counselling-planned", "2026-03-10 10:00"), at("2026-03-11 10:00")).settle()

    assert [change for change, _ in changes(fold, "plan-sent-1wd")] == ["opened", "cancelled"]
