"""What the ledger keeps of each kind of event, with the rank by which one of them holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from shared.contracts.events import AttentionState, Mode, Service
from shared.contracts.facts import Fact


class Opening(Fact):
    """What was agreed, and what admission was decided on. What was not said is None."""

    opened_at: datetime
    service: Service
    counsellor_id: str
    agreed_sessions: int
    enterprise_id: str | None = None
    age: int | None = None
    employment: str | None = None
    acute_crisis: bool = False
    severe_illness: bool = False
    agreements_signed: bool | None = None


class Closing(Fact):
    closed_at: datetime
    below_expectation: bool


class Dropping(Fact):
    dropped_at: datetime


class Session(Fact):
    session_no: int
    mode: Mode | None = None
    started_at: datetime | None = None
    ended_at: datetime
    marks: tuple[str, ...] = ()


class Said(Fact):
    """A statement on key attention."""

    reason: str
    state: AttentionState
    decided_by: str
    at: datetime


class Recorded(Fact):
    """How a client was at a follow-up: scale to band."""

    follow_up_id: str
    conducted_at: datetime
    bands: Mapping[str, str] = {}


class Granted(Fact):
    """A client's word on one purpose."""

    allowed: bool
