"""The final follow-ups do not depend on the order of arrival, and are those that the contract demands.

Random stories of a client's cases, with everything that a case can go through, are told to intake and scheduler in
any order, repeated and late; what stands on the agenda in the end must be what `followups.demanded` computes.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.scheduler.domain.agenda import FollowUp
from shared.contracts.envelope import Event
from tests import builders
from tests.builders import Timeline, at
from tests.reference.fold import folded
from tests.reference.followups import Demanded, demanded

STARTS = [
    "2025-12-15", "2026-02-06", "2026-04-24", "2026-08-31", "2026-09-23", "2027-11-30", "2024-01-31", "2023-08-31",
]  # fmt: skip
"""New Year, Spring Festival, Labour Day, month ends, National Day, years unknown, the leap days of 2024 and 2028."""

CLOCKS = ["00:00:00", "10:00:00", "23:59:59", "12:34:56.789"]


@st.composite
def moments(draw: st.DrawFn, start: str) -> datetime:
    day = at(start) + timedelta(days=draw(st.integers(0, 25) | st.integers(0, 130)))
    return at(f"{day:%Y-%m-%d} {draw(st.sampled_from(CLOCKS))}")


@st.composite
def openings(draw: st.DrawFn) -> dict[str, Any]:
    """Mostly a service that refuses nobody; else one that refuses about half."""
    if draw(st.integers(0, 2)):
        return {}
    eligibility = {
        "acute_crisis": draw(st.sampled_from([False, False, False, True])),
        "severe_illness": draw(st.sampled_from([False, False, False, True])),
        "age": draw(st.sampled_from([None, 17, 18, 60, 61])),
        "employment": draw(st.sampled_from([None, "employed", "about-to-start", "none"])),
        "agreements_signed": draw(st.sampled_from([None, True, False])),
    }
    return {
        "service": "workplace-adaptation",
        "enterprise_id": draw(st.sampled_from([None, "enterprise-1"])),
        "eligibility": {name: value for name, value in eligibility.items() if value is not None},
    }


@st.composite
def happenings(draw: st.DrawFn, start: str, number: int) -> Event:
    """One event of the story; sometimes it is a later word on something that happened earlier."""
    when = draw(moments(start))
    told = when + timedelta(days=draw(st.sampled_from([0, 0, 0, 0, 1, 40])))
    about: dict[str, Any] = {"id": f"e{number}", "time": told, "source": draw(st.sampled_from(["/a", "/b"]))}
    case: dict[str, Any] = {"case_id": draw(st.sampled_from(["case-1"] * 4 + ["case-2"]))}
    match draw(st.sampled_from("oosssssscccdddaappppu")):
        case "o":
            return builders.case_opened(**about, **case, opened_at=when, **draw(openings()))
        case "s":
            marks = draw(st.sampled_from([[], [], [], ["career-crisis"]]))
            number_of = draw(st.integers(1, 7))
            return builders.session_completed(
                **about, **case, session_no=number_of, ended_at=when, marks=marks
            )
        case "c":
            outcome = draw(st.sampled_from(["as-expected", "as-expected", "below-expectation"]))
            return builders.case_closed(**about, **case, closed_at=when, outcome=outcome)
        case "d":
            return builders.client_dropped(**about, **case, dropped_at=when)
        case "a":
            state = draw(st.sampled_from(["proposed", "decided", "lifted"]))
            return builders.attention_changed(**about, **case, at=when, state=state)
        case "p":
            purposes = draw(
                st.sampled_from(
                    [{"follow-up": False}, {"follow-up": True}, {"follow-up": True}, {"scales": True}]
                )
            )
            return builders.consent_changed(**about, changed_at=when, purposes=purposes)
        case _:
            status = draw(st.sampled_from(["active", "unreachable", "deceased", "incapable"]))
            return builders.client_status_changed(**about, at=when, status=status)


@st.composite
def stories(draw: st.DrawFn) -> list[Event]:
    start = draw(st.sampled_from(STARTS))
    return [draw(happenings(start, number)) for number in range(draw(st.integers(1, 12)))]


def as_demanded(item: FollowUp) -> Demanded:
    assert item.case_id
    return Demanded(
        item.case_id, item.rule, item.scheduled_for, item.complete_by, item.forms, item.provisional
    )


def check(told: list[Event], seed: int = 0, late: list[timedelta] | None = None) -> dict[str, FollowUp]:
    standing = folded(told, seed, late or []).standing()
    wanted = demanded([event.structured() for event in told])
    assert {as_demanded(item) for item in standing.values()} == wanted
    assert len(standing) == len(wanted)
    return standing


@pytest.mark.clause("F36", "F38", "F40", "F42")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stories(), st.data())
def test_any_interleaving_repetition_and_lateness_gives_the_follow_ups_demanded(
    story: list[Event], data: st.DataObject
) -> None:
    in_order = check(sorted(story, key=lambda event: event.time))
    repeated = data.draw(st.lists(st.sampled_from(story), max_size=4))
    told = data.draw(st.permutations([*story, *repeated]))
    late = data.draw(st.lists(st.integers(0, 90).map(lambda days: timedelta(days=days)), max_size=len(told)))
    seed = data.draw(st.integers(0, 2**16))

    anyhow = check(told, seed, late)

    assert set(anyhow) == set(in_order)


REFUSED: dict[str, Any] = {
    "service": "workplace-adaptation",
    "eligibility": {"acute_crisis": False, "severe_illness": True},
}
ADMITTED: dict[str, Any] = {
    "service": "workplace-adaptation",
    "eligibility": {"acute_crisis": False, "severe_illness": False, "age": 60, "employment": "employed"},
}

STORIES = {
    "opened only": Timeline().opened("2026-03-02"),
    "closed without a word before": Timeline().closed("2026-03-02"),
    "a three-session course: the follow-up in counselling gives way to those after closing": (
        Timeline().opened("2026-03-02").sessions(3, "2026-03-03").closed("2026-03-17 11:00")
    ),
    "closed at the very end of the third session": (
        Timeline().sessions(3, "2026-03-03 10:50").closed("2026-03-17 10:50")
    ),
    "nine sessions, still open": Timeline().opened("2026-03-02").sessions(9, "2026-03-03", every=5),
    "reopened and closed again": (
        Timeline().opened("2026-03-02").closed("2026-03-20").opened("2026-05-06").sessions(2, "2026-05-07")
        .closed("2026-06-01")
    ),
    "reopened, not closed again": Timeline().sessions(4, "2026-03-02").closed("2026-04-20").opened("2026-05-06"),
    "dropped": Timeline().opened("2026-03-02").sessions(2, "2026-03-03").dropped("2026-04-01"),
    "dropped and returned": (
        Timeline().opened("2026-03-02").sessions(2, "2026-03-03").dropped("2026-04-01").session("2026-04-20")
    ),
    "dropped, returned, dropped again": (
        Timeline().session("2026-03-03").dropped("2026-04-01").session("2026-04-20").dropped("2026-05-20")
    ),
    "dropped, and closed after that": Timeline().dropped("2026-04-01").closed("2026-04-30"),
    "closed, and a session after it": Timeline().sessions(2, "2026-03-02").closed("2026-03-20").session("2026-04-02"),
    "raised to key attention after closing": (
        Timeline().closed("2026-03-02").attention("2026-04-10")
    ),
    "proposed, then lifted": (
        Timeline().attention("2026-02-10", "proposed").closed("2026-03-02").attention("2026-03-20", "lifted")
    ),
    "below expectation": Timeline().closed("2026-03-02", outcome="below-expectation"),
    "below expectation, lifted later": (
        Timeline().closed("2026-03-02", outcome="below-expectation").attention("2026-04-02", "lifted")
    ),
    "a mark in a session": Timeline().session("2026-02-10", marks=["career-crisis"]).closed("2026-03-02"),
    "a mark that a later word on the session takes back": (
        Timeline()
        .session("2026-02-10", marks=["career-crisis"])
        .session("2026-02-10", session_no=1, time="2026-02-12")
        .closed("2026-03-02")
    ),
    "a session moved to another day by a later word": (
        Timeline().sessions(3, "2026-03-02").session("2026-03-05 10:50", session_no=3, time="2026-03-20")
    ),
    "a closing with a later word on its date": (
        Timeline().closed("2026-03-02").closed("2026-03-01", time="2026-03-10")
    ),
    "consent withdrawn": Timeline().closed("2026-03-02").consent("2026-03-05"),
    "consent withdrawn before anything was known": Timeline().consent("2026-02-05").closed("2026-03-02"),
    "consent given again between two follow-ups": (
        Timeline().closed("2026-03-02").consent("2026-03-05").consent("2026-04-10", purposes={"follow-up": True})
    ),
    "consent given again before the case was known": (
        Timeline().consent("2026-03-05").consent("2026-04-10", purposes={"follow-up": True}).closed("2026-03-02")
    ),
    "consent confirmed, never withdrawn": (
        Timeline().closed("2026-03-02").consent("2026-04-10", purposes={"follow-up": True})
    ),
    "consent on another purpose": (
        Timeline().closed("2026-03-02").consent("2026-03-05").consent("2026-03-09", purposes={"scales": True})
    ),
    "deceased": Timeline().opened("2026-03-02").closed("2026-04-02").status("2026-04-10", "deceased"),
    "incapable, and later said to be active": (
        Timeline().closed("2026-04-02").status("2026-04-10", "incapable").status("2026-05-10", "active")
    ),
    "unreachable": Timeline().closed("2026-04-02").status("2026-04-10", "unreachable"),
    "a month that ends earlier": Timeline().closed("2025-08-31", outcome="below-expectation"),
    "into a leap day": Timeline().closed("2023-11-30", outcome="below-expectation"),
    "dropped before National Day": Timeline().dropped("2026-09-30"),
    "dropped before Spring Festival": Timeline().dropped("2026-02-13 23:59:59"),
    "third session before National Day": Timeline().sessions(3, "2026-09-16 10:50"),
    "midnight in Shanghai": Timeline().closed("2026-03-31 00:00:00"),
    "the second before midnight in Shanghai": Timeline().closed("2026-03-31 23:59:59"),
    "referred, and closed all the same": (
        Timeline().opened("2026-03-02", **REFUSED).sessions(3, "2026-03-03").closed("2026-03-20")
    ),
    "referred, and a later word on the opening admits": (
        Timeline().opened("2026-03-02", **REFUSED).sessions(3, "2026-03-03")
        .opened("2026-03-02", time="2026-03-20", **ADMITTED).closed("2026-04-20")
    ),
    "admitted, and a later word on the opening refuses": (
        Timeline().opened("2026-03-02", **ADMITTED).sessions(3, "2026-03-03").closed("2026-03-20")
        .opened("2026-03-02", time="2026-04-20", **REFUSED)
    ),
    "a year that no notice covers": Timeline().dropped("2028-09-29").closed("2028-10-02"),
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_a_story_told_in_any_order_ends_with_the_same_follow_ups(name: str) -> None:
    story = STORIES[name].events
    choice = random.Random(name)
    in_order = check(story)
    for seed in range(12):
        told = choice.sample(story, len(story)) + choice.choices(story, k=2)
        late = [timedelta(days=choice.choice([0, 1, 9, 60])) for _ in told]
        assert set(check(told, seed, late)) == set(in_order)
