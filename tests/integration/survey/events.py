"""Events that the scheduler and crisis publish, as the survey reads them. Keywords replace a field."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from shared.contracts.envelope import Event
from tests.builders import When, at, event

SCHEDULER = "/aftercare/scheduler"


def _follow_up(given: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "follow_up_id": "follow-up-1",
        "case_id": "case-1",
        "client_id": "client-1",
        "rule": "closed-15d",
        "clause": "F36",
        "class": "closed",
        "scheduled_for": "2026-03-17 10:00",
        "forms": ["questionnaire", "phone"],
    } | {key.rstrip("_"): value for key, value in given.items()}
    body["scheduled_for"] = at(body["scheduled_for"])
    body.setdefault(
        "complete_by", body["scheduled_for"] + timedelta(days=7, hours=13, minutes=59, seconds=59)
    )
    return body


def planned(time: When = "2026-03-02 09:00", id: str | None = None, **given: Any) -> Event:
    body = {"change": "planned", "reason": "case-closed", "provisional": False} | given
    return event("follow-up-planned", _follow_up(body), time=time, id=id, source=SCHEDULER)


def due(time: When = "2026-03-15 10:00", id: str | None = None, **given: Any) -> Event:
    body = {"template": "closed"} | given
    return event("follow-up-due", _follow_up(body), time=time, id=id, source=SCHEDULER)


def reminder(what: str = "questionnaire-invitation", time: When = "2026-03-17 10:00", **given: Any) -> Event:
    body: dict[str, Any] = {
        "reminder_id": f"reminder-{what}",
        "what": what,
        "to": "client",
        "subject": "follow-up-1",
        "case_id": "case-1",
        "client_id": "client-1",
        "clause": "F20",
        "at": at(time),
    } | given
    return event("reminder-due", body, time=time, source=SCHEDULER)


def incident(change: str, time: When = "2026-03-16 10:00", **given: Any) -> Event:
    body = {"incident_id": "incident-1", "client_id": "client-1", "change": change, "at": at(time)} | given
    return event("incident-changed", body, time=time, source="/aftercare/crisis")


def classified(revision: int = 1, **given: Any) -> Event:
    body: dict[str, Any] = {
        "case_id": "case-1",
        "client_id": "client-1",
        "revision": revision,
        "class": "closed",
        "status": "closed",
        "session_ends": [],
        "service": "stress",
        "consents": {"follow-up": True, "scales": False, "recording": False, "employer-sharing": False},
        "as_of": at("2026-03-02 09:00"),
        "cause": "case-closed",
    } | given
    return event(
        "case-classified", body, time=at("2026-03-02 09:00"), id=f"c{revision}", source="/aftercare/intake"
    )
