"""The regime as typed, frozen rows. Each row carries the id of its clause; texts are in `regime.yaml`.

Names of events, fields and milestones are those of the published contracts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, Field, PlainValidator, model_validator

from shared.contracts.events import CaseClass, CaseStatus, Form, Service
from shared.contracts.types import Code, Strict
from shared.policy.conditions import Condition, field_of
from shared.policy.counting import Period, parse_duration
from shared.policy.forms import AnyField

REGIME = Path(__file__).with_name("regime.yaml")

AppliesTo = Literal["closed", "closed-with-attention", "open", "dropped", "incident-resolved"]
Anchor = Literal["closed_at", "session-end", "dropped_at", "resolved_at"]
_ANCHORS: Mapping[AppliesTo, Anchor] = {
    "closed": "closed_at",
    "closed-with-attention": "closed_at",
    "open": "session-end",
    "dropped": "dropped_at",
    "incident-resolved": "resolved_at",
}
"""From what the days of a follow-up are counted."""
Topic = Code
FieldName = Annotated[str, Field(pattern=r"^[a-z_]+([.:][a-z_]+)*$")]


def _period(value: object) -> Period:
    return value if isinstance(value, Period) else Period.parse(str(value))


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _hour(value: object) -> object:
    return time.fromisoformat(value) if isinstance(value, str) else value


def _zone(value: object) -> ZoneInfo:
    try:
        return value if isinstance(value, ZoneInfo) else ZoneInfo(str(value))
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"{value!r} is no time zone") from error


Clause = Annotated[str, Field(pattern=r"^[FAW][1-9][0-9]?$")]
Span = Annotated[Period, PlainValidator(_period)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
Hour = Annotated[time, BeforeValidator(_hour)]
Zone = Annotated[ZoneInfo, PlainValidator(_zone)]
Share = Annotated[float, Field(ge=0, le=1)]
Whole = Annotated[int, Field(ge=0, le=1000)]


class Row(Strict):
    """What every row has: its name, its clause, and the further clauses that it carries along."""

    name: Code
    clause: Clause
    also: tuple[Clause, ...] = ()
    note: str | None = None

    @property
    def clauses(self) -> tuple[str, ...]:
        return (self.clause, *self.also)


class ClassRule(Row):
    """What makes a case belong to a class (F11-F14). Of the rows, in their order, the first that fits holds."""

    name: CaseClass
    status: Annotated[tuple[CaseStatus, ...], Field(min_length=1)]
    sessions_from: Whole = 0
    """So many completed sessions at least."""
    attention: bool = False
    """Only under key attention, proposed or decided."""
    marks: tuple[Code, ...] = ()
    """What calls for key attention by name. A counsellor may use other marks: they do as well."""

    def fits(self, status: CaseStatus, sessions: int, attention: bool) -> bool:
        return status in self.status and sessions >= self.sessions_from and (attention or not self.attention)


class Approval(Row):
    """Who approved a version, by role or by staff id, and on which day (W7). Nobody's name."""

    name: Code = "approval"
    clause: Clause = "W7"
    by: Annotated[str, Field(pattern=r"^(role:[a-z0-9\-]{1,64}|staff:[A-Za-z0-9_.:\-]{1,64})$")]
    day: date


class Gate(Row):
    """A thing that a service refuses, and the reason code that it gives."""

    service: Literal["intake", "scheduler", "survey", "crisis", "reporting"]
    reason: Code


