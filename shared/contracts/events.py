"""The body of every event, version 1. Field names and values are a published contract (docs/events.md).

Coded values that the contract leaves open end in `Code`; closed ones are literals. A field that may be absent is
`None` in memory and left out on the wire.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic.config import JsonDict

from shared.contracts.types import Code, EventData, Id, Month, Strict, Timestamp

Service = Literal["career-transition", "stress", "workplace-relations", "workplace-adaptation"]
Mode = Literal["individual", "group"]
CaseClass = Literal["new", "in-counselling", "key-attention", "closed", "dropped"]
CaseStatus = Literal["open", "closed", "dropped", "referred"]
AttentionState = Literal["proposed", "decided", "lifted"]
Form = Literal["questionnaire", "phone", "video"]
Outcome = Literal["completed", "refused", "unreachable", "stopped-for-crisis"]
Flag = Literal["needs-counselling", "complaint", "special-need"]
"""What a follow-up finds (F57): what whoever records one may say, and a rule may ask for."""
Level = Literal["watch", "high", "imminent", "drill"]
SessionNo = Annotated[int, Field(ge=1, le=1000)]
Count = Annotated[int, Field(ge=0, le=1000)]
_CLOSED: JsonDict = {"additionalProperties": False}
"""What pydantic leaves out of the JSON Schema of a mapping: a key that is no code is refused."""
_SORTED = AfterValidator(lambda mapping: dict(sorted(mapping.items())))
"""In one order, so that the same body is written the same."""
Bands = Annotated[dict[Code, Code], _SORTED, Field(json_schema_extra=_CLOSED)]
Figures = Annotated[dict[Code, float | None], _SORTED, Field(json_schema_extra=_CLOSED)]


# --- published by company systems -----------------------------------------------------------------------------


class Eligibility(Strict):
    """What admission was decided on (W23, W26, W28)."""

    age: Annotated[int, Field(ge=0, le=150)] | None = None
    employment: Literal["employed", "about-to-start", "none"] | None = None
    acute_crisis: bool
    severe_illness: bool
    agreements_signed: bool | None = None


class CaseOpened(EventData):
    case_id: Id
    client_id: Id
    counsellor_id: Id
    service: Service
    agreed_sessions: Annotated[int, Field(ge=1, le=1000)]
    opened_at: Timestamp
    enterprise_id: Id | None = None
    eligibility: Eligibility


class BookingRequested(EventData):
    booking_id: Id
    client_id: Id | None = None
    enterprise_id: Id | None = None
    service: Service
    channel: Literal["site", "mini-program", "hotline"]
    requested_at: Timestamp


class SessionScheduled(EventData):
    case_id: Id
    client_id: Id
    session_no: SessionNo
    mode: Mode
    starts_at: Timestamp


class SessionCompleted(EventData):
    case_id: Id
    client_id: Id
    session_no: SessionNo
    mode: Mode
    started_at: Timestamp
    ended_at: Timestamp
    marks: tuple[Code, ...]

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Self:
        if self.ended_at <= self.started_at:
            raise ValueError("ended_at must be later than started_at")
        return self


class CaseClosed(EventData):
    case_id: Id
    client_id: Id
    closed_at: Timestamp
    sessions_completed: Count
    outcome: Literal["as-expected", "below-expectation"]
    advice: tuple[Code, ...] | None = None


class ClientDropped(EventData):
    case_id: Id
    client_id: Id
    dropped_at: Timestamp
    sessions_completed: Count
    reason: (
        Literal["price", "time", "no-effect", "counsellor", "solved", "moved", "other", "unknown"] | None
    ) = None


class AttentionChanged(EventData):
    case_id: Id
    client_id: Id
    reason: Code
    state: AttentionState
    decided_by: Id
    at: Timestamp


class CrisisFlagged(EventData):
    client_id: Id
    case_id: Id | None = None
    follow_up_id: Id | None = None
    flagged_at: Timestamp
    source: Literal["counsellor", "follow-up", "questionnaire", "hotline", "booking", "other"]
    signals: tuple[Code, ...]
    level: Level
    flagged_by: Id | None = None


class Purposes(Strict):
    """What a client allows. A purpose that is not named keeps its last value."""

    follow_up: bool | None = Field(None, alias="follow-up")
    scales: bool | None = None
    recording: bool | None = None
    employer_sharing: bool | None = Field(None, alias="employer-sharing")


class ConsentChanged(EventData):
    client_id: Id
    changed_at: Timestamp
    notice_version: Id
    purposes: Purposes


class ClientStatusChanged(EventData):
    client_id: Id
    status: Literal["active", "deceased", "incapable", "unreachable"]
    at: Timestamp


class ClientErased(EventData):
    client_id: Id
    requested_at: Timestamp
    by: Id


class MilestoneReached(EventData):
    milestone: Code
    subject: Id
    case_id: Id | None = None
    reached_at: Timestamp
    by: Id


class StaffUpdated(EventData):
    """Qualification and availability of a follow-up person (F28, F29, F31, F32)."""

    staff_id: Id
    changed_at: Timestamp
    roles: tuple[Code, ...]
    certificate: Code
    experience_months: Annotated[int, Field(ge=0, le=1200)]
    exam_passed_year: Annotated[int, Field(ge=2000, le=2200)] | None = None
    training: Annotated[int, Field(ge=0, le=1000)]
    """Class hours of training in the month of `changed_at`."""
    available: bool


# --- published by Aftercare -----------------------------------------------------------------------------------


class SessionEnd(Strict):
    session_no: SessionNo
    ended_at: Timestamp


class Attention(Strict):
    reason: Code
    state: AttentionState
    decided_by: Id
    since: Timestamp


class Consents(Strict):
    """The client's consents as they now stand, every purpose named."""

    follow_up: bool = Field(True, alias="follow-up")
    scales: bool = False
    recording: bool = False
    employer_sharing: bool = Field(False, alias="employer-sharing")


