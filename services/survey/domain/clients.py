"""What the survey must know of a client before anyone asks or writes to them (F10)."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.envelope import Event
from shared.contracts.events import ClientStatusChanged, ConsentChanged, IncidentChanged
from shared.mongo.documents import Document

Rank = tuple[datetime, str, str]
StopReason = Literal["withdrawn", "deceased", "incapable"]


class IncidentState(BaseModel):
    """Whether an incident is open, as of a time."""

    model_config = ConfigDict(frozen=True)

    open: bool
    as_of: datetime


class RecordingWord(BaseModel):
    """What the client once said about being recorded."""

    model_config = ConfigDict(frozen=True)

    rank: Rank
    allowed: bool


class Client(Document):
    """One client: consent to follow-ups and to recordings, status, incidents."""

    collection: ClassVar[str] = "clients"

    follow_up_allowed: bool = True
    """True until a `consent-changed` says otherwise."""
    consent_rank: Rank | None = None
    recording: tuple[RecordingWord, ...] = ()
    """Every word on recordings, in the order of their times: what counts is the one that held during the call (F72)."""
    barred: StopReason | None = None
    """Deceased and incapable stop everything, for good."""
    incidents: dict[str, IncidentState] = Field(default_factory=dict)

    @property
    def stopped(self) -> StopReason | None:
        """Why nobody may ask this client anything; None where they may."""
        return self.barred or (None if self.follow_up_allowed else "withdrawn")

    def recording_allowed(self, at: datetime) -> bool:
        """Whether the client had agreed to be recorded at that time; nobody has until they say so."""
        said = [word.allowed for word in self.recording if word.rank[0] <= at]
        return bool(said) and said[-1]

    @property
    def in_incident(self) -> bool:
        """Ordinary messages wait while an incident is open."""
        return any(state.open for state in self.incidents.values())


def consent(client: Client, event: Event, data: ConsentChanged) -> Client:
    """The latest word on follow-ups holds; a purpose that is not named keeps its last value. Of recordings every word
    is kept."""
    client = _recording(client, event, data)
    allowed = data.purposes.follow_up
    if allowed is None or (client.consent_rank and event.rank < client.consent_rank):
        return client
    return client.model_copy(update={"follow_up_allowed": allowed, "consent_rank": event.rank})


def _recording(client: Client, event: Event, data: ConsentChanged) -> Client:
    allowed = data.purposes.recording
    if allowed is None:
        return client
    words = {word.rank: word for word in (*client.recording, RecordingWord(rank=event.rank, allowed=allowed))}
    return client.model_copy(update={"recording": tuple(words[rank] for rank in sorted(words))})


def status(client: Client, data: ClientStatusChanged) -> Client:
    if data.status not in ("deceased", "incapable") or client.barred == "deceased":
        return client
    return client.model_copy(update={"barred": data.status})


def incident(client: Client, data: IncidentChanged) -> Client:
    """An incident is open from its first word until `resolved`, and again when reopened."""
    known = client.incidents.get(data.incident_id)
    if known and data.at < known.as_of:
        return client
    state = IncidentState(open=data.change != "resolved", as_of=data.at)
    return client.model_copy(update={"incidents": {**client.incidents, data.incident_id: state}})