class FollowUpRule(Row):
    """When a follow-up is due. Several rows may share a name; `step` tells them apart and goes into the id.

    `within` set: the follow-up is scheduled inside that limit, which is also its `complete_by`. Else
    `complete_after` counts from the scheduled day.
    """

    step: Code
    applies_to: AppliesTo
    anchor: Anchor
    every_sessions: Annotated[int, Field(ge=1)] | None = None
    after: Span
    within: Span | None = None
    complete_after: Span | None = None
    move: Literal["working-day", "inside-limit", "any-day"]
    forms: Annotated[tuple[Form, ...], Field(min_length=1)]
    template: Code

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.within is None) == (self.complete_after is None):
            raise ValueError("give either within or complete_after")
        if (self.within is None) == (self.move == "inside-limit"):
            raise ValueError("move is inside-limit exactly where within is given")
        if (self.every_sessions is None) == (self.anchor == "session-end"):
            raise ValueError("every_sessions is given exactly where the anchor is session-end")
        if self.anchor != _ANCHORS[self.applies_to]:
            raise ValueError(f"what applies to {self.applies_to} counts from {_ANCHORS[self.applies_to]}")
        if self.within and (self.within.months, self.within.days) < (self.after.months, self.after.days):
            raise ValueError("after must not lie beyond within: the day would be past its own limit")
        return self


class Trigger(Strict):
    """An event that opens, fulfils or cancels. `milestone` narrows `milestone-reached` to one of its kinds."""

    event: Topic
    milestone: Code | None = None
    when: Condition | None = None

    @model_validator(mode="after")
    def _names_its_milestone(self) -> Self:
        if (self.milestone is None) == (self.event == "milestone-reached"):
            raise ValueError("milestone is given exactly where the event is milestone-reached")
        return self


class Ending(Trigger):
    """An event that cancels. `undone_by`: what shows that it did not last, such as a session after `client-dropped`."""

    undone_by: Trigger | None = None


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, dict) else tuple(value) if isinstance(value, list) else value


Endings = Annotated[tuple[Ending, ...], BeforeValidator(_one_or_more)]
"""One trigger, or a list of them: whichever comes."""


class Limit(Strict):
    """Exactly one measure, counted from the opening, or back from the time in the field `before`."""

    hours: Whole | None = None
    days: Whole | None = None
    working_days: Whole | None = None
    months: Whole | None = None
    before: FieldName | None = None
    service_hours: bool = False
    """Hours that run while somebody is there to answer, where the switch `hours_run` says so."""

    @model_validator(mode="after")
    def _is_one_measure(self) -> Self:
        if len(self.model_fields_set - {"before", "service_hours"}) != 1:
            raise ValueError("a limit is exactly one of: hours, days, working_days, months")
        if self.before and self.months is not None:
            raise ValueError("a limit before a time counts hours, days or working_days")
        if self.service_hours and (self.hours is None or self.before):
            raise ValueError("service_hours is for hours that are counted from the opening")
        return self


class EventRule(Row):
    """A row that an event opens.

    `subject` names the field by which a later event finds what was opened (`a:b` joins two of them); in
    `milestone-reached` that field is always `subject`.
    """

    opened_by: Trigger
    cancelled_by: Endings = ()
    subject: FieldName

    def subject_of(self, topic: str, event_data: Mapping[str, Any] | BaseModel) -> str | None:
        """What the event is about, in this rule's eyes; None where the event does not say."""
        path = "subject" if topic == "milestone-reached" else self.subject
        parts = [field_of(event_data, name) for name in path.split(":")]
        return None if None in parts else joined(*parts)


def joined(*parts: object) -> str:
    """The subject of what has several parts, such as the session of a case.

    An id has at most 64 characters, and so has a subject: two long ones are joined into a hash.
    """
    subject = ":".join(map(str, parts))
    return subject if len(subject) <= 64 else hashlib.sha256(subject.encode()).hexdigest()[:32]


class DutyRule(EventRule):
    """Something a role must do by a deadline. `service` set: only for cases of that service."""

    role: Code
    service: Service | None = None
    fulfilled_by: Trigger
    repeats: bool = False
    """Once fulfilled it opens again, until it is cancelled."""
    limit: Limit
    warn_before: Duration | None = None
    escalate_to: Code
    urgency: Literal["notify", "page"] = "notify"

    @model_validator(mode="after")
    def _warns_in_time(self) -> Self:
        hours = None if self.limit.before else self.limit.hours
        if self.warn_before and hours is not None and self.warn_before >= timedelta(hours=hours):
            raise ValueError("warn_before is as long as the limit: nobody would ever be warned")
        return self


