"""Every field of every event, written down by hand from the contract and held against the models.

`?` after a name: may be absent. The value is a type, or the closed list of what may stand there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from shared.contracts.asyncapi import json_schema
from shared.contracts.compatibility import resolved
from shared.contracts.topics import TOPICS

SERVICES = "career-transition stress workplace-relations workplace-adaptation"
CLASSES = "new in-counselling key-attention closed dropped"
FORMS = "list: questionnaire phone video"

CONTRACT: dict[str, dict[str, str]] = {
    "case-opened": {
        "case_id": "id", "client_id": "id", "counsellor_id": "id", "service": SERVICES,
        "agreed_sessions": "integer", "opened_at": "time", "enterprise_id?": "id", "eligibility": "object",
        "eligibility.age?": "integer", "eligibility.employment?": "employed about-to-start none",
        "eligibility.acute_crisis": "boolean", "eligibility.severe_illness": "boolean",
        "eligibility.agreements_signed?": "boolean",
    },
    "booking-requested": {
        "booking_id": "id", "client_id?": "id", "enterprise_id?": "id", "service": SERVICES,
        "channel": "site mini-program hotline", "requested_at": "time",
    },
    "session-scheduled": {
        "case_id": "id", "client_id": "id", "session_no": "integer", "mode": "individual group",
        "starts_at": "time",
    },
    "session-completed": {
        "case_id": "id", "client_id": "id", "session_no": "integer", "mode": "individual group",
        "started_at": "time", "ended_at": "time", "marks": "list: code",
    },
    "case-closed": {
        "case_id": "id", "client_id": "id", "closed_at": "time", "sessions_completed": "integer",
        "outcome": "as-expected below-expectation", "advice?": "list: code",
    },
    "client-dropped": {
        "case_id": "id", "client_id": "id", "dropped_at": "time", "sessions_completed": "integer",
        "reason?": "price time no-effect counsellor solved moved other unknown",
    },
    "attention-changed": {
        "case_id": "id", "client_id": "id", "reason": "code", "state": "proposed decided lifted",
        "decided_by": "id", "at": "time",
    },
    "crisis-flagged": {
        "client_id": "id", "case_id?": "id", "follow_up_id?": "id", "flagged_at": "time",
        "source": "counsellor follow-up questionnaire hotline booking other", "signals": "list: code",
        "level": "watch high imminent drill", "flagged_by?": "id",
    },
    "consent-changed": {
        "client_id": "id", "changed_at": "time", "notice_version": "id", "purposes": "object",
        "purposes.follow-up?": "boolean", "purposes.scales?": "boolean", "purposes.recording?": "boolean",
        "purposes.employer-sharing?": "boolean",
    },
    "client-status-changed": {
        "client_id": "id", "status": "active deceased incapable unreachable", "at": "time",
    },
    "client-erased": {"client_id": "id", "requested_at": "time", "by": "id"},
    "milestone-reached": {
        "milestone": "code", "subject": "id", "case_id?": "id", "reached_at": "time", "by": "id",
    },
    "staff-updated": {
        "staff_id": "id", "changed_at": "time", "roles": "list: code", "certificate": "code",
        "experience_months": "integer", "exam_passed_year?": "integer", "training": "integer",
        "available": "boolean",
    },
    "case-classified": {
        "case_id": "id", "client_id": "id", "revision": "integer", "class": CLASSES,
        "status": "open closed dropped referred", "session_ends": "list: object",
        "session_ends[].session_no": "integer", "session_ends[].ended_at": "time", "attention?": "object",
        "attention.reason": "code", "attention.state": "proposed decided lifted",
        "attention.decided_by": "id", "attention.since": "time", "service?": SERVICES,
        "counsellor_id?": "id", "enterprise_id?": "id", "agreed_sessions?": "integer", "opened_at?": "time",
        "closed_at?": "time", "dropped_at?": "time", "consents": "object", "consents.follow-up?": "boolean",
        "consents.scales?": "boolean", "consents.recording?": "boolean",
        "consents.employer-sharing?": "boolean", "as_of": "time", "cause": "code",
    },
    "follow-up-planned": {
        "follow_up_id": "id", "case_id?": "id", "client_id": "id", "rule": "code", "clause": "id",
        "class": CLASSES, "change": "planned moved cancelled superseded", "reason": "code",
        "scheduled_for": "time", "complete_by": "time", "forms": FORMS, "provisional": "boolean",
        "amends_plan?": "month",
    },
    "follow-up-due": {
        "follow_up_id": "id", "case_id?": "id", "client_id": "id", "rule": "code", "clause": "id",
        "class": CLASSES, "scheduled_for": "time", "complete_by": "time", "forms": FORMS,
        "template": "code",
    },
    "reminder-due": {
        "reminder_id": "id", "what": "code", "to": "recipient", "subject": "id", "case_id?": "id",
        "client_id?": "id", "clause": "id", "at": "time",
    },
    "follow-up-recorded": {
        "follow_up_id": "id", "case_id?": "id", "client_id": "id", "form": "questionnaire phone video",
        "conducted_at": "time", "recorded_at": "time", "by": "id",
        "outcome": "completed refused unreachable stopped-for-crisis", "satisfaction?": "integer",
        "flags": "list: code", "bands": "map: code", "dropped_reason?": "code",
    },
    "duty-changed": {
        "duty_id": "id", "rule": "code", "clause": "id", "role": "code", "subject": "id", "case_id?": "id",
        "change": "opened fulfilled late cancelled", "due_at": "time", "at": "time",
    },
    "calendar-due": {"rule": "code", "clause": "id", "month": "month", "due_at": "time"},
    "escalation-required": {
        "escalation_id": "id", "rule": "code", "clause": "id", "subject": "id", "case_id?": "id",
        "role": "code", "urgency": "page notify", "due_at": "time", "reason": "code",
    },
    "incident-changed": {
        "incident_id": "id", "client_id": "id", "case_id?": "id",
        "change": "opened paged page-failed acknowledged intervening escalated resolved reopened",
        "at": "time", "by?": "id", "step?": "code", "channel?": "code",
    },
    "report-published": {"month": "month", "report": "code", "published_at": "time", "figures": "map: number"},
}  # fmt: skip

PATTERNS = {
    "^[A-Za-z0-9_.:\\-]{1,64}$": "id",
    "^[a-z0-9]+(-[a-z0-9]+)*$": "code",
    "^[0-9]{4}-(0[1-9]|1[0-2])$": "month",
    "^(client|staff:[A-Za-z0-9_.:\\-]{1,64}|role:[a-z0-9\\-]{1,64})$": "recipient",
}


def present(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """What stands in a field that may be absent, if it is there."""
    kinds = [choice for choice in part.get("anyOf", [part]) if choice.get("type") != "null"]
    assert len(kinds) == 1
    return kinds[0]


def kind(part: Mapping[str, Any]) -> str:
    """The type of a field in the words of the table above."""
    part = present(part)
    match part:
        case {"enum": values}:
            return " ".join(values)
        case {"type": "array", "items": items}:
            return f"list: {kind(items)}"
        case {"patternProperties": values, "additionalProperties": False}:
            (name,) = values
            return f"map: {kind(values[name])}" if PATTERNS[name] == "code" else "map of something else"
        case {"format": "date-time"}:
            return "time"
        case {"pattern": pattern}:
            return PATTERNS[pattern]
    return str(part["type"])


def fields(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Every field at any depth with its kind; `?` where it may be absent."""
    for name, declared in schema.get("properties", {}).items():
        part = present(declared)
        yield f"{path}{name}{'' if name in schema['required'] else '?'}", kind(declared)
        yield from fields({"required": [], **part}, f"{path}{name}.")
        yield from fields({"required": [], **part.get("items", {})}, f"{path}{name}[].")