class CaseClassified(EventData):
    """The case as it now stands, whole. `revision` counts up per case: an older one may be skipped."""

    case_id: Id
    client_id: Id
    revision: Annotated[int, Field(ge=1)]
    case_class: CaseClass = Field(alias="class")
    status: CaseStatus
    session_ends: tuple[SessionEnd, ...]
    attention: Attention | None = None
    service: Service | None = None
    counsellor_id: Id | None = None
    enterprise_id: Id | None = None
    agreed_sessions: int | None = None
    opened_at: Timestamp | None = None
    closed_at: Timestamp | None = None
    dropped_at: Timestamp | None = None
    consents: Consents
    as_of: Timestamp
    cause: Code
    """The topic of the fact that changed the case."""


class FollowUpPlanned(EventData):
    follow_up_id: Id
    case_id: Id | None = None
    client_id: Id
    rule: Code
    clause: Id
    case_class: CaseClass = Field(alias="class")
    change: Literal["planned", "moved", "cancelled", "superseded"]
    reason: Code
    scheduled_for: Timestamp
    complete_by: Timestamp
    forms: tuple[Form, ...]
    provisional: bool
    amends_plan: Month | None = None


class FollowUpDue(EventData):
    follow_up_id: Id
    case_id: Id | None = None
    client_id: Id
    rule: Code
    clause: Id
    case_class: CaseClass = Field(alias="class")
    scheduled_for: Timestamp
    complete_by: Timestamp
    forms: tuple[Form, ...]
    template: Code


class ReminderDue(EventData):
    """The only event that makes a message go out. `to` is `client`, `staff:ID` or `role:NAME`."""

    reminder_id: Id
    what: Code
    to: Annotated[str, Field(pattern=r"^(client|staff:[A-Za-z0-9_.:\-]{1,64}|role:[a-z0-9\-]{1,64})$")]
    subject: Id
    case_id: Id | None = None
    client_id: Id | None = None
    clause: Id
    at: Timestamp


class FollowUpRecorded(EventData):
    follow_up_id: Id
    case_id: Id | None = None
    client_id: Id
    form: Form
    conducted_at: Timestamp
    recorded_at: Timestamp
    by: Id
    outcome: Outcome
    satisfaction: Annotated[int, Field(ge=1, le=5)] | None = None
    flags: tuple[Code, ...]
    bands: Bands
    """Scale to band, never answers."""
    dropped_reason: Code | None = None


class DutyChanged(EventData):
    duty_id: Id
    rule: Code
    clause: Id
    role: Code
    subject: Id
    case_id: Id | None = None
    change: Literal["opened", "fulfilled", "late", "cancelled"]
    due_at: Timestamp
    at: Timestamp


class CalendarDue(EventData):
    rule: Code
    clause: Id
    month: Month
    due_at: Timestamp


class EscalationRequired(EventData):
    escalation_id: Id
    rule: Code
    clause: Id
    subject: Id
    case_id: Id | None = None
    role: Code
    urgency: Literal["page", "notify"]
    due_at: Timestamp
    reason: Code


class IncidentChanged(EventData):
    incident_id: Id
    client_id: Id
    case_id: Id | None = None
    change: Literal[
        "opened", "paged", "page-failed", "acknowledged", "intervening", "escalated", "resolved", "reopened"
    ]
    at: Timestamp
    by: Id | None = None
    step: Code | None = None
    channel: Code | None = None


class ReportPublished(EventData):
    month: Month
    report: Code
    published_at: Timestamp
    figures: Figures
