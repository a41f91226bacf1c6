"""The record sheet of a follow-up (F22, F56, F57, F60): what staff may record, and what it comes to."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal

from bson.binary import Binary
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from shared.contracts.envelope import Event, derive
from shared.contracts.events import CrisisFlagged, Flag, FollowUpRecorded, Form, MilestoneReached, Outcome
from shared.contracts.ratings import RATED, RATINGS
from shared.contracts.types import Code, Id, Timestamp
from shared.mongo.documents import Document
from shared.policy.model import Policy

from .clients import Client
from .follow_ups import FollowUp

SOURCE = "/aftercare/survey"

BY_QUESTIONNAIRE = "questionnaire"
"""Who conducted a follow-up that nobody conducted."""

TOLERANCE = timedelta(minutes=1)
"""How far the clock of a console may be ahead of ours."""

DroppedReason = Literal["price", "time", "no-effect", "counsellor", "solved", "moved", "other", "unknown"]


class RecordSheet(BaseModel):
    """What a follow-up person records: first the purpose said, then the follow-up, then the needs (F54)."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        json_schema_extra={
            "examples": [
                {
                    "form": "phone",
                    "conducted_at": "2026-03-17T10:20:00+08:00",
                    "outcome": "completed",
                    "satisfaction": 4,
                    "flags": ["needs-counselling"],
                    "bands": {"gad-7": "mild"},
                    "notes": "free text, kept encrypted; each reading of it is recorded",
                }
            ]
        },
    )

    form: Form
    conducted_at: Timestamp
    """When the follow-up took place; not in the future."""
    outcome: Outcome
    """`stopped-for-crisis` says the same as `crisis`."""
    satisfaction: Annotated[int, Field(ge=1, le=5, strict=True)] | None = None
    """1 to 5 (F19); only of a completed follow-up."""
    flags: tuple[Flag, ...] = ()
    """F57; only of a completed follow-up."""
    bands: dict[Code, Code] = Field(default_factory=dict)
    """Scale to band, `{"gad-7": "mild"}`; never answers. What a client rates (`communication`, `setting`, `emotion`,
    `recommendation`, `result-feedback`) is `good`, `fair` or `poor`."""
    dropped_reason: DroppedReason | None = None
    """F43; only of a client who stopped early."""
    notes: Annotated[str, Field(max_length=20_000)] | None = None
    """Free text. It is encrypted and never travels on the bus."""
    minutes: Annotated[int, Field(ge=0, le=600, strict=True)] | None = None
    """How long the call took (F22, F25). A length outside the policy's is pointed out, and not refused."""
    recorded: StrictBool | None = None
    """Whether a recording of the call exists (F72); refused where the client had not agreed to it by then."""
    conducted_by: Id | None = None
    """The follow-up person, where somebody else types the sheet in; else whoever is signed in."""
    crisis: StrictBool = False
    """F58: the person conducting it stopped because of danger. The crisis is flagged whatever else is wrong here."""
    signals: tuple[Code, ...] = ()
    """What was noticed, for the crisis flag: `suicidal-thoughts`, `self-harm`, `severe-anxiety` ..."""

    @property
    def is_crisis(self) -> bool:
        """A mark by staff, or severe anxiety by its scale (F58: GAD-7 at 15 or more)."""
        return self.crisis or self.outcome == "stopped-for-crisis" or self.bands.get("gad-7") == "severe"

    @property
    def crisis_signals(self) -> tuple[str, ...]:
        if self.signals:
            return self.signals
        return ("severe-anxiety",) if self.bands.get("gad-7") == "severe" else ("staff-mark",)

    def digest(self) -> str:
        """Tells a repetition from another record."""
        return hashlib.sha256(self.model_dump_json(exclude_none=True).encode()).hexdigest()


class Sheet(Document):
    """A record sheet as it is kept (F60)."""

    collection: ClassVar[str] = "sheets"
    model_config = ConfigDict(arbitrary_types_allowed=True)

    client_id: str
    case_id: str | None = None
    digest: str
    form: Form
    outcome: Outcome
    conducted_at: datetime
    recorded_at: datetime
    by: str
    satisfaction: int | None = None
    flags: tuple[str, ...] = ()
    bands: dict[str, str] = Field(default_factory=dict)
    dropped_reason: str | None = None
    minutes: int | None = None
    recorded: bool | None = None
    notes: Binary | None = None
    remarks: tuple[str, ...] = ()
    """What the answer to whoever recorded it pointed out."""


@dataclass(frozen=True)
class Objection:
    """Why a sheet cannot be taken."""

    status: Literal[403, 404, 409, 422]
    reason: str
    detail: str
    field: str | None = None


def objection(
    sheet: RecordSheet, follow_up: FollowUp, client: Client | None, now: datetime
) -> Objection | None:
    """The first thing that keeps the sheet from being taken. A crisis is held up by as little as possible (F58)."""
    if follow_up.state in ("cancelled", "superseded"):
        return Objection(
            409, f"follow-up-{follow_up.state}", f"the follow-up was {follow_up.state}: nothing is recorded"
        )
    if sheet.is_crisis:
        return None
    if sheet.conducted_at > now + TOLERANCE:
        return Objection(422, "in-the-future", "conducted_at lies in the future", "conducted_at")
    if sheet.form == "video" and follow_up.case_class != "key-attention":
        return Objection(422, "video-not-allowed", "F23: video is for key attention only", "form")
    if sheet.form == "questionnaire" and (sheet.recorded or sheet.minutes is not None):
        field = "recorded" if sheet.recorded else "minutes"
        return Objection(
            422, "no-call", "a questionnaire is no call: it has no length and no recording", field
        )
    if recorded_without_consent(sheet, client):
        return Objection(422, "no-recording-consent", NO_CONSENT, "recorded")
    if sheet.outcome != "completed" and (sheet.satisfaction is not None or sheet.flags):
        field = "satisfaction" if sheet.satisfaction is not None else "flags"
        return Objection(422, "not-completed", "only a completed follow-up has this", field)
    if any(sheet.bands.get(name, RATINGS[0]) not in RATINGS for name in RATED):
        return Objection(422, "unknown-band", f"what a client rates is {', '.join(RATINGS)}", "bands")
    if sheet.dropped_reason and follow_up.case_class != "dropped":
        return Objection(
            422, "not-dropped", "F43: only a client who stopped early gives a reason", "dropped_reason"
        )
    return None


