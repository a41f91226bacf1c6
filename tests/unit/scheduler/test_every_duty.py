"""Each duty of the regime by its own clause: what opens it, until when it may be done, who is told when it is not.

2 March 2026 is a Monday with ordinary weeks around it. The dates are counted by hand from the clauses.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import (
    at,
    booking_requested,
    case_closed,
    case_opened,
    session_completed,
    session_scheduled,
    staff_updated,
)
from tests.reference.fold import REGIME
from tests.unit.scheduler.desk import Desk, classified, milestone, recorded

OPENED = "2026-03-02 11:00"

Opening = tuple[str, dict[str, Any]]


def body_of(event: Any) -> dict[str, Any]:
    return dict(event.data.model_dump(by_alias=True, exclude_none=True))


def reached(name: str, subject: str = "case-1") -> Opening:
    return "milestone-reached", milestone(name, OPENED, subject)


def record(**said: Any) -> Opening:
    return "follow-up-recorded", recorded(**said)


def date_of(rule: str, clause: str) -> Opening:
    return "calendar-due", {"rule": rule, "clause": clause, "month": "2026-04", "due_at": at(OPENED)}


def report(satisfaction: float) -> Opening:
    figures = {"satisfaction": satisfaction}
    return "report-published", {
        "month": "2026-02",
        "report": "r1",
        "published_at": at(OPENED),
        "figures": figures,
    }


BOOKING = ("booking-requested", body_of(booking_requested(booking_id="b1", service="workplace-adaptation")))
ADAPTATION = ("case-opened", body_of(case_opened(case_id="case-1", service="workplace-adaptation")))
CLOSED = ("case-closed", body_of(case_closed(case_id="case-1", closed_at=OPENED)))
FIRST_SESSION = ("session-scheduled", body_of(session_scheduled(session_no=1, starts_at="2026-03-10 14:00")))
FIRST_TALK = ("session-scheduled", body_of(session_scheduled(session_no=1, starts_at="2026-03-17 14:00")))
HELD = ("session-completed", body_of(session_completed(ended_at=OPENED)))
STAFF = ("staff-updated", body_of(staff_updated()))


@pytest.mark.clause(
    "F5", "F33", "F35", "F57", "F60", "F61", "F62", "F63", "F65", "F68", "F75", "A11", "A19", "A26",
    "W12", "W16", "W17", "W19", "W21", "W22", "W32", "W33", "W34", "W38", "W39", "W48",
)  # fmt: skip
@pytest.mark.parametrize(
    ("rule", "clauses", "opening", "due", "escalates_to", "subject", "done"),
    [
        ("file-5wd", "F5", record(), "2026-03-09 23:59:59", "department-manager", "f1", "record-filed"),
        ("staff-checked-5wd", "F33", STAFF, "2026-03-09 23:59:59", "head-of-psychology", "staff-1", "staff-checked"),
        ("plan-detailed", "F35", date_of("plan-28th", "F44"), "2026-03-03 23:59:59", "department-manager",
         "2026-04", "plan-detailed"),
        ("record-24h", "F60", reached("follow-up-conducted", "f1"), "2026-03-03 11:00:00", "department-manager",
         "f1", None),
        ("match-2wd", "F62 F57", record(flags=["needs-counselling"]), "2026-03-04 23:59:59", "department-manager",
         "f1", "counsellor-matched"),
        ("complaint-3wd", "F63 F57", record(flags=["complaint"]), "2026-03-05 23:59:59", "head-of-psychology",
         "f1", "rectification-planned"),
        ("complaint-3wd", "F63", record(satisfaction=2), "2026-03-05 23:59:59", "head-of-psychology",
         "f1", "rectification-planned"),
        ("handle-5wd", "F65 F61", record(), "2026-03-09 23:59:59", "head-of-psychology", "f1", "result-handled"),
        ("records-checked", "F71", date_of("records-sampled", "F71"), "2026-03-09 23:59:59", "head-of-psychology",
         "2026-04", "records-checked"),
        ("recordings-checked", "F72", date_of("recordings-sampled", "F72"), "2026-03-09 23:59:59", "head-of-psychology",
         "2026-04", "recordings-checked"),
        ("budget-released", "F68", date_of("budget-yearly", "F66"), "2026-03-16 23:59:59", "department-manager",
         "2026-04", "budget-released"),
        ("satisfaction-corrected", "F75", report(3.9), "2026-03-16 23:59:59", "head-of-psychology",
         "2026-02", "satisfaction-corrected"),
        ("improvement-planned", "A11", report(4.5), "2026-03-16 23:59:59", "head-of-psychology",
         "2026-02", "improvement-planned"),
        ("case-analysed", "A19", FIRST_SESSION, "2026-03-10 14:00:00", "psychology", "case-1", "case-analysed"),
        ("respond-2h", "W12", BOOKING, "2026-03-02 13:00:00", "department-manager", "b1", "booking-answered"),
        ("agreement-1wd", "W16 W17", reached("agreement-received"), "2026-03-03 23:59:59", "department-manager",
         "case-1", "agreement-reviewed"),
        ("statistics-24h", "W19", reached("statistics-requested"), "2026-03-03 11:00:00", "department-manager",
         "case-1", "statistics-delivered"),
        ("settle-3wd", "W21 W22", reached("service-confirmed"), "2026-03-05 23:59:59", "department-manager",
         "case-1", "service-settled"),
        ("booking-matched-2h", "W32", BOOKING, "2026-03-02 13:00:00", "department-manager",
         "b1", "counsellor-matched"),
        ("time-confirmed-4h", "W33", BOOKING, "2026-03-02 15:00:00", "department-manager", "b1", "time-confirmed"),
        ("assessment-2wd", "W34", ADAPTATION, "2026-03-04 23:59:59", "expert-group-head", "case-1", "assessment-done"),
        ("assessment-reported-1wd", "W38 A26", reached("assessment-done"), "2026-03-03 23:59:59",
         "expert-group-head", "case-1", "assessment-reported"),
        ("counselling-planned-1wd", "W39", reached("assessment-done"), "2026-03-03 23:59:59", "expert-group-head",
         "case-1", "counselling-planned"),
        ("plan-approved", "F45", date_of("plan-28th", "F44"), "2026-03-03 23:59:59", "head-of-psychology",
         "2026-04", "plan-approved"),
        ("standard-3wd", "W10", FIRST_TALK, "2026-03-12 23:59:59", "head-of-psychology", "case-1",
         "standard-detailed"),
        ("evaluation-1wd", "W14", CLOSED, "2026-03-03 23:59:59", "department-manager", "case-1",
         "evaluation-collected"),
        ("session-record-2h", "W46", HELD, "2026-03-02 13:00:00", "expert-group-head", "case-1:1",
         "session-recorded"),
        ("effect-1m", "W48", CLOSED, "2026-04-02 23:59:59", "expert-group-head", "case-1", "effect-tracked"),
        ("plan-sent-1wd", "W43", reached("counselling-planned"), "2026-03-03 23:59:59", "department-manager",
         "case-1", "plan-sent"),
        ("effect-service-1m", "W48", CLOSED, "2026-04-02 23:59:59", "department-manager",
         "case-1", "effect-tracked-by-service"),
    ],
)  # fmt: skip
def test_a_duty_is_opened_and_late_after_its_limit_unless_it_is_done(
    rule: str, clauses: str, opening: Opening, due: str, escalates_to: str, subject: str, done: str | None
) -> None:
    topic, body = opening
    assert set(clauses.split()) <= set(REGIME.policy.duty(rule).clauses)

    neglected = desk(rule).hears_of(topic, OPENED, **body)
    assert (neglected.duty(rule).due_at, neglected.duty(rule).subject) == (at(due), subject)
    neglected.until("2026-06-01")
    assert neglected.duties(rule) == [("opened", at(OPENED)), ("late", at(due))]
    assert neglected.escalations(rule)[-1] == ("late", escalates_to, at(due))

    kept = desk(rule).hears_of(topic, OPENED, **body)
    if done is None:
        kept.hears_of("follow-up-recorded", due, **recorded(follow_up_id=subject))
    else:
        kept.hears_of("milestone-reached", due, **milestone(done, due, subject))
    kept.until("2026-06-01")
    assert kept.duties(rule) == [("opened", at(OPENED)), ("fulfilled", at(due))]


ELSEWHERE = {"prepare-1wd": "a limit before the follow-up", "progress-3wd": "one that repeats"}
"""Their opening, lateness and fulfilment are in test_duties and test_duties_of_a_case."""


def test_each_duty_of_the_regime_is_among_them() -> None:
    (cases,) = [
        mark.args[1]
        for mark in test_a_duty_is_opened_and_late_after_its_limit_unless_it_is_done.pytestmark  # type: ignore[attr-defined]
        if mark.name == "parametrize"
    ]
    of_a_date = {
        rule.name for rule in REGIME.policy.duties if rule.opened_by.event == "calendar-due"
    }  # each by its own date, in test_dates
    assert {rule.name for rule in REGIME.policy.duties} == {case[0] for case in cases} | of_a_date | set(
        ELSEWHERE
    )


def desk(rule: str) -> Desk:
    """A desk that knows an open case of the service that a rule is bound to."""
    service = REGIME.policy.duty(rule).service
    if service is None:
        return Desk(OPENED)
    case = classified(status="open", closed_at=None, service=service) | {"class": "new"}
    return Desk(OPENED).hears_of("case-classified", OPENED, **case)


@pytest.mark.parametrize(
    ("rule", "opening"),
    [
        ("match-2wd", record(flags=["special-need"])),
        ("complaint-3wd", record(satisfaction=3)),
        ("satisfaction-corrected", report(4.0)),
        ("plan-detailed", date_of("report-5th", "F64")),
        ("budget-released", date_of("plan-28th", "F44")),
        ("case-analysed", ("session-scheduled", FIRST_SESSION[1] | {"session_no": 2})),
        ("respond-2h", ("booking-requested", BOOKING[1] | {"service": "stress"})),
        ("assessment-2wd", ("case-opened", ADAPTATION[1] | {"service": "stress"})),
        ("effect-service-1m", CLOSED),  # of a case whose service is not known
    ],
)
def test_what_is_near_it_opens_no_duty(rule: str, opening: Opening) -> None:
    topic, body = opening
    assert Desk(OPENED).hears_of(topic, OPENED, **body).duties(rule) == []
