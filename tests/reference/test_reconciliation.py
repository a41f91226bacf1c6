"""What becomes of follow-ups and duties when a case takes a turn: told as it happens and backwards, the same stands.

Each case is one of workplace adaptation, so that it has duties at its opening, its sessions and its end. 2 March 2026
is a Monday; 4 to 6 April are off. Backwards, everything is heard of on the day of the last event, the last one first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from services.scheduler.domain.agenda import Duty
from shared.contracts.envelope import Event
from tests.builders import Timeline, client_erased, milestone_reached
from tests.reference.fold import Fold

ADAPTATION = {"service": "workplace-adaptation"}


def course() -> Timeline:
    """A case with one session, and what was to be done until then."""
    story = Timeline().opened("2026-03-02", **ADAPTATION).session("2026-03-04")
    story.events += [
        done("assessment-done", "2026-03-03"),
        done("session-recorded", "2026-03-04 11:00", "case-1:1"),
    ]
    return story


def done(milestone: str, when: str, subject: str = "case-1") -> Event:
    return milestone_reached(milestone=milestone, subject=subject, reached_at=when)


def as_it_happens(story: Timeline) -> Fold:
    events = sorted(story.events, key=lambda event: event.time)
    fold = Fold(events[0].time)
    for event in events:
        fold.deliver(event).settle()
    return fold.until(fold.now)


def backwards(story: Timeline) -> Fold:
    events = sorted(story.events, key=lambda event: event.time, reverse=True)
    fold = Fold(events[0].time)
    for event in events:
        fold.deliver(event).settle()
    return fold.until(fold.now)


def stands(fold: Fold) -> dict[str, str]:
    """The follow-ups that stand, by rule, with their day. No two of one rule."""
    found = [
        (item.rule, f"{item.scheduled_for + timedelta(hours=8):%Y-%m-%d}")
        for item in fold.standing().values()
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


def is_owed(fold: Fold) -> dict[str, str]:
    """The duties that are to be done, by rule, with the last day of each. No two about one subject."""
    still_open = [duty for duty in fold.scheduler.all(Duty) if duty.open]
    assert len({(duty.rule, duty.subject) for duty in still_open}) == len(still_open)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for duty in still_open:
        assert duty.due_at
        found[duty.rule].append(f"{duty.due_at + timedelta(hours=8):%Y-%m-%d}")
    return {rule: " ".join(sorted(days)) for rule, days in found.items()}


def told_of_follow_ups(fold: Fold) -> list[tuple[str, str, str]]:
    return [(data.rule, data.change, data.reason) for data in fold.told("follow-up-planned")]


def told_of_duties(fold: Fold, rule: str) -> list[str]:
    return [data.change for data in fold.told("duty-changed") if data.rule == rule]


def assert_nothing_twice(fold: Fold) -> None:
    follow_ups: defaultdict[str, list[Any]] = defaultdict(list)
    for data in fold.told("follow-up-planned"):
        assert data.reason
        follow_ups[data.follow_up_id].append(data.model_dump(exclude={"reason"}))
    for said in follow_ups.values():
        assert all(one != next_one for one, next_one in pairwise(said))
    duties = Counter((data.duty_id, data.change) for data in fold.told("duty-changed"))
    assert set(duties.values()) <= {1}
    due = Counter(data.follow_up_id for data in fold.told("follow-up-due"))
    assert set(due.values()) <= {1}


def both_ways(story: Timeline) -> Fold:
    """Told as it happens; backwards the same must stand."""
    fold, other = as_it_happens(story), backwards(story)
    for one in (fold, other):
        assert_nothing_twice(one)
    assert set(other.standing()) == set(fold.standing())
    assert (stands(other), is_owed(other)) == (stands(fold), is_owed(fold))
    return fold


AFTER_CLOSING = {"closed-15d": "2026-04-07", "closed-3m": "2026-06-22"}  # from 20 March: 4 April is a holiday
PLANNED = [("closed-15d", "planned", "case-closed"), ("closed-3m", "planned", "case-closed")]
OWED_ALL_THE_SAME = {"assessment-reported-1wd": "2026-03-04"}  # W38: whatever becomes of the case


def both(change: str, reason: str) -> list[tuple[str, str, str]]:
    return [("closed-15d", change, reason), ("closed-3m", change, reason)]


@pytest.mark.clause("F36")
def test_a_case_is_reopened() -> None:
    fold = both_ways(course().closed("2026-03-20").opened("2026-04-01", **ADAPTATION))

    assert stands(fold) == {}
    assert sorted(told_of_follow_ups(fold)) == sorted([*PLANNED, *both("cancelled", "case-opened")])
    again = {"assessment-2wd": "2026-04-03", "progress-3wd": "2026-04-07"}
    assert is_owed(fold) == OWED_ALL_THE_SAME | again
    assert told_of_duties(fold, "effect-1m") == ["opened", "cancelled"]
    assert told_of_duties(fold, "progress-3wd") == ["opened", "late", "cancelled", "opened"]


@pytest.mark.clause("F40")
def test_a_case_is_raised_to_key_attention_after_closing() -> None:
    fold = both_ways(course().closed("2026-03-20").attention("2026-03-24"))

    assert stands(fold) == {
        "key-15d": "2026-04-07", "key-1m": "2026-04-20", "key-3m": "2026-06-22", "key-6m": "2026-09-20"
    }  # fmt: skip
    assert told_of_follow_ups(fold) == [
        *PLANNED,
        ("key-15d", "moved", "attention-changed"),
        ("key-1m", "planned", "attention-changed"),
        ("key-3m", "moved", "attention-changed"),
        ("key-6m", "planned", "attention-changed"),
    ]
    assert is_owed(fold) == OWED_ALL_THE_SAME | {
        "evaluation-1wd": "2026-03-23",
        "effect-1m": "2026-04-20",
        "effect-service-1m": "2026-04-20",
    }


@pytest.mark.clause("F42")
def test_a_client_dropped_and_returned() -> None:
    fold = both_ways(course().dropped("2026-03-20").session("2026-03-23"))

    assert stands(fold) == {}
    assert told_of_follow_ups(fold) == [
        ("dropped-7d", "planned", "client-dropped"),
        ("dropped-7d", "cancelled", "session-completed"),
    ]
    assert told_of_duties(fold, "prepare-1wd") == ["opened", "late", "cancelled"]
    again = {"progress-3wd": "2026-03-26", "session-record-2h": "2026-03-23"}
    assert is_owed(fold) == OWED_ALL_THE_SAME | again


def test_a_case_is_closed_opened_again_and_closed_again() -> None:
    story = course().closed("2026-03-20").opened("2026-04-01", **ADAPTATION).closed("2026-04-10")
    fold = both_ways(story)

    assert stands(fold) == {"closed-15d": "2026-04-27", "closed-3m": "2026-07-10"}
    told = [*PLANNED, *both("cancelled", "case-opened"), *PLANNED]
    assert sorted(told_of_follow_ups(fold)) == sorted(told)
    assert is_owed(fold) == OWED_ALL_THE_SAME | {
        "evaluation-1wd": "2026-04-13",
        "effect-1m": "2026-05-10",
        "effect-service-1m": "2026-05-10",
    }
    assert told_of_duties(fold, "effect-1m") == ["opened", "cancelled", "opened"]


def test_a_closing_is_said_twice() -> None:
    fold = both_ways(course().closed("2026-03-20").closed("2026-03-20", time="2026-03-21"))

    assert stands(fold) == AFTER_CLOSING
    assert told_of_follow_ups(fold) == PLANNED
    assert is_owed(fold) == OWED_ALL_THE_SAME | {
        "evaluation-1wd": "2026-03-23",
        "effect-1m": "2026-04-20",
        "effect-service-1m": "2026-04-20",
    }
    assert told_of_duties(fold, "effect-1m") == ["opened"]


@pytest.mark.clause("F10")
def test_consent_is_withdrawn_and_given_again() -> None:
    """It is about follow-ups: what is owed for the counselling itself stays as it is."""
    story = course().closed("2026-03-20").consent("2026-04-06")
    story.consent("2026-04-06 12:00", purposes={"follow-up": True})
    fold = both_ways(story)

    assert stands(fold) == AFTER_CLOSING
    told = [*PLANNED, *both("cancelled", "consent-withdrawn"), *both("planned", "consent-changed")]
    assert sorted(told_of_follow_ups(fold)) == sorted(told)
    counselling = {
        "evaluation-1wd": "2026-03-23",
        "effect-1m": "2026-04-20",
        "effect-service-1m": "2026-04-20",
    }
    # Due since 5 April, and so to be prepared anew, by the last working day before: it has the rest of that day.
    assert is_owed(fold) == OWED_ALL_THE_SAME | counselling | {"prepare-1wd": "2026-04-03"}
    assert told_of_duties(fold, "prepare-1wd") == ["opened", "late", "cancelled", "opened"]


def test_a_closing_is_corrected_by_a_later_word() -> None:
    """It was two days earlier: the follow-ups are others. The duties count from when the end was first told."""
    fold = both_ways(course().closed("2026-03-20").closed("2026-03-18", time="2026-03-23"))

    assert stands(fold) == {"closed-15d": "2026-04-02", "closed-3m": "2026-06-18"}
    assert sorted(told_of_follow_ups(fold)) == sorted([*PLANNED, *PLANNED, *both("cancelled", "case-closed")])
    assert is_owed(fold) == OWED_ALL_THE_SAME | {
        "evaluation-1wd": "2026-03-23",
        "effect-1m": "2026-04-20",
        "effect-service-1m": "2026-04-20",
    }


def test_a_third_session_is_corrected_by_a_later_word() -> None:
    story = Timeline().opened("2026-03-02", **ADAPTATION).sessions(3, "2026-03-03")
    fold = both_ways(story.session("2026-03-24", session_no=3, time="2026-03-25"))

    assert stands(fold) == {"counselling-every-3": "2026-03-26"}
    assert told_of_follow_ups(fold) == [
        ("counselling-every-3", "planned", "session-completed"),
        ("counselling-every-3", "planned", "session-completed"),
        ("counselling-every-3", "cancelled", "session-completed"),
    ]
    assert told_of_duties(fold, "session-record-2h") == ["opened", "late"] * 3  # once for each session


def test_an_opening_is_corrected_to_another_service() -> None:
    fold = both_ways(course().opened("2026-03-02", time="2026-03-04 15:00", service="stress"))

    assert told_of_duties(fold, "progress-3wd") == ["opened", "cancelled"]
    assert is_owed(fold) == OWED_ALL_THE_SAME | {"counselling-planned-1wd": "2026-03-04"}


@pytest.mark.parametrize("status", ["deceased", "incapable"])
def test_a_client_died_or_is_incapable(status: str) -> None:
    fold = both_ways(course().closed("2026-03-20").status("2026-03-24", status))

    assert (stands(fold), is_owed(fold)) == ({}, {})
    assert sorted(told_of_follow_ups(fold)) == sorted([*PLANNED, *both("cancelled", f"client-{status}")])
    assert told_of_duties(fold, "effect-1m") == ["opened", "cancelled"]
    assert told_of_duties(fold, "assessment-reported-1wd") == ["opened", "late", "cancelled"]
    assert told_of_duties(fold, "session-record-2h") == ["opened", "fulfilled"]


@pytest.mark.clause("F7")
def test_a_client_is_erased() -> None:
    story = course().closed("2026-03-20")
    story.events.append(client_erased(requested_at="2026-03-24"))
    fold = both_ways(story)

    assert (stands(fold), is_owed(fold)) == ({}, {})
    assert sorted(told_of_follow_ups(fold)) == sorted([*PLANNED, *both("cancelled", "client-erased")])
    assert told_of_duties(fold, "effect-1m") == ["opened", "cancelled"]
    assert fold.scheduler.all(Duty) == backwards(story).scheduler.all(Duty) == []


@pytest.mark.parametrize("gone", ["deceased", "incapable"])
def test_who_died_and_was_then_erased_stays_unknown(gone: str) -> None:
    """What is told late names the case alone, or the follow-up alone: nothing opens again."""
    story = course().closed("2026-03-20").status("2026-03-24", gone)
    story.events.append(client_erased(requested_at="2026-03-25"))
    fold = as_it_happens(story)
    follow_up = fold.told("follow-up-planned")[0].follow_up_id
    before = len(fold.told("duty-changed"))

    fold.deliver(done("counselling-planned", "2026-03-26")).settle()
    fold.deliver(done("follow-up-conducted", "2026-03-26", follow_up)).settle()

    assert len(fold.told("duty-changed")) == before
    assert fold.scheduler.all(Duty) == []