NO_CONSENT = "F72: the client had not agreed to be recorded; the recording has to be destroyed"


def recorded_without_consent(sheet: RecordSheet, client: Client | None) -> bool:
    return bool(sheet.recorded) and not (client and client.recording_allowed(sheet.conducted_at))


@dataclass(frozen=True)
class Conducted:
    """How a follow-up ended, whoever or whatever conducted it."""

    form: Form
    conducted_at: datetime
    by: str
    outcome: Outcome
    satisfaction: int | None = None
    flags: tuple[str, ...] = ()
    bands: dict[str, str] | None = None
    dropped_reason: str | None = None
    minutes: int | None = None
    recorded: bool | None = None


def conducted(sheet: RecordSheet, by: str, now: datetime) -> Conducted:
    """What a taken sheet says. Stopped for a crisis, it has no satisfaction and no flags."""
    stopped = sheet.is_crisis
    return Conducted(
        form=sheet.form,
        conducted_at=min(sheet.conducted_at, now),
        by=by,
        outcome="stopped-for-crisis" if stopped else sheet.outcome,
        satisfaction=None if stopped else sheet.satisfaction,
        flags=() if stopped else sheet.flags,
        bands=dict(sheet.bands),
        dropped_reason=sheet.dropped_reason,
        minutes=sheet.minutes,
        recorded=sheet.recorded,
    )


LENGTHS: Mapping[Form, tuple[str, str]] = {"phone": ("phone-length", "F22"), "video": ("video-length", "F25")}
"""The policy's bound on the length of a call, and its clause."""


def length_remarks(sheet: RecordSheet, policy: Policy) -> tuple[str, ...]:
    """F22, F25: what to point out about the length of a call that took place as a whole."""
    if sheet.form not in LENGTHS or sheet.outcome != "completed" or sheet.is_crisis:
        return ()
    name, clause = LENGTHS[sheet.form]
    if sheet.minutes is None:
        return (f"{clause}: how long the call took was not told",)
    bound, length = policy.bound(name), timedelta(minutes=sheet.minutes)
    if bound.at_least and length < bound.at_least:
        return (f"{clause}: the call was shorter than {_minutes(bound.at_least)} minutes",)
    if bound.at_most and length > bound.at_most:
        return (f"{clause}: the call was longer than {_minutes(bound.at_most)} minutes",)
    return ()


def _minutes(span: timedelta) -> int:
    return int(span / timedelta(minutes=1))


def said(follow_up: FollowUp, how: Conducted, now: datetime) -> list[Event]:
    """`milestone-reached follow-up-conducted` opens the duty of F60, `follow-up-recorded` fulfils it."""
    cause = f"record {follow_up.id}"
    milestone = MilestoneReached(
        milestone="follow-up-conducted",
        subject=follow_up.id,
        case_id=follow_up.case_id,
        reached_at=how.conducted_at,
        by=how.by,
    )
    recorded = FollowUpRecorded(
        follow_up_id=follow_up.id,
        case_id=follow_up.case_id,
        client_id=follow_up.client_id,
        form=how.form,
        conducted_at=how.conducted_at,
        recorded_at=now,
        by=how.by,
        outcome=how.outcome,
        satisfaction=how.satisfaction,
        flags=how.flags,
        bands=how.bands or {},
        dropped_reason=how.dropped_reason,
    )
    return [
        derive(cause, SOURCE, milestone, time=now, topic="milestone-reached"),
        derive(cause, SOURCE, recorded, time=now, topic="follow-up-recorded"),
    ]


def crisis(
    follow_up: FollowUp,
    source: Literal["questionnaire", "follow-up"],
    signals: tuple[str, ...],
    now: datetime,
    by: str | None = None,
) -> Event:
    """F58: the flag that crisis pages on."""
    data = CrisisFlagged(
        client_id=follow_up.client_id,
        case_id=follow_up.case_id,
        follow_up_id=follow_up.id,
        flagged_at=now,
        source=source,
        signals=signals,
        level="high",
        flagged_by=by,
    )
    return derive(f"crisis {follow_up.id} {now.isoformat()}", SOURCE, data, time=now, topic="crisis-flagged")


def sheet_of(follow_up: FollowUp, how: Conducted, digest: str, notes: Binary | None, now: datetime) -> Sheet:
    return Sheet(
        id=follow_up.id,
        client_id=follow_up.client_id,
        case_id=follow_up.case_id,
        digest=digest,
        form=how.form,
        outcome=how.outcome,
        conducted_at=how.conducted_at,
        recorded_at=now,
        by=how.by,
        satisfaction=how.satisfaction,
        flags=how.flags,
        bands=how.bands or {},
        dropped_reason=how.dropped_reason,
        minutes=how.minutes,
        recorded=how.recorded,
        notes=notes,
    )
