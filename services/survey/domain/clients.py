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


class Client(Document):
    """One client: consent to follow-ups, status, incidents."""

    collection: ClassVar[str] = "clients"

    follow_up_allowed: bool = True
    """True until a `consent-changed` says otherwise."""
    consent_rank: Rank | None = None
    barred: StopReason | None = None
    """Deceased and incapable stop everything, for good."""
    incidents: dict[str, IncidentState] = Field(default_factory=dict)

    @property
    def stopped(self) -> StopReason | None:
        """Why nobody may ask this client anything; None where they may."""
        return self.barred or (None if self.follow_up_allowed else "withdrawn")

    @property
    def in_incident(self) -> bool:
        """Ordinary messages wait while an incident is open."""
        return any(state.open for state in self.incidents.values())


def consent(client: Client, event: Event, data: ConsentChanged) -> Client:
    """The latest word on follow-ups holds; a purpose that is not named keeps its last value."""
    allowed = data.purposes.follow_up
    if allowed is None or (client.consent_rank and event.rank < client.consent_rank):
        return client
    return client.model_copy(update={"follow_up_allowed": allowed, "consent_rank": event.rank})


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
