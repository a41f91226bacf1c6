"""What is kept of the events: facts, of which the one with the greater rank holds.

Where several things happened at one instant, as in a time-lapse, the graver one holds: superseded over moved,
cancelled over all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import ClassVar, Literal, Self

from pydantic import Field

from services.reporting.domain.figures import Figures
from shared.contracts.envelope import Event
from shared.contracts.events import (
    CaseClass,
    CaseClassified,
    CaseStatus,
    DutyChanged,
    EscalationRequired,
    FollowUpDue,
    FollowUpPlanned,
    FollowUpRecorded,
    Form,
    IncidentChanged,
    Outcome,
    Service,
    StaffUpdated,
)
from shared.contracts.facts import Fact, holding
from shared.contracts.ratings import OWN_BANDS, RATED, Rated
from shared.contracts.sampling import Finding, Said, SampleKind
from shared.mongo.documents import Document
from shared.policy.counting import month_of

PlanChange = Literal["planned", "moved", "superseded", "cancelled"]
DutyChange = Literal["opened", "late", "fulfilled", "cancelled"]

_PLAN_ORDER: Mapping[str, int] = {"planned": 0, "moved": 1, "superseded": 2, "cancelled": 3}
_DUTY_ORDER: Mapping[str, int] = {"opened": 0, "late": 1, "fulfilled": 2, "cancelled": 3}


class Graded(Fact):
    """A fact of which, at one instant, the graver one holds."""

    order: int

    @property
    def rank(self) -> tuple[datetime | int | str, ...]:
        return (self.time, self.order, self.source, self.event_id)


# --- follow-ups -----------------------------------------------------------------------------------------------


class Plan(Graded):
    """How a follow-up was last planned."""

    change: PlanChange
    rule: str
    clause: str
    case_class: CaseClass
    scheduled_for: datetime
    complete_by: datetime


class Record(Fact):
    """How a follow-up ended, without anything a client said."""

    outcome: Outcome
    form: Form
    by: str = ""
    """Who conducted it: a member of staff, as staff are known on the bus."""
    conducted_at: datetime
    recorded_at: datetime
    satisfaction: int | None
    flags: tuple[str, ...]
    scaled: bool
    """Whether a standard scale was filled in (A25)."""
    ratings: dict[Rated, str] = Field(default_factory=dict)
    """What the client rated, as bands (A15, A20, A21, A23, A26)."""
    dropped_reason: str | None


class FollowUp(Document):
    """One follow-up: the last word on its plan, and on its record."""

    collection: ClassVar[str] = "follow_ups"

    case_id: str | None = None
    month: str | None = None
    """The month of its scheduled day; None until the plan is known."""
    plan: Plan | None = None
    record: Record | None = None

    def planned(self, event: Event, data: FollowUpPlanned | FollowUpDue, zone: tzinfo) -> Self:
        """What is said to be due stands: it settles what was said at one and the same instant before."""
        change: PlanChange = data.change if isinstance(data, FollowUpPlanned) else "planned"
        told = Plan.of(
            event,
            order=_PLAN_ORDER[change],
            change=change,
            rule=data.rule,
            clause=data.clause,
            case_class=data.case_class,
            scheduled_for=data.scheduled_for,
            complete_by=data.complete_by,
        )
        plan = holding(self.plan, told)
        month = month_of(plan.scheduled_for, zone)
        return self.model_copy(update={"plan": plan, "month": month, "case_id": self.case_id or data.case_id})

    def recorded(self, event: Event, data: FollowUpRecorded) -> Self:
        told = Record.of(
            event,
            outcome=data.outcome,
            form=data.form,
            by=data.by,
            conducted_at=data.conducted_at,
            recorded_at=data.recorded_at,
            satisfaction=data.satisfaction,
            flags=data.flags,
            scaled=bool(data.bands.keys() - OWN_BANDS),
            ratings={name: data.bands[name] for name in RATED if name in data.bands},
            dropped_reason=data.dropped_reason,
        )
        return self.model_copy(
            update={"record": holding(self.record, told), "case_id": self.case_id or data.case_id}
        )


# --- duties ---------------------------------------------------------------------------------------------------


class DutyFact(Graded):
    """One change of a duty."""

    rule: str
    clause: str
    at: datetime
    due_at: datetime


class Duty(Document):
    """One duty: the last word of each kind that was said about it."""

    collection: ClassVar[str] = "duties"

    month: str
    """The month in which it is due."""
    facts: dict[DutyChange, DutyFact]

    @classmethod
    def changed(cls, known: Duty | None, event: Event, data: DutyChanged, zone: tzinfo) -> Duty:
        told = DutyFact.of(
            event,
            order=_DUTY_ORDER[data.change],
            rule=data.rule,
            clause=data.clause,
            at=data.at,
            due_at=data.due_at,
        )
        facts = dict(known.facts) if known else {}
        facts[data.change] = holding(facts.get(data.change), told)
        last = max(facts.values(), key=lambda fact: fact.rank)
        return cls(id=data.duty_id, month=month_of(last.due_at, zone), facts=facts)

    @property
    def last(self) -> DutyFact:
        return max(self.facts.values(), key=lambda fact: fact.rank)


class Escalation(Document):
    """A deadline that was missed or nearly so, or a page that nobody answered."""

    collection: ClassVar[str] = "escalations"

    month: str
    rule: str
    clause: str
    role: str
    urgency: str

    @classmethod
    def required(cls, data: EscalationRequired, zone: tzinfo) -> Escalation:
        return cls(
            id=data.escalation_id,
            month=month_of(data.due_at, zone),
            rule=data.rule,
            clause=data.clause,
            role=data.role,
            urgency=data.urgency,
        )


# --- incidents ------------------------------------------------------------------------------------------------


class Incident(Document):
    """One incident: when each thing first happened (what reopens it later does not move that).

    Drills are silent on the bus, so there are none among them.
    """

    collection: ClassVar[str] = "incidents"

    month: str
    """The month in which it was opened."""
    first: dict[str, datetime]
    """Kind of change to the earliest time of it."""
    first_paged: dict[str, datetime] = Field(default_factory=dict)
    """Step of the chain to the earliest page on it."""
    last: dict[str, datetime] = Field(default_factory=dict)
    """Kind of change to the latest time of it."""
    done: tuple[str, ...] = ()
    """What was done about it: steps of the assessment (A29), referrals and their answers (A31)."""

    @classmethod
    def changed(cls, known: Incident | None, data: IncidentChanged, zone: tzinfo) -> Incident:
        first = _earliest(known.first if known else {}, data.change, data.at)
        last = dict(known.last) if known else {}
        last[data.change] = max(last.get(data.change, data.at), data.at)
        pages = known.first_paged if known else {}
        if data.change == "paged" and data.step:
            pages = _earliest(pages, data.step, data.at)
        done = set(known.done) if known else set()
        if data.change in ("acknowledged", "intervening") and data.step:
            done.add(data.step)
        opened = first.get("opened") or min(first.values())
        return cls(
            id=data.incident_id,
            month=month_of(opened, zone),
            first=first,
            first_paged=pages,
            last=last,
            done=tuple(sorted(done)),
        )

    @property
    def opened_at(self) -> datetime:
        return self.first.get("opened") or min(self.first.values())

    @property
    def is_resolved(self) -> bool:
        resolved, reopened = self.last.get("resolved"), self.last.get("reopened")
        return resolved is not None and (reopened is None or resolved >= reopened)


def _earliest(known: Mapping[str, datetime], what: str, at: datetime) -> dict[str, datetime]:
    return {**known, what: min(known.get(what, at), at)}


# --- cases ----------------------------------------------------------------------------------------------------


class Case(Document):
    """A case as intake last classified it."""

    collection: ClassVar[str] = "cases"

    revision: int
    case_class: CaseClass
    status: CaseStatus
    opened: str | None = None
    closed: str | None = None
    dropped: str | None = None
    """The months in which it was opened, closed or dropped."""
    service: Service | None = None
    years: tuple[str, ...] = ()
    """The years in which it had a session."""
    scales: bool = False
    """Whether the client agreed to standard scales."""

    @classmethod
    def classified(cls, known: Case | None, data: CaseClassified, zone: tzinfo) -> Case:
        if known and known.revision >= data.revision:
            return known
        return cls(
            id=data.case_id,
            revision=data.revision,
            case_class=data.case_class,
            status=data.status,
            opened=month_of(data.opened_at, zone) if data.opened_at else None,
            closed=month_of(data.closed_at, zone) if data.closed_at else None,
            dropped=month_of(data.dropped_at, zone) if data.dropped_at else None,
            service=data.service,
            years=tuple(sorted({month_of(one.ended_at, zone)[:4] for one in data.session_ends})),
            scales=data.consents.scales,
        )


class IntakeData(Document):
    """A case whose intake data was reported complete (A18). Its id is the case's."""

    collection: ClassVar[str] = "intake_data"


