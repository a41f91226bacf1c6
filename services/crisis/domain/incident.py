"""What an incident is: its flags, the lines of its timeline, and what follows from them."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from services.crisis.record import Head
from shared.mongo.documents import Document

State = Literal["opened", "acknowledged", "intervening", "resolved"]
Level = Literal["watch", "high", "imminent", "drill", "unknown"]
"""As flagged; `unknown` for a flag that could not be read, which is taken as seriously as the worst."""
Kind = Literal[
    "flagged",
    "escalated",  # the chain went on to a later step, or a worse flag came
    "paged",
    "page-failed",
    "repeated",  # a page that somebody may have got before
    "delivered",  # a provider says that a text has arrived
    "undelivered",  # or that it, or a call, has not
    "answered",  # or that a call was taken
    "key-pressed",  # or which key was pressed on it
    "unanswered",  # the whole chain brought nobody
    "lapsed",  # acknowledged, but nobody intervened in time (A30)
    "acknowledged",
    "joined",  # a further person helps
    "intervening",
    "assessed",  # a step of the assessment was done (A29)
    "referred",  # to a hospital or an agency (A31)
    "responded",  # which answered
    "resolved",
    "reopened",
]
AssessmentStep = Literal["first-assessment", "in-depth-interview", "risk-assessment"]
"""A29: the three steps of an assessment."""
Agency = Literal["hospital", "social-agency"]

UNKNOWN = "unknown"
"""Stands for the client of a flag that could not be read."""
ERASED = "erased"
"""Stands for a client whose data had to go."""

RANK: dict[Level, int] = {"drill": 0, "watch": 1, "high": 2, "imminent": 3, "unknown": 3}


class Value(BaseModel):
    """A frozen part of a document."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Flag(Value):
    """What a crisis flag said, or where the one came from that could not be read."""

    unique: str
    digest: str
    client_id: str
    level: Level
    flagged_at: datetime
    received_at: datetime
    case_id: str | None = None
    follow_up_id: str | None = None
    source: str | None = None
    signals: tuple[str, ...] = ()
    origin: str | None = None
    """Of an unreadable flag: `topic[partition]@offset`, or `http`."""
    trace: str | None = None
    """The W3C `traceparent` of the flag, carried on by pages and events."""

    @property
    def name(self) -> str:
        return short_hash(self.unique)


class Contact(Value):
    """One person for whom a provider took a page."""

    person: str
    channel: str
    """The channel's kind, with its provider where it has several: `wecom`, `voice-aliyun`."""
    after: float = 0.0
    """The stage that reached them, by the seconds after which it is used."""
    later: tuple[float, ...] = ()
    """The stages that they have not been tried over, in the same way."""
    reference: str | None = None
    """The provider's id for it, by which its receipts come."""


class Moment(Value):
    """One line of a timeline."""

    id: str
    seq: int
    at: datetime
    kind: Kind
    by: str | None = None
    run: int = 0
    round: int = 0
    index: int = -1
    """Position in the chain; -1 for what lies outside it."""
    step: str | None = None
    role: str | None = None
    channel: str | None = None
    note: str | None = None
    reached: int = 0
    stage: float = 0.0
    """Of a page: seconds after the first of its step, for the later channels of those whom that reached."""
    contacts: tuple[Contact, ...] = ()
    """Whom a page reached, and how."""
    flag: Flag | None = None

    @property
    def order(self) -> tuple[datetime, int, str]:
        return (self.at, self.seq, self.id)


class Deadline(Value):
    """What an escalation of another service is about: paged like an incident, without a client."""

    rule: str
    clause: str
    role: str
    subject: str
    reason: str
    due_at: datetime
    case_id: str | None = None


class Incident(Document):
    """One crisis, drill or escalated deadline with everything that was done about it."""

    collection: ClassVar[str] = "incidents"

    client_id: str
    drill: bool = False
    deadline: Deadline | None = None
    aliases: tuple[str, ...] = ()
    """Ids under which other replicas opened it before they knew of each other; links to them stay good."""
    timeline: tuple[Moment, ...] = ()

    state: State = "opened"
    level: Level = "unknown"
    awaiting: bool = True
    """Somebody must (again) acknowledge: the chain runs."""
    opened_at: datetime | None = None
    since: datetime | None = None
    """When the flag was raised: F59 and A30 count from here."""
    run: int = 0
    run_at: datetime | None = None
    reopenings: int = 0
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    intervening_at: datetime | None = None
    resolved_at: datetime | None = None
    head_told_at: datetime | None = None
    head_tries: int = 0
    head_tried_at: datetime | None = None
    worse: str | None = None
    """A worse flag that those already paged have not been told of yet."""
    erase: bool = False
    """The client asked to be erased while the incident was open: done as soon as it is resolved."""
    next_at: datetime | None = None
    """The next step, as last written down."""
    flags_written: int = 0
    """How many flags stand in the record: of very many, the incident itself does not keep all (`pruned`)."""
    record: Head | None = None
    """Where the chain of what is written down ends (record.py); None before anything is."""

    @property
    def crisis(self) -> bool:
        """Neither a drill nor an escalated deadline: F59 and A30 hold, and others are told of it."""
        return not self.drill and self.deadline is None

    @property
    def open(self) -> bool:
        return self.state != "resolved"

    @property
    def sole(self) -> bool:
        """An open crisis, of which a client has one."""
        return self.open and self.crisis and self.client_id != ERASED

    @property
    def case_id(self) -> str | None:
        cases = [m.flag.case_id for m in self.timeline if m.flag and m.flag.case_id]
        return cases[-1] if cases else None

    @property
    def flags(self) -> tuple[Flag, ...]:
        return tuple(moment.flag for moment in self.timeline if moment.flag)

    def to_mongo(self) -> dict[str, Any]:
        """With the fields that are only there to be found by."""
        return super().to_mongo() | {"open": self.open, "sole": self.sole}


class NotPossible(Exception):
    """A command that the incident's state does not allow; the message says what to do instead."""


def short_hash(text: str) -> str:
    """An id that follows from a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]
