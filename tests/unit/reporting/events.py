"""Builders of the events that reporting counts. Times are written in Shanghai's time; what is not named is ordinary."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from shared.clock import to_millisecond
from shared.contracts import events
from shared.contracts.envelope import Event, derive
from shared.contracts.types import EventData
from shared.policy.counting import end_of_day

SHANGHAI = ZoneInfo("Asia/Shanghai")
CLAUSES = {
    "closed-15d": ("F36", "closed"),
    "closed-3m": ("F36", "closed"),
    "key-15d": ("F40", "key-attention"),
    "key-1m": ("F40", "key-attention"),
    "counselling-every-3": ("F38", "in-counselling"),
    "dropped-7d": ("F42", "dropped"),
    "crisis-aftercare": ("A32", "key-attention"),
}


def at(text: str) -> datetime:
    """`2026-03-02` (10:00) or `2026-03-02 23:59` in Shanghai, as UTC."""
    written = datetime.fromisoformat(text if " " in text else f"{text} 10:00")
    return to_millisecond(written.replace(tzinfo=SHANGHAI))


def event(topic: str, data: EventData, time: datetime, nth: int = 0) -> Event:
    return derive(f"{topic} {time} {data.to_json()!r}", "/test", data, time=time, topic=topic, nth=nth)


def planned(
    key: str, scheduled: str, rule: str = "closed-15d", change: str = "planned", **other: Any
) -> Event:
    clause, case_class = CLAUSES[rule]
    scheduled_for = other.pop("scheduled_for", None) or at(scheduled)
    said: dict[str, Any] = {
        "follow_up_id": key,
        "case_id": f"case-{key}",
        "client_id": f"client-{key}",
        "rule": rule,
        "clause": clause,
        "case_class": case_class,
        "change": change,
        "reason": "by-rule",
        "scheduled_for": scheduled_for,
        "complete_by": end_of_day((scheduled_for.astimezone(SHANGHAI) + timedelta(days=7)).date()),
        "forms": ("questionnaire", "phone"),
        "provisional": False,
    }
    time = other.pop("time", at("2026-01-05"))
    return event("follow-up-planned", events.FollowUpPlanned(**(said | other)), time)


def due(plan: Event, when: str) -> Event:
    """The follow-up of that plan comes due."""
    said = plan.data.model_dump(exclude={"change", "reason", "provisional", "amends_plan"})
    return event("follow-up-due", events.FollowUpDue(**said, template="closed"), at(when))


def recorded(key: str, conducted: str, outcome: str = "completed", **other: Any) -> Event:
    said: dict[str, Any] = {
        "follow_up_id": key,
        "case_id": f"case-{key}",
        "client_id": f"client-{key}",
        "form": "phone",
        "conducted_at": at(conducted),
        "recorded_at": at(conducted) + timedelta(hours=2),
        "by": "staff-1",
        "outcome": outcome,
        "satisfaction": 5 if outcome == "completed" else None,
        "flags": (),
        "bands": {},
    }
    said |= other
    return event("follow-up-recorded", events.FollowUpRecorded(**said), said["recorded_at"])


def staff(key: str, when: str = "2026-01-05", nth: int = 0, **other: Any) -> Event:
    said: dict[str, Any] = {
        "staff_id": key,
        "changed_at": at(when),
        "roles": ("counsellor",),
        "certificate": "level-3",
        "experience_months": 24,
        "training": 2,
        "available": True,
    }
    return event("staff-updated", events.StaffUpdated(**(said | other)), at(when), nth)


def milestone(name: str, subject: str, when: str = "2026-03-10", **other: Any) -> Event:
    said = events.MilestoneReached(
        milestone=name, subject=subject, reached_at=at(when), by="checker-1", **other
    )
    return event("milestone-reached", said, at(when))


def duty(
    key: str, change: str, when: str, due: str, rule: str = "handle-5wd", clause: str = "F65", **other: Any
) -> Event:
    said: dict[str, Any] = {
        "duty_id": key,
        "rule": rule,
        "clause": clause,
        "role": "psychology",
        "subject": "subject-1",
        "change": change,
        "due_at": at(due),
        "at": at(when),
    }
    return event("duty-changed", events.DutyChanged(**(said | other)), at(when))


def incident(key: str, change: str, when: datetime, **other: Any) -> Event:
    said: dict[str, Any] = {"incident_id": key, "client_id": f"client-{key}", "change": change, "at": when}
    return event("incident-changed", events.IncidentChanged(**(said | other)), when)


def classified(key: str, revision: int = 1, **other: Any) -> Event:
    said: dict[str, Any] = {
        "case_id": key,
        "client_id": f"client-{key}",
        "revision": revision,
        "case_class": "closed",
        "status": "closed",
        "session_ends": (),
        "consents": events.Consents(),
        "as_of": at("2026-03-01"),
        "cause": "case-closed",
    }
    time = other.pop("time", at("2026-03-01"))
    return event("case-classified", events.CaseClassified(**(said | other)), time)


def escalation(key: str, due: str, rule: str = "handle-5wd", urgency: str = "notify") -> Event:
    said = events.EscalationRequired(
        escalation_id=key,
        rule=rule,
        clause="F65",
        subject="subject-1",
        role="head-of-psychology",
        urgency=urgency,  # type: ignore[arg-type]
        due_at=at(due),
        reason="late",
    )
    return event("escalation-required", said, at(due))


def report_due(month: str, when: str, rule: str = "report-5th", clause: str = "F64", nth: int = 0) -> Event:
    said = events.CalendarDue(rule=rule, clause=clause, month=month, due_at=at(when))
    return event("calendar-due", said, at(when), nth)