class MonthlyDate(Strict):
    """A day of the month that lies `month_offset` months after the month the work is about."""

    day_of_month: Annotated[int, Field(ge=1, le=28)]
    month_offset: Annotated[int, Field(ge=-12, le=12)]
    every_months: Annotated[int, Field(ge=1, le=12)] = 1
    """3: only for the last month of a quarter, 6: of a half-year, 12: of a year."""

    @model_validator(mode="after")
    def _divides_the_year(self) -> Self:
        if 12 % self.every_months:
            raise ValueError("every_months must divide 12")
        return self


class CalendarRule(Row):
    """A date of the regime. `what` is a code for the thing to do."""

    role: Code
    what: Code
    due: MonthlyDate
    move: Literal["earlier-in-month", "working-day", "any-day"] | None = None
    """Where a day off moves this one date; else the switch `dates_on_days_off` says it for all."""
    ahead: Span | None = None
    """So long before, at the regime's hour, the role is reminded; nobody is where it is left out."""


LAST_SEEN = "last_seen"
"""Of `case-classified`: the end of the last session, or the opening where it is later. The field by which a rule asks
about a silence."""


class ReminderRule(EventRule):
    """A message at a time: `before` or `after` the time in the event's `field`, unless `cancelled_by` came first."""

    what: Code
    to: Annotated[str, Field(pattern=r"^(client|role:[a-z0-9\-]{1,64})$")]
    to_staff: FieldName | None = None
    """The field that names the one person who is told; `to` where it is absent."""
    field: FieldName
    before: Duration = timedelta()
    after: Duration = timedelta()

    @model_validator(mode="after")
    def _has_one_direction(self) -> Self:
        if self.before and self.after:
            raise ValueError("give either before or after")
        return self


class Target(Row):
    """What a rate is measured against: `value` is reached from below, or (`at_most`) not passed."""

    value: float
    unit: Literal["share", "points", "yuan"] = "share"
    sense: Literal["at-least", "at-most"] = "at-least"

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.unit == "share" and not 0 <= self.value <= 1:
            raise ValueError("a share lies between 0 and 1: 90 % is 0.9")
        return self


class Bound(Row):
    """How long, or how far ahead, something must or may be."""

    at_least: Duration | None = None
    at_most: Duration | None = None


class Frequency(Row):
    """How many times a week something is held."""

    at_least: Whole
    at_most: Whole


class CountBound(Row):
    """How many something must at least or may at most be."""

    at_least: Whole
    at_most: Whole


SignedIn = Literal["publisher", "operations", "counsellor", "customer-service", "supervisor", "manager"]
"""The roles of sign-in that a form may be for (a test holds them to those of `shared.web.auth`)."""