# --- staff ----------------------------------------------------------------------------------------------------


class StaffWord(Fact):
    """What was told of a member of staff at one time."""

    roles: tuple[str, ...]
    certificate: str
    experience_months: int
    available: bool


class StaffMember(Document):
    """Everything that was told of a member of staff, in the order of time: a month is reported by what held in it."""

    collection: ClassVar[str] = "staff"

    words: tuple[StaffWord, ...]

    @classmethod
    def updated(cls, known: StaffMember | None, event: Event, data: StaffUpdated) -> StaffMember:
        told = StaffWord.of(
            event,
            roles=data.roles,
            certificate=data.certificate,
            experience_months=data.experience_months,
            available=data.available,
        )
        words = {word.rank: word for word in (*(known.words if known else ()), told)}
        return cls(id=data.staff_id, words=tuple(words[rank] for rank in sorted(words)))

    def as_of(self, until: datetime) -> StaffWord | None:
        """The last word before an instant."""
        return next((word for word in reversed(self.words) if word.time < until), None)


class YearRatings(Document):
    """What the ratings of some months of a year come to, counted by the database. Never stored; its id is the year."""

    collection: ClassVar[str] = "year_ratings"

    months: tuple[str, ...]
    without: frozenset[str] = frozenset()
    """Follow-ups of those months that were left out, since they are being changed."""
    staff: dict[str, tuple[int, int]] = Field(default_factory=dict)
    """Points and ratings, by who conducted the calls."""

    def counted(self, follow_up: FollowUp) -> bool:
        return follow_up.month in self.months and follow_up.id not in self.without


# --- samples --------------------------------------------------------------------------------------------------


class Sampled(Document):
    """A record or recording that was drawn to be checked, and what was found: the id leads to no client."""

    collection: ClassVar[str] = "sampled"

    month: str
    """The month of whose records it was drawn."""
    kind: SampleKind
    findings: dict[Finding, bool] = Field(default_factory=dict)

    @classmethod
    def told(cls, known: Sampled | None, key: str, said: Said) -> Sampled:
        """Each is said once for an item, and is never taken back, so that the order makes no difference."""
        findings = dict(known.findings) if known else {}
        if said.finding:
            findings[said.finding] = said.good
        return cls(id=key, month=said.month, kind=said.kind, findings=findings)


class Report(Document):
    """A month's report as it was published. It is never changed; its id is the month."""

    collection: ClassVar[str] = "reports"

    published_at: datetime
    figures: Figures
