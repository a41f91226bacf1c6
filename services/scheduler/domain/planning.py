"""From the case as it stands to the follow-ups it asks for, and the changes that bring the agenda there.

The wanted follow-ups are derived from the class and reconciled with those that exist. An id is a hash of case, step
and anchor, so the same facts give the same follow-ups in whatever order they came.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from services.scheduler.domain.agenda import ENDED, FollowUp, name_of
from shared.contracts.events import CaseClass, CaseClassified
from shared.contracts.types import write_time
from shared.policy.model import (
    CalendarRule,
    DutyRule,
    EventRule,
    FollowUpRule,
    Policy,
    ReminderRule,
    Switches,
    Trigger,
)
from shared.policy.schedule import Scheduled, schedule, work_begins
from shared.policy.versions import Policies, in_force_from
from shared.policy.workdays import WorkCalendar, load_calendar

CALENDAR_KNOWN = "calendar-known"
"""Why a follow-up moves whose year got its notice."""
POLICY_CHANGED = "policy-changed"
"""Why a follow-up comes, moves or goes when a new version of the policy begins."""


@dataclass(frozen=True)
class Regime:
    """The rules and the calendar that decisions are made by, as of one version of the policy, and those before it."""

    policy: Policy
    calendar: WorkCalendar
    before: Regime | None = None
    """The version that this one followed; None for the first."""

    @classmethod
    def of(cls, policies: Policies, workdays: Path | None = None) -> Regime:
        """The newest of some versions. `workdays`: a file of notices instead of those of the release."""
        regime: Regime | None = None
        for policy in policies.versions:
            calendar = load_calendar(workdays, unknown_year=policy.switches.unknown_year)
            regime = cls(policy, calendar, regime)
        assert regime
        return regime

    @cached_property
    def begins(self) -> datetime:
        """When this version comes into force."""
        return in_force_from(self.policy)

    @cached_property
    def versions(self) -> tuple[Regime, ...]:
        """The versions before this one and itself, in the order in which they come into force."""
        return (*(self.before.versions if self.before else ()), self)

    def at(self, instant: datetime) -> Regime:
        """The version in force at an instant, as it was known then: without those that came later. What is older than
        the first one goes by the first."""
        found = self
        while found.before and instant < found.begins:
            found = found.before
        return found

    def next_begin(self, after: datetime) -> datetime | None:
        """When the next version comes into force; None where none is known that would."""
        return min((one.begins for one in self.versions if one.before and one.begins > after), default=None)

    @cached_property
    def duties(self) -> Mapping[str, Sequence[DutyRule]]:
        """Topic to the duty rules that an event on it may open, fulfil, cancel or resume."""
        return _by_topic((rule, triggers(rule)) for rule in self.policy.duties)

    @cached_property
    def duty_rules(self) -> Mapping[str, DutyRule]:
        """The duty rules by name."""
        return {rule.name: rule for rule in self.policy.duties}

    @cached_property
    def topics_of_service(self) -> Mapping[str, frozenset[str]]:
        """Service to the topics to which duties that are bound to it listen, or listened in a version before."""
        bound: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
        bound |= self.before.topics_of_service if self.before else {}
        for topic, rules in self.duties.items():
            for rule in rules:
                if rule.service:
                    bound[rule.service] |= {topic}
        return {**bound}

    @cached_property
    def duty_rules_ever(self) -> Mapping[str, DutyRule]:
        """As `duty_rules`, with those that only versions before had, as they last stood: what they opened may be
        under way."""
        return {**(self.before.duty_rules_ever if self.before else {}), **self.duty_rules}

    @cached_property
    def former_duties(self) -> Mapping[str, Sequence[DutyRule]]:
        """As `duties`, of the rules that only versions before had."""
        gone = [rule for name, rule in self.duty_rules_ever.items() if name not in self.duty_rules]
        return _by_topic((rule, triggers(rule)) for rule in gone)

    @cached_property
    def date_rules(self) -> Mapping[str, CalendarRule]:
        """The dates of the regime by name."""
        return {rule.name: rule for rule in self.policy.calendar}

    @cached_property
    def date_rules_ever(self) -> Mapping[str, CalendarRule]:
        """As `date_rules`, with those that only versions before had."""
        return {**(self.before.date_rules_ever if self.before else {}), **self.date_rules}

    @cached_property
    def reminding(self) -> frozenset[str]:
        """The names of the rules that remind of something."""
        return frozenset({rule.name for rule in self.policy.reminders} | self.date_rules.keys())

    @cached_property
    def asks_for_services(self) -> frozenset[str]:
        """The topics to which service-bound duties listen."""
        return frozenset().union(*self.topics_of_service.values())

    @cached_property
    def reminders(self) -> Mapping[str, Sequence[ReminderRule]]:
        """Topic to the reminder rules that an event on it may start or cancel."""
        return _by_topic((rule, (rule.opened_by, *rule.cancelled_by)) for rule in self.policy.reminders)

    @cached_property
    def subjects(self) -> Mapping[str, Sequence[EventRule]]:
        """Topic to rules that an event on it may say something to, one for each way to name their subject."""
        duties = _by_topic((rule, triggers(rule)) for rule in self.duty_rules_ever.values())
        rules: dict[str, dict[str, EventRule]] = defaultdict(dict)
        for by_topic in (duties, self.reminders):
            for topic, those in by_topic.items():
                rules[topic] |= {rule.subject: rule for rule in those}
        return {topic: tuple(by_subject.values()) for topic, by_subject in rules.items()}


def triggers(rule: DutyRule) -> Iterable[Trigger]:
    """All that a duty rule listens to."""
    yield rule.opened_by
    yield rule.fulfilled_by
    for ending in rule.cancelled_by:
        yield ending
        if ending.undone_by:
            yield ending.undone_by


R = TypeVar("R")


def _by_topic(rules: Iterable[tuple[R, Iterable[Trigger]]]) -> Mapping[str, Sequence[R]]:
    found: defaultdict[str, list[R]] = defaultdict(list)
    for rule, triggers in rules:
        for topic in sorted({trigger.event for trigger in triggers}):
            found[topic].append(rule)
    return {**found}


@dataclass(frozen=True)
class Wanted:
    """A follow-up that the facts ask for, or (`superseded`) asked for until the case ended."""

    rule: FollowUpRule
    owner: str
    anchor: datetime
    when: Scheduled
    due: datetime
    """When it is due: from then on a new version of the policy does not touch it. What an ending overtook before that
    is settled by the ending."""
    superseded: bool = False

    @property
    def id(self) -> str:
        return name_of(self.owner, self.rule.step, write_time(self.anchor))


def wanted_for_case(case: CaseClassified, regime: Regime) -> list[Wanted]:
    """The follow-ups that a case asks for (F36, F38, F40, F42), whatever became of them so far."""
    ending = max((end for end in (case.closed_at, case.dropped_at) if end), default=None)
    return _by_every_version(
        regime,
        lambda version: [
            _want(rule, case.case_id, anchor, version, ending if superseded else None)
            for rule in version.policy.follow_ups
            for anchor, superseded in _anchors(rule, case, version.policy.switches)
        ],
    )


def _want(
    rule: FollowUpRule, owner: str, anchor: datetime, regime: Regime, overtaken_at: datetime | None = None
) -> Wanted:
    when = schedule(rule, anchor, regime.calendar, regime.policy)
    due = max(work_begins(when.scheduled_for, regime.policy), anchor)
    return Wanted(rule, owner, anchor, when, min(due, overtaken_at or due), overtaken_at is not None)


def _by_every_version(regime: Regime, asked: Callable[[Regime], Iterable[Wanted]]) -> list[Wanted]:
    """What the versions of the policy ask for, one after the other.

    A version applies to what is not yet due when it begins, neither by the one before nor by its own rows: nothing is
    due, or late, by a row that was not in force then. So it follows from the facts alone, whenever they are heard of.
    """
    found: dict[str, Wanted] = {}  # by id: two sessions may have ended at the same instant
    for version in regime.versions:
        own = {want.id: want for want in asked(version)}
        if version.before:
            begins = version.begins
            stays = {
                key: want
                for key, want in found.items()
                if want.due < begins or (key in own and own[key].due < begins)
            }
            own = {key: want for key, want in own.items() if key not in stays and want.due >= begins} | stays
        found = own
    return list(found.values())


def _anchors(rule: FollowUpRule, case: CaseClassified, switches: Switches) -> Iterable[tuple[datetime, bool]]:
    attentive = _plans_for_attention(case, switches)
    match rule.applies_to:
        case "closed" if case.status == "closed" and case.closed_at and not attentive:
            yield case.closed_at, False
        case "closed-with-attention" if case.status == "closed" and case.closed_at and attentive:
            yield case.closed_at, False
        case "dropped" if case.status == "dropped" and case.dropped_at:
            yield case.dropped_at, False
        case "open" if rule.every_sessions:
            yield from _every(rule.every_sessions, case, switches)
        case _:
            return


def _plans_for_attention(case: CaseClassified, switches: Switches) -> bool:
    """Whether the follow-ups are those of key attention. Raised after its closing, a case gains the ones that it
    misses, or (a switch) keeps its plan (collision 3)."""
    if case.attention is None or case.attention.state == "lifted":
        return False
    raised_later = case.closed_at is not None and case.attention.since > case.closed_at
    return not (raised_later and switches.raised_after_closing == "keeps-plan")


def _every(sessions: int, case: CaseClassified, switches: Switches) -> Iterable[tuple[datetime, bool]]:
    """The ends of the sessions that make 3, 6, 9 ... (F38). What an ending overtook is superseded (collision 4),
    and stays so when the case goes on later: nobody is asked again about sessions of months ago. A switch keeps it."""
    ending = max((end for end in (case.closed_at, case.dropped_at) if end), default=None)
    ends = sorted((end.ended_at, end.session_no) for end in case.session_ends)
    for ended_at, _ in ends[sessions - 1 :: sessions]:
        overtaken = ending is not None and ended_at <= ending
        if overtaken or case.status == "open":
            yield ended_at, overtaken and switches.overtaken_by_ending == "superseded"


def wanted_after_incident(incident_id: str, resolved_at: datetime, regime: Regime) -> list[Wanted]:
    """Continued care after a resolved incident (A32)."""
    return _by_every_version(
        regime,
        lambda version: [
            _want(rule, incident_id, resolved_at, version)
            for rule in version.policy.follow_ups
            if rule.applies_to == "incident-resolved"
        ],
    )


@dataclass(frozen=True)
class Owner:
    """Whose follow-ups are reconciled, and why now."""

    client_id: str
    case_id: str | None
    case_class: CaseClass
    cause: str
    stop: str | None = None
    """Why nothing may be asked: `consent-withdrawn`, `client-deceased` ...; None where asking is allowed."""
    not_before: datetime | None = None
    """Consent was given again at this instant: only what lies ahead of it is planned."""

    def may_touch(self, held: FollowUp) -> bool:
        """A new version of the policy leaves alone what is due."""
        return held.pending and (self.cause != POLICY_CHANGED or held.state == "planned")


@dataclass(frozen=True)
class Change:
    """A follow-up in its new state, and what to call the change; None where nobody needs to be told."""

    follow_up: FollowUp
    change: str | None


def reconcile(
    owner: Owner, wanted: Sequence[Wanted], existing: Sequence[FollowUp], regime: Regime, now: datetime
) -> list[Change]:
    """The changes that make the existing follow-ups the wanted ones. What was conducted is never touched."""
    by_id = {follow_up.id: follow_up for follow_up in existing}
    changes: list[Change] = []
    for want in wanted:
        if owner.stop or not _lies_ahead(owner, want):
            continue
        held = by_id.pop(want.id, None)
        change = _toward(owner, want, held, regime, now)
        if change:
            changes.append(change)
    for left in by_id.values():
        if owner.may_touch(left):
            reason = owner.stop or owner.cause
            changes.append(
                Change(
                    left.model_copy(update={"state": "cancelled", "reason": reason, "next_at": None}),
                    "cancelled",
                )
            )
    return changes


def _lies_ahead(owner: Owner, want: Wanted) -> bool:
    """What fell into the time without consent is not made up for, also where its facts come only now."""
    return want.superseded or owner.not_before is None or want.when.scheduled_for > owner.not_before


def _toward(
    owner: Owner, want: Wanted, held: FollowUp | None, regime: Regime, now: datetime
) -> Change | None:
    if held and (held.state in ENDED or held.conducted_at):
        return None
    if held and held.pending and not owner.may_touch(held):
        return None
    if want.superseded:
        if held and held.state == "superseded":
            return None
        ended = _planned(owner, want, held, regime, now)
        update = {"state": "superseded", "reason": "case-ended", "next_at": None}
        return Change(ended.model_copy(update=update), "superseded")
    if held is None or held.state in ("cancelled", "superseded"):
        return Change(_planned(owner, want, held, regime, now), "planned")
    if _as_planned(held) == _as_wanted(want):
        if held.case_class == owner.case_class:
            return None
        return Change(held.model_copy(update={"case_class": owner.case_class}), None)
    return Change(_planned(owner, want, held, regime, now), "moved")


def _as_planned(held: FollowUp) -> tuple[object, ...]:
    return (held.rule, held.scheduled_for, held.complete_by, held.forms, held.provisional)


def _as_wanted(want: Wanted) -> tuple[object, ...]:
    when = want.when
    return (want.rule.name, when.scheduled_for, when.complete_by, when.forms, when.provisional)


def _planned(owner: Owner, want: Wanted, held: FollowUp | None, regime: Regime, now: datetime) -> FollowUp:
    """Planned anew or moved. The work begins once, also when the follow-up moves later."""
    due_at = held.due_at if held else None
    begins = max(work_begins(want.when.scheduled_for, regime.policy), now)
    # Told to be missed already, and no more time to do it in: it is not missed a second time.
    missed = held is not None and held.state == "missed" and held.complete_by == want.when.complete_by
    return FollowUp(
        id=want.id,
        rule=want.rule.name,
        clause=want.rule.clause,
        subject=want.id,
        case_id=owner.case_id,
        client_id=owner.client_id,
        owner=want.owner,
        step=want.rule.step,
        case_class=owner.case_class,
        anchor=want.anchor,
        scheduled_for=want.when.scheduled_for,
        complete_by=want.when.complete_by,
        forms=want.when.forms,
        template=want.rule.template,
        provisional=want.when.provisional,
        state="missed" if missed else "due" if due_at else "planned",
        reason=owner.cause,
        due_at=due_at,
        next_at=None if missed else max(want.when.complete_by, now) if due_at else begins,
        fired=held.fired if held else 0,
        planned_at=now,
    )


def when_calendar_is_known(held: FollowUp, regime: Regime, now: datetime) -> Change | None:
    """A provisional follow-up that still lies ahead, computed again (collision 8); None where nothing changes."""
    if not (held.provisional and held.pending and held.scheduled_for > now):
        return None
    wanted = _by_every_version(
        regime,
        lambda version: [
            _want(rule, held.owner, held.anchor, version)
            for rule in version.policy.follow_ups
            if (rule.name, rule.step) == (held.rule, held.step)
        ],
    )
    if not wanted:
        return None  # the policy has no such rule any more: the next word on the case says what it asks for instead
    owner = Owner(str(held.client_id), held.case_id, held.case_class, CALENDAR_KNOWN)
    return _toward(owner, wanted[0], held, regime, now)