class IntakeForm(Row):
    """What is written down about a case or a booking and kept by intake, sealed."""

    about: Literal["case", "booking"] = "case"
    services: tuple[Service, ...] = ()
    """Only for cases of these; for any where none is named. Of a booking it is not known."""
    written_by: Annotated[tuple[SignedIn, ...], Field(min_length=1)]
    read_by: Annotated[tuple[SignedIn, ...], Field(min_length=1)]
    milestone: Code | None = None
    """What is reported as done once every required field is filled in."""
    fields: Annotated[tuple[AnyField, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _asks_each_thing_once(self) -> Self:
        names = Counter(field.name for field in self.fields)
        if repeated := [name for name, times in names.items() if times > 1]:
            raise ValueError(f"the form has two fields {repeated[0]}: keep one of them")
        if self.about == "booking" and self.services:
            raise ValueError("services is for forms about a case: intake does not know a booking's")
        if self.about == "booking" and any(getattr(field, "in_file", False) for field in self.fields):
            raise ValueError("a booking has no case file: in_file is for forms about a case")
        return self


class HealthGate(Row):
    """Who needs other help than counselling: each field of an opening's `eligibility` that refuses where it is true."""

    refused: tuple[Literal["acute_crisis", "severe_illness"], ...]


class IndividualsGate(Row):
    """Who may come on their own account, both ages included. An age or employment that is not known refuses nobody."""

    youngest: Annotated[int, Field(ge=0, le=150)]
    oldest: Annotated[int, Field(ge=0, le=150)]
    employment: tuple[Literal["employed", "about-to-start", "none"], ...]

    @model_validator(mode="after")
    def _admits_somebody(self) -> Self:
        if self.youngest > self.oldest:
            raise ValueError("youngest must not be above oldest")
        return self


class EnterprisesGate(Row):
    """What the opening of an enterprise's case must have beside `enterprise_id`."""

    agreements: bool
    """Whether `agreements_signed: false` refuses it."""


class Eligibility(Strict):
    """Who is refused and referred. Services that are not named refuse nobody."""

    services: tuple[Service, ...]
    health: HealthGate
    individuals: IndividualsGate
    enterprises: EnterprisesGate


class Severe(Row):
    """The bands of a scale from which key attention is inferred."""

    scale: Code
    bands: tuple[Code, ...]


class AttentionRules(Strict):
    """How key attention is inferred by a machine (collision 6)."""

    severe: tuple[Severe, ...]


class Sample(Row):
    """The share of last month's items that is drawn and checked."""

    share: Share


class Certificate(Row):
    """A certificate that counts as level 3 or higher (F28)."""


class Seat(Row):
    """How many people sit in the expert group for one thing: who has all of these roles, and enough experience (W6)."""

    roles: Annotated[tuple[Code, ...], Field(min_length=1)]
    experience_months: Whole = 0
    count: Annotated[int, Field(ge=1, le=100)]


class Staffing(Strict):
    """Who may conduct follow-ups (F28, F29, F31, F32), is rewarded (F76), and makes up the expert group (W6, W9)."""

    certificates: tuple[Certificate, ...]
    experience_months: Whole
    training_hours_a_month: Whole
    exam_every_year: bool
    rewarded_from_ratings: Whole = 10
    """F76: who was rated less often in a year is not ranked: a single good score says little."""
    expert_group: tuple[Seat, ...] = ()
    scene_experience: tuple[Code, ...] = ()
    """W9: the roles by which `staff-updated` tells of a counsellor's experience with starting or changing a post."""


class ServiceHours(Strict):
    """When somebody is there to answer: from one time of day to another, every day or on working days."""

    opens: Hour
    closes: Hour
    days: Literal["every-day", "working-days"]

    @model_validator(mode="after")
    def _opens_first(self) -> Self:
        if self.opens >= self.closes:
            raise ValueError("service hours open before they close, on the same day")
        return self


class Switches(Strict):
    """Decisions of ours where the regime leaves room, or where its clauses collide (the number is the collision's).

    The defaults are what we do. Changing one is a new version of the policy, not new code.
    """

    zone: Zone
    hour: Hour
    work_begins_before: Duration
    silent_after: Duration
    """5: after so long without a session the counsellor is asked whether the client stopped."""
    call_attempts: Annotated[int, Field(ge=1, le=5)]
    after_the_plan: Literal["amendment", "signed-first"] = "amendment"
    """1: a follow-up that arises once the month's plan is approved goes ahead as an amendment to it, or waits until the
    amendment is signed. Care after a crisis (A32) never waits."""
    coverage_of: Literal["due", "due-less-refusals"] = "due"
    """2: which of the two coverage rates is held against its target (F37, F39, F41). Both are always reported."""
    raised_after_closing: Literal["gains-missing", "keeps-plan"] = "gains-missing"
    """3: a case raised to key attention after its closing gains the follow-ups of F40, or keeps those of F36."""
    overtaken_by_ending: Literal["superseded", "kept"] = "superseded"
    """4: what becomes of a follow-up in counselling that the case's ending overtook (F38)."""
    proposed_attention: Literal["counts", "waits"] = "counts"
    """6: until a person decides on it, proposed key attention brings the stricter plan, or nothing."""
    follow_ups_on_days_off: Literal["later", "earlier", "not"] = "later"
    """7: where a follow-up with `move: working-day` goes that falls on a day off: to the next working day, to the
    last one before (never back to the anchor's day: then to the next), or nowhere."""
    within_on_days_off: Literal["inside-limit", "not"] = "inside-limit"
    """7: where a follow-up with `move: inside-limit` goes (F38, F42)."""
    dates_on_days_off: Literal["earlier", "later", "not"] = "earlier"
    """7: where "by the 5th" goes: earlier but never out of its month, to the next working day, or nowhere."""
    month_end: Literal["last-day", "next-month"] = "last-day"
    """7: a day that the month does not have is its last, or the first of the next (31 August + 6 months)."""
    first_day_counts: bool = False
    """7: whether days, working days and months count from the first day on, which makes each a day shorter."""
    hours_on_days_off: Literal["run", "rest"] = "run"
    """7: hours run at once, or stand still on days off. Limits in service hours keep the days of those instead."""
    unknown_year: Literal["weekends-off", "all-worked"] = "weekends-off"
    """8: which days of a year without notice are off. Either way the date is provisional."""
    unconfirmed_sessions: Literal["marked", "refused"] = "marked"
    """W43: whether a session that is scheduled over HTTP before the client has confirmed the plan is refused. One that
    was held is marked either way."""
    service_hours: ServiceHours | None = None
    working_hours: ServiceHours = ServiceHours(opens=time(9), closes=time(18), days="working-days")
    """When staff are told of escalations that do not page."""
    hours_run: Literal["on-the-clock", "in-service-hours"] = "on-the-clock"
    """How the limits run that ask for service hours."""

    @model_validator(mode="after")
    def _knows_its_service_hours(self) -> Self:
        if self.hours_run == "in-service-hours" and self.service_hours is None:
            raise ValueError("hours_run in-service-hours needs service_hours")
        return self


class CrisisStep(Strict):
    name: Code
    role: Code
    after: Duration


class Repeat(Strict):
    """`until` that age of the incident, page again at this interval; the last one has no end."""

    every: Duration
    until: Duration | None = None
    begin_at: Code | None = None
    """The step of the chain at which these rounds begin; the first, if none is named."""


class CrisisChain(Row):
    """Who is paged when, counted from the flag (F59, A30). After the last step it starts again."""

    escalation: Annotated[tuple[CrisisStep, ...], Field(min_length=1)]
    head_role: Code
    head_within: Duration
    intervention_within: Duration
    repeat: Annotated[tuple[Repeat, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_never_silent(self) -> Self:
        after = [step.after for step in self.escalation]
        if after != sorted(set(after)) or after[0]:
            raise ValueError("escalation steps start at 0 min and each comes later than the one before")
        if not any(s.role == self.head_role and s.after <= self.head_within for s in self.escalation):
            raise ValueError("F59: a step must reach head_role no later than head_within")
        ends = [repeat.until for repeat in self.repeat]
        inner = [end for end in ends[:-1] if end is not None]
        if ends[-1] or len(inner) != len(ends) - 1 or inner != sorted(set(inner)):
            raise ValueError(
                "repeat: every interval but the last needs an until, each later than the one before"
            )
        if not all(repeat.every for repeat in self.repeat):
            raise ValueError("repeat: every must be longer than nothing")
        unknown = {repeat.begin_at for repeat in self.repeat} - {
            None,
            *(step.name for step in self.escalation),
        }
        if unknown:
            raise ValueError(
                f"repeat: begin_at names no step of the escalation: {', '.join(map(str, unknown))}"
            )
        return self

    def repetition(self, age: timedelta) -> Repeat:
        """How an incident of this age is paged again."""
        return next(repeat for repeat in self.repeat if repeat.until is None or age < repeat.until)


R = TypeVar("R", bound=Row)


class Policy(Strict):
    """The whole regime, as of a version."""

    version: Code
    effective_from: date
    approved: Approval
    roles: tuple[Code, ...]
    milestones: tuple[Code, ...]
    """Every milestone that somebody reports. A duty that waits for another could never be fulfilled."""
    switches: Switches
    classes: tuple[ClassRule, ...]
    gates: tuple[Gate, ...]
    follow_ups: tuple[FollowUpRule, ...]
    duties: tuple[DutyRule, ...]
    calendar: tuple[CalendarRule, ...]
    reminders: tuple[ReminderRule, ...]
    targets: tuple[Target, ...]
    samples: tuple[Sample, ...]
    bounds: tuple[Bound, ...]
    frequencies: tuple[Frequency, ...]
    counts: tuple[CountBound, ...] = ()
    forms: tuple[IntakeForm, ...] = ()
    eligibility: Eligibility
    attention: AttentionRules
    staffing: Staffing
    crisis: CrisisChain

    @model_validator(mode="after")
    def _every_case_has_a_class(self) -> Self:
        for status in get_args(CaseStatus):
            if not any(rule.fits(status, 0, False) for rule in self.classes):
                raise ValueError(f"classes: no row fits a case that is {status} and had no session")
        return self

    def class_of(self, status: CaseStatus, sessions: int, attention: bool) -> CaseClass:
        """The class of a case: how it stands, its completed sessions, whether key attention is proposed or decided."""
        return next(rule.name for rule in self.classes if rule.fits(status, sessions, attention))

    def is_care_after_a_crisis(self, rule: str) -> bool:
        """Whether a follow-up rule of that name is for an incident (A32)."""
        return any(row.name == rule and row.applies_to == "incident-resolved" for row in self.follow_ups)

    def rows(self) -> Iterator[Row]:
        """Every row that carries a clause."""
        yield self.approved
        yield from self.classes
        yield from self.gates
        yield from self.follow_ups
        yield from self.duties
        yield from self.calendar
        yield from self.reminders
        yield from self.targets
        yield from self.samples
        yield from self.bounds
        yield from self.frequencies
        yield from self.counts
        yield from self.forms
        yield from (self.eligibility.health, self.eligibility.individuals, self.eligibility.enterprises)
        yield from self.attention.severe
        yield from self.staffing.certificates
        yield from self.staffing.expert_group
        yield self.crisis

    def of_clause(self, clause: str) -> tuple[Row, ...]:
        """The rows that carry a clause, for explaining it."""
        return tuple(row for row in self.rows() if clause in row.clauses)

    def rule(self, name: str, step: str | None = None) -> Row:
        """The row of that name. Raises KeyError, also where `step` is needed to choose among several."""
        found = [
            row
            for row in self.rows()
            if row.name == name and (step is None or (isinstance(row, FollowUpRule) and row.step == step))
        ]
        if len(found) != 1:
            wanted = name if step is None else f"{name} {step}"
            raise KeyError(
                f"the policy has {len(found)} rows named {wanted}" + (": name its step" * bool(found))
            )
        return found[0]

    def follow_up(self, name: str, step: str | None = None) -> FollowUpRule:
        return _as(FollowUpRule, self.rule(name, step))

    def duty(self, name: str) -> DutyRule:
        return _as(DutyRule, self.rule(name))

    def calendar_rule(self, name: str) -> CalendarRule:
        return _as(CalendarRule, self.rule(name))

    def target(self, name: str) -> Target:
        return _as(Target, self.rule(name))

    def sample(self, name: str) -> Sample:
        return _as(Sample, self.rule(name))

    def reminder(self, name: str) -> ReminderRule:
        return _as(ReminderRule, self.rule(name))

    def bound(self, name: str) -> Bound:
        return _as(Bound, self.rule(name))

    def form(self, name: str) -> IntakeForm:
        return _as(IntakeForm, self.rule(name))

    def frequency(self, name: str) -> Frequency:
        return _as(Frequency, self.rule(name))


def _as(kind: type[R], row: Row) -> R:
    if not isinstance(row, kind):
        raise KeyError(f"{row.name} is a {type(row).__name__}, not a {kind.__name__}")
    return row
