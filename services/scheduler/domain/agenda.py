"""What stands on the agenda. Every item has one `next_at`, at which it fires; None where it waits for nothing.

All kinds lie in one collection: one query finds what is due, and one finds everything about a case or follow-up.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, computed_field

from services.scheduler.domain.consent import Word
from shared.contracts.events import CaseClass, CaseClassified, FollowUpDue, Form
from shared.contracts.types import write_time
from shared.mongo.documents import Document

SLOTS = 16
"""Into so many slots the timers are hashed; replicas share them by leasing slots."""


def name_of(*parts: str) -> str:
    """A deterministic id of the things named, 32 hexadecimal digits."""
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]


class Item(Document):
    """Something on the agenda. `subject` is what it is about: a follow-up's own id, or what the rule joins on."""

    collection: ClassVar[str] = "agenda"

    rule: str
    clause: str
    subject: str
    case_id: str | None = None
    client_id: str | None = None
    next_at: datetime | None = None
    fired: int = 0
    """How often it has fired: tells two firings at the same instant apart."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def slot(self) -> int:
        return zlib.crc32(self.id.encode()) % SLOTS


FollowUpState = Literal[
    "planned", "due", "missed", "cancelled", "superseded",
    "completed", "refused", "unreachable", "stopped-for-crisis",
]  # fmt: skip

ENDED: frozenset[str] = frozenset({"completed", "refused", "unreachable", "stopped-for-crisis"})
"""Conducted, or tried to the end: nothing that happens to the case later changes it."""


class FollowUp(Item):
    kind: Literal["follow-up"] = "follow-up"
    owner: str
    """The case or incident that asks for it."""
    step: str
    case_class: CaseClass
    anchor: datetime
    scheduled_for: datetime
    complete_by: datetime
    forms: tuple[Form, ...]
    template: str
    provisional: bool
    state: FollowUpState
    reason: str
    due_at: datetime | None = None
    """When `follow-up-due` was published; once, also when the follow-up moves later."""
    conducted_at: datetime | None = None
    """When the client was asked, where the record is still awaited."""
    planned_at: datetime | None = None
    """When it was planned for this time: what is later than the month's approved plan amends it (F45)."""
    held_for: str | None = None
    """The month whose plan it amends, where its work should have begun and waits for the manager's signature."""

    @property
    def pending(self) -> bool:
        return self.state in ("planned", "due", "missed") and self.conducted_at is None

    def due(self) -> FollowUpDue:
        """What is told when the work begins."""
        return FollowUpDue(
            follow_up_id=self.id,
            case_id=self.case_id,
            client_id=str(self.client_id),
            rule=self.rule,
            clause=self.clause,
            case_class=self.case_class,
            scheduled_for=self.scheduled_for,
            complete_by=self.complete_by,
            forms=self.forms,
            template=self.template,
        )


DutyState = Literal["open", "late", "fulfilled", "cancelled"]
_LAST_WORD: tuple[DutyState, ...] = ("fulfilled", "cancelled", "late")
"""Of what was told of a duty, the first of these says how it stands."""


class DutyFact(BaseModel):
    """One thing that happened to what a duty is about, as its rule reads it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["opened", "fulfilled", "cancelled", "resumed"]
    at: datetime
    topic: str
    start: datetime | None = None
    """Of an opening: the instant from which the limit counts."""
    undoable: bool = False
    """Of a cancellation: a later `resumed` shows that it did not last."""


class Duty(Item):
    """Something a role must do. `published` says what the others know already.

    What a rule asks for about one subject may have to be done several times: a case is opened again, or the duty
    repeats. The first of them, whose id is made of rule and subject alone, keeps the facts for all.
    """

    kind: Literal["duty"] = "duty"
    role: str
    facts: tuple[DutyFact, ...] = ()
    stands: bool = True
    """Of the one that keeps the facts: whether the rule is for this case at all, by the case's service."""
    opened_at: datetime | None = None
    due_at: datetime | None = None
    provisional: bool = False
    fulfilled_at: datetime | None = None
    cancelled_at: datetime | None = None
    withdrawn: bool = False
    """Cancelled because the rule is not for this case, or the facts that were known did not ask for it. Should they
    after all, another one opens in its place."""
    warned: bool = False
    published: tuple[str, ...] = ()

    @property
    def open(self) -> bool:
        return "opened" in self.published and not {"fulfilled", "cancelled"} & set(self.published)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def state(self) -> DutyState | None:
        """As it was told, stored to be found by; None where nobody was told of it, and only its facts are kept."""
        for state in _LAST_WORD:
            if state in self.published:
                return state
        return "open" if "opened" in self.published else None


