"""The duties do not depend on the order of arrival, and are those that contract and rows ask for.

Random stories of a client's cases with all that opens, fulfils and ends duties are told to intake and scheduler; what
has to be done, by when and how it ended must be what `duties.owed` computes. Heard of as it happens, everything must
be the same. Heard of in any order, what was told cannot be taken back: a duty may have been late by what was known,
and one that nobody would have opened may stand there cancelled. Nothing else may differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.scheduler.domain.agenda import Duty, name_of
from shared.contracts.envelope import Event
from shared.contracts.types import write_time
from tests import builders
from tests.builders import at
from tests.reference.duties import Owed, not_for, owed, rows
from tests.reference.fold import REGIME, Fold
from tests.unit.scheduler.desk import Desk

STARTS = ["2026-03-02", "2026-02-06", "2026-04-24", "2026-09-23", "2025-12-20", "2027-11-30"]
"""Ordinary weeks, Spring Festival, Labour Day, National Day, New Year, years unknown."""

CLOCKS = ["00:00:00", "10:00:00", "12:34:56.789", "21:30:00", "23:59:58"]

WELL = {"acute_crisis": False, "severe_illness": False}
ILL = {"acute_crisis": False, "severe_illness": True}

OF_A_CASE = [
    "agreement-received", "agreement-reviewed", "assessment-done", "assessment-reported", "case-analysed",
    "counselling-planned", "effect-tracked", "effect-tracked-by-service", "evaluation-collected", "plan-sent",
    "progress-fed-back", "service-confirmed", "service-settled", "standard-detailed", "statistics-delivered",
    "statistics-requested",
]  # fmt: skip
OF_A_FOLLOW_UP = [
    "counsellor-matched", "follow-up-conducted", "follow-up-prepared", "record-filed", "rectification-planned",
    "result-handled",
]  # fmt: skip
OF_A_BOOKING = ["booking-answered", "counsellor-matched", "time-confirmed"]


@st.composite
def happenings(draw: st.DrawFn, start: str, number: int) -> Event:
    """One event of the story, at an instant of its own."""
    day = at(start) + timedelta(days=draw(st.integers(0, 12) | st.integers(0, 60)))
    when = at(f"{day:%Y-%m-%d} {draw(st.sampled_from(CLOCKS))}") + timedelta(milliseconds=number)
    case: dict[str, Any] = {"case_id": draw(st.sampled_from(["case-1"] * 4 + ["case-2"]))}
    about: dict[str, Any] = {"id": f"e{number}", "time": when}
    follow_up = draw(st.sampled_from(["follow-up-1", "follow-up-2"]))
    match draw(st.sampled_from("ooohhsssccddmmmmmmmmffffrrbbBtTx")):
        case "o":
            service = draw(st.sampled_from(["workplace-adaptation"] * 5 + ["stress"]))
            said = draw(st.sampled_from([WELL] * 5 + [ILL]))
            return builders.case_opened(**about, **case, opened_at=when, service=service, eligibility=said)
        case "h":
            starts_at = when + timedelta(days=draw(st.integers(1, 12)))
            number_of = draw(st.sampled_from([1, 1, 1, 2]))
            return builders.session_scheduled(**about, **case, session_no=number_of, starts_at=starts_at)
        case "s":
            return builders.session_completed(
                **about, **case, session_no=draw(st.integers(1, 3)), ended_at=when
            )
        case "c":
            return builders.case_closed(**about, **case, closed_at=when)
        case "d":
            return builders.client_dropped(**about, **case, dropped_at=when)
        case "m":
            done = draw(st.sampled_from(OF_A_CASE))
            return _done(about, done, draw(st.sampled_from([None, case["case_id"]])), case["case_id"])
        case "f":
            return _done(about, draw(st.sampled_from(OF_A_FOLLOW_UP)), "case-1", follow_up)
        case "r":
            flags = draw(st.sampled_from([[], ["complaint"], ["needs-counselling", "special-need"]]))
            said_of_it = {"flags": flags, "satisfaction": draw(st.sampled_from([None, 1, 2, 3, 5]))}
            return builders.follow_up_recorded(
                **about, follow_up_id=follow_up, conducted_at=when, **said_of_it
            )
        case "b":
            service = draw(st.sampled_from(["workplace-adaptation", "workplace-adaptation", "stress"]))
            booking = draw(st.sampled_from([("booking-1", "client-1"), ("booking-2", None)]))
            whose = dict(zip(("booking_id", "client_id"), booking, strict=True))
            return builders.booking_requested(**about, **whose, requested_at=when, service=service)
        case "B":
            return _done(
                about, draw(st.sampled_from(OF_A_BOOKING)), None, f"booking-{draw(st.integers(1, 2))}"
            )
        case "t":
            return builders.staff_updated(**about, changed_at=when)
        case "T":
            done, subject = draw(
                st.sampled_from([("staff-checked", "staff-1"), ("session-recorded", "case-1:1")])
            )
            return _done(about, done, None, subject)
        case _:
            if draw(st.booleans()):
                return builders.client_erased(**about, requested_at=when)
            status = draw(st.sampled_from(["active", "unreachable", "deceased", "incapable"]))
            return builders.client_status_changed(**about, at=when, status=status)


def _done(about: dict[str, Any], milestone: str, case_id: str | None, subject: str) -> Event:
    named = {"milestone": milestone, "case_id": case_id, "subject": subject}
    return builders.milestone_reached(**about, **named, reached_at=about["time"])


@st.composite
def stories(draw: st.DrawFn) -> list[Event]:
    """Begins with an opening, mostly, since most duties are of a case of one service."""
    start = draw(st.sampled_from(STARTS))
    opened = [builders.case_opened(id="e", opened_at=start, service="workplace-adaptation", eligibility=WELL)]
    told = [draw(happenings(start, number)) for number in range(1, draw(st.integers(2, 16)))]
    about = [
        draw(conducting(event, f"{CONDUCTING}{event.id}-{nth}"))
        for event in told
        if event.topic in ENDINGS
        for nth in (1, 2)
    ]
    return [*(opened if draw(st.integers(0, 4)) else []), *told, *(about if draw(st.booleans()) else [])]


CONDUCTING = "conducting-"

ENDINGS = {"case-closed": ("closed_at", "15d"), "client-dropped": ("dropped_at", "7d")}


@st.composite
def conducting(draw: st.DrawFn, ending: Event, key: str) -> Event:
    """What is said of the first follow-up that an ending asks for, once it is due."""
    field, step = ENDINGS[ending.topic]
    follow_up = name_of(ending.subject, step, write_time(getattr(ending.data, field)))
    when = ending.time + timedelta(days=draw(st.integers(14, 25)), seconds=draw(st.integers(1, 80_000)))
    about = {"id": key, "time": when}
    said = draw(st.sampled_from(["follow-up-prepared", "follow-up-conducted", "result-handled", None]))
    if said is None:
        return builders.follow_up_recorded(
            **about, case_id=ending.subject, follow_up_id=follow_up, conducted_at=when
        )
    return _done(about, said, ending.subject, follow_up)


class Stands(NamedTuple):
    """A duty as the agenda has it; what the reference says of it must be the same."""

    rule: str
    subject: str
    opened_at: datetime | None
    due_at: datetime | None
    fulfilled_at: datetime | None
    state: str

    @classmethod
    def demanded(cls, one: Owed, now: datetime) -> Stands:
        fulfilled_at = one.ended_at if one.how == "fulfilled" else None
        return cls(one.rule, one.subject, one.opened_at, one.due_at, fulfilled_at, one.state(now))

    @classmethod
    def held(cls, duty: Duty) -> Stands:
        return cls(duty.rule, duty.subject, duty.opened_at, duty.due_at, duty.fulfilled_at, duty.state)


def as_it_happens(story: Sequence[Event], until: datetime) -> Fold:
    """Each event is heard of by everybody before the next one happens."""
    fold = Fold(min(event.time for event in story))
    for event in sorted(story, key=lambda event: event.time):
        fold.deliver(event).settle()
    return fold.settle().until(until)


class Ticking(Fold):
    """Takes a millisecond for each event: no two decisions at one instant."""

    def _step(self) -> bool:
        self.now += timedelta(milliseconds=1)
        return super()._step()


def anyhow(story: Sequence[Event], until: datetime, seed: int, late: Iterable[timedelta]) -> Fold:
    fold = Ticking(min(event.time for event in story), seed)
    delays = [*late, *[timedelta()] * len(story)]
    for event, delay in zip(story, delays, strict=False):
        fold.deliver(event, max(fold.now, event.time + delay))
    fold.settle()
    return fold.until(max(until, fold.now))


def facts(story: Sequence[Event], fold: Fold) -> list[dict[str, Any]]:
    ours = [event for event in fold.published if event.topic in ("follow-up-due", "follow-up-planned")]
    return [event.structured() for event in (*story, *ours)]


def of(fold: Fold) -> list[Duty]:
    return [duty for duty in fold.scheduler.all(Duty) if duty.published]


def told(fold: Fold) -> dict[str, list[str]]:
    """Duty id to what was told of it, in the order in which it was."""
    found: dict[str, list[str]] = {}
    for data in fold.told("duty-changed"):
        found.setdefault(data.duty_id, []).append(data.change)
    return found


def assert_told_once(fold: Fold) -> None:
    for changes in told(fold).values():
        assert changes[0] == "opened"
        assert set(Counter(changes).values()) == {1}
    still_open = Counter((duty.rule, duty.subject) for duty in of(fold) if duty.open)
    assert set(still_open.values()) <= {1}


def gone(story: Sequence[Event]) -> bool:
    return any(
        event.topic == "client-erased" or getattr(event.data, "status", None) in ("deceased", "incapable")
        for event in story
    )


def asked_anew(story: Sequence[Event]) -> bool:
    """Whether words on an opening differ in what is owed: what was withdrawn is asked for under another id."""
    words = {
        (event.data.case_id, event.data.service, event.data.eligibility.severe_illness)  # type: ignore[attr-defined]
        for event in story
        if event.topic == "case-opened"
    }
    return len({case for case, *_ in words}) < len(words)


def ends(fold: Fold) -> Counter[tuple[str, str, str]]:
    """Rule, subject and state of each duty, by nothing but what was told of it."""
    rule_and_subject = {data.duty_id: (data.rule, data.subject) for data in fold.told("duty-changed")}
    states = {
        key: next(state for state in ("fulfilled", "cancelled", "late", "opened") if state in changes)
        for key, changes in told(fold).items()
    }
    return Counter((*rule_and_subject[key], state.replace("opened", "open")) for key, state in states.items())


def in_order(story: Sequence[Event], days: int) -> None:
    fold = as_it_happens(story, max(event.time for event in story) + timedelta(days=days))

    wanted = owed(facts(story, fold))
    assert_told_once(fold)
    asked_for = Counter((one.rule, one.subject, one.state(fold.now)) for one in wanted)
    assert not asked_for - ends(fold)
    # What is asked for anew has another id; whose case a milestone is about may be known only once it is over.
    in_vain = {"cancelled"} if asked_anew(story) else {"cancelled", "fulfilled"} if gone(story) else set()
    assert {state for *_, state in ends(fold) - asked_for} <= in_vain
    if not any(event.topic == "client-erased" for event in story):
        assert not Counter(Stands.demanded(one, fold.now) for one in wanted) - Counter(
            map(Stands.held, of(fold))
        )


def in_any_order(story: Sequence[Event], days: int, seed: int, late: Sequence[int]) -> None:
    # Nobody conducts what is not planned yet.
    story = [event for event in story if not event.id.startswith(CONDUCTING)]
    until = max(event.time for event in story) + timedelta(days=days)
    fold = anyhow(story, until, seed, [timedelta(days=by) for by in late])
    assert_told_once(fold)

    said = facts(story, fold)
    wanted = owed(said)
    # Done, as was told, before an ending or a later opening was heard of: that is not taken back.
    said_done = {
        (duty.rule, duty.subject)
        for duty in of(fold)
        if "fulfilled" in duty.published and duty.fulfilled_at is None
    }
    still_open = {(one.rule, one.subject) for one in wanted if one.how is None}
    assert {(duty.rule, duty.subject) for duty in of(fold) if duty.open} - said_done == still_open - said_done
    # Where one was withdrawn and asked for anew, it is the newer one that counts.
    found = sorted(of(fold), key=lambda duty: not duty.withdrawn)
    left = {_key(duty.rule, duty.subject, duty.opened_at, duty.fulfilled_at): duty for duty in found}
    for one in wanted:
        if not one.firm:
            continue
        done = one.ended_at if one.how == "fulfilled" else None
        duty = left.pop(_key(one.rule, one.subject, one.opened_at, done), None)
        assert duty, one
        assert duty.open == (one.how is None) or (one.rule, one.subject) in said_done
        if not {"late", "fulfilled", "cancelled"} & set(duty.published):
            assert (duty.due_at, one.late(fold.now)) == (one.due_at, False)
    by_name = {row["name"]: row for row in rows()}
    for duty in left.values():
        # Each fulfilment of what repeats was one, until an ending before it was heard of.
        in_vain = {"cancelled", "fulfilled"} if by_name[duty.rule].get("repeats") else {"cancelled"}
        # Who hears of a death or a refusal last may have been told before that something was done.
        assert gone(story) or not_for(by_name[duty.rule], duty.subject, said) or duty.state in in_vain


def _key(rule: str, subject: str, opened_at: datetime | None, done: datetime | None) -> tuple[Any, ...]:
    return rule, subject, opened_at, done


QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.clause("F5", "F33", "F60", "F62", "F63", "F65", "W12", "W13", "W14", "W34", "W46", "W48")
@QUICK
@given(stories(), st.integers(0, 60))
def test_heard_of_as_they_happen_events_give_exactly_the_duties_asked_for(
    story: list[Event], days: int
) -> None:
    in_order(story, days)


@pytest.mark.clause("W13", "W26")
@QUICK
@given(stories(), st.data())
def test_any_interleaving_repetition_and_lateness_gives_the_duties_asked_for(
    story: list[Event], data: st.DataObject
) -> None:
    repeated = data.draw(st.lists(st.sampled_from(story), max_size=3))
    told = data.draw(st.permutations([*story, *repeated]))
    late = data.draw(st.lists(st.integers(0, 40), max_size=len(told)))

    in_any_order(told, data.draw(st.integers(0, 60)), data.draw(st.integers(0, 2**16)), late)


OF_A_MONTH = [
    "budget-released", "classification-passed-on", "demand-reported", "first-supervision-held",
    "half-year-training-held", "improvement-planned", "maintenance-done", "plan-approved", "plan-detailed",
    "plan-ready", "recordings-checked", "records-checked", "review-held", "satisfaction-corrected",
    "second-supervision-held", "templates-reviewed", "training-held",
]  # fmt: skip


@st.composite
def turns_of_the_year(draw: st.DrawFn) -> list[Event]:
    """What is reported as done, and the reports that come out, in the weeks in which every date of the regime comes."""
    told: list[Event] = []
    for number in range(draw(st.integers(0, 12))):
        when = at("2025-12-05 09:00") + timedelta(days=draw(st.integers(0, 50)), seconds=number)
        month = f"{at(when) - timedelta(days=draw(st.sampled_from([0, 0, 31, -31]))):%Y-%m}"
        about = {"time": when, "id": f"e{number}"}
        if draw(st.integers(0, 2)):
            told.append(_done(about, draw(st.sampled_from(OF_A_MONTH)), None, month))
            continue
        figures = {"satisfaction": draw(st.sampled_from([3.9, 4.0, 4.6]))}
        named = {"month": month, "report": draw(st.sampled_from(["follow-up-analysis", "another"]))}
        body = {**named, "published_at": when, "figures": figures}
        told.append(builders.event("report-published", body, **about))
    return told


@pytest.mark.clause("F15", "F44", "F64", "F68", "F70", "F71", "F72", "F75", "A11", "W8", "W11", "W15", "W20")
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(turns_of_the_year())
def test_the_dates_of_the_regime_give_the_duties_asked_for(story: list[Event]) -> None:
    desk = Desk("2025-12-04 08:00")
    for rule in REGIME.policy.calendar:
        desk.expects(rule.name)
    for event in sorted(story, key=lambda event: event.time):
        desk.hears(event)
    desk.until("2026-01-26")

    wanted = owed(event.structured() for event in (*story, *desk.published))
    assert Counter(Stands.demanded(one, desk.now) for one in wanted) == Counter(
        Stands.held(duty) for duty in desk.view.all(Duty) if duty.published
    )
    told_once = Counter((data.duty_id, data.change) for data in desk.told("duty-changed"))
    assert set(told_once.values()) == {1}


def test_the_stories_reach_every_duty_rule() -> None:
    """No row stands in the policy that these stories never open."""
    opened_by = {(row["opened_by"]["event"], row["opened_by"].get("milestone")) for row in rows()}
    told = {
        "case-opened", "session-scheduled", "session-completed", "case-closed", "follow-up-recorded",
        "booking-requested", "staff-updated", "follow-up-due", "calendar-due", "report-published",
    }  # fmt: skip
    milestones = {
        *OF_A_CASE,
        *OF_A_FOLLOW_UP,
        *OF_A_BOOKING,
        *OF_A_MONTH,
        "staff-checked",
        "session-recorded",
    }
    assert opened_by <= {(topic, None) for topic in told} | {
        ("milestone-reached", name) for name in milestones
    }
    fulfilled_by = {row["fulfilled_by"].get("milestone") for row in rows()} - {None}
    assert fulfilled_by <= milestones