def test_the_table_names_every_topic() -> None:
    assert CONTRACT.keys() == TOPICS.keys()


@pytest.mark.clause("F2", "W2", "W24", "W29", "W31")
@pytest.mark.parametrize("topic", CONTRACT)
def test_a_body_has_the_fields_of_the_contract_and_no_others(topic: str) -> None:
    assert dict(fields(resolved(json_schema(topic, 1)))) == CONTRACT[topic]


@pytest.mark.parametrize("topic", CONTRACT)
def test_every_object_refuses_unknown_fields(topic: str) -> None:
    def objects(part: Any) -> Iterator[Mapping[str, Any]]:
        if isinstance(part, dict):
            if part.get("type") == "object":
                yield part
            for inner in part.values():
                yield from objects(inner)
        if isinstance(part, list):
            for inner in part:
                yield from objects(inner)

    found = list(objects(resolved(json_schema(topic, 1))))
    assert found
    assert all(one["additionalProperties"] is False for one in found)


@pytest.mark.parametrize(
    ("topic", "field", "low", "high"),
    [
        ("follow-up-recorded", "satisfaction", 1, 5),
        ("case-opened", "agreed_sessions", 1, 1000),
        ("session-completed", "session_no", 1, 1000),
    ],
)
def test_numbers_have_their_bounds(topic: str, field: str, low: int, high: int) -> None:
    part = present(json_schema(topic, 1)["properties"][field])
    assert (part["minimum"], part["maximum"]) == (low, high)