class Reminder(Item):
    kind: Literal["reminder"] = "reminder"
    what: str
    to: str
    state: Literal["waiting", "held", "sent", "cancelled"] = "waiting"
    said_at: datetime | None = None
    """When what it is about was last said."""
    pointless_from: datetime | None = None
    """When what it announces has come; None where it announces nothing."""
    told_of: datetime | None = None
    """The time of which somebody was told last, where somebody was; of what announces nothing, when its case went on
    after it."""
    since: datetime | None = None
    """Since when a client has been silent, where it asks about that: once for each silence."""

    @property
    def told_as(self) -> str:
        """The id under which it is told: each silence, each new time of what had been announced, and what comes once
        more after its case went on, has its own."""
        if self.since:
            return name_of(self.id, write_time(self.since))
        if self.told_of:
            return name_of(self.id, write_time(self.pointless_from or self.told_of))
        return self.id


class Date(Item):
    """The next coming of a date of the regime. `month` is the month that the work is about."""

    kind: Literal["date"] = "date"
    month: str
    due_at: datetime
    provisional: bool = False


AnyItem = FollowUp | Duty | Reminder | Date

_ITEM: TypeAdapter[AnyItem] = TypeAdapter(Annotated[AnyItem, Field(discriminator="kind")])


def item(stored: Mapping[str, Any]) -> AnyItem:
    """An item as it was read from the agenda."""
    return _ITEM.validate_python(stored)


class KnownCase(Document):
    """The newest classification of a case."""

    collection: ClassVar[str] = "cases"

    revision: int
    client_id: str
    body: bytes
    """The classification as it stood on the bus."""

    def classified(self) -> CaseClassified:
        return CaseClassified.from_json(self.body)


class Told(BaseModel):
    """An event of a case as it stood on the bus, and when it happened."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: str
    at: datetime
    body: bytes


class CaseEvents(Document):
    """The events of a case that rules may still have to be told of: of a service-bound duty once the service is known,
    of a reminder once it is opened. `id` is the case id."""

    collection: ClassVar[str] = "case_events"

    client_id: str
    service: str | None = None
    """The service as it is known to the rules."""
    referred: bool = False
    """The client was referred: nothing of counselling is owed (W26)."""
    told: tuple[Told, ...] = ()
    gone: bool = False
    """The client died, is incapable or was erased: the case opens nothing again."""


Part = Literal["cases", "clients", "duties", "dates", "done"]
"""What a new version of the policy is applied to, one after the other."""


class Applied(Document):
    """How far a version has been applied to what was there when it began. `id` is the version's name."""

    collection: ClassVar[str] = "versions"

    part: Part = "cases"
    after: str = ""
    """Of that part, everything up to this id is done."""


class Resolved(BaseModel):
    """An incident that ended, and so asks for continued care (A32)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    incident_id: str
    case_id: str | None = None
    at: datetime


class KnownClient(Document):
    """What concerns all cases of a client."""

    collection: ClassVar[str] = "clients"

    gone: Literal["deceased", "incapable", "erased"] | None = None
    """For good: nothing is asked of this client again."""
    open_incidents: tuple[str, ...] = ()
    resolved: tuple[Resolved, ...] = ()
    words: tuple[Word, ...] = ()
    """Everything that the client said on follow-ups."""
