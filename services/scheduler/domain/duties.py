"""Duties: opened by an event, fulfilled by another, late when the limit passes. In whatever order they come.

The facts about one subject are kept with the time at which they happened, and what has to be done follows from them
as they then lie: an ending of the case cancels what was open before it, a later opening asks anew, and what repeats
is open again with each fulfilment.

A rule may differ from one version of the policy to the next. What happened is read as the rule stood then; by which
version a limit counts follows from the facts and from when the versions begin (`counted`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any, NamedTuple

from services.scheduler.domain.agenda import CaseEvents, Duty, DutyFact, name_of
from services.scheduler.domain.planning import Regime
from shared.contracts.events import CaseOpened, MilestoneReached
from shared.contracts.topics import TOPICS
from shared.contracts.types import EventData, write_time
from shared.policy.conditions import holds
from shared.policy.counting import end_of_day, local_day
from shared.policy.eligibility import refusals
from shared.policy.model import DutyRule, Trigger
from shared.policy.schedule import Due, due_from, limit_start

PAST = timedelta(milliseconds=1)
"""A limit belongs to the time that is given: what is done at the limit itself is not late."""

_ORDER = {name: position for position, name in enumerate(TOPICS)}


COUNSELLING = frozenset({"case-opened", "session-scheduled", "session-completed", "case-closed"})
"""What opens the duties of counselling itself: a referred client is owed none (W26). What was found in a follow-up, or
is owed for a service that was rendered, is handled all the same."""


@dataclass(frozen=True)
class Happening:
    """Something that happened, in the eyes of the rules: an event from the bus, or one about to be published."""

    topic: str
    data: EventData
    at: datetime

    @classmethod
    def of(cls, topic: str, data: EventData, time: datetime) -> Happening:
        return cls(topic, data, data.reached_at if isinstance(data, MilestoneReached) else time)


def matches(trigger: Trigger | None, what: Happening) -> bool:
    if trigger is None or trigger.event != what.topic:
        return False
    if isinstance(what.data, MilestoneReached) and what.data.milestone != trigger.milestone:
        return False
    return holds(trigger.when, what.data)


def is_for(rule: DutyRule, case: CaseEvents | None) -> bool:
    """Whether a rule asks anything for a case: it may be for one service alone, or for clients who are not referred."""
    if case and case.referred and rule.opened_by.event in COUNSELLING:
        return False
    return rule.service is None or (case is not None and case.service == rule.service)


def duty_id(rule: DutyRule, subject: str, opened_at: datetime | None = None) -> str:
    """The id of the first duty about a subject; `opened_at`: of a later one."""
    return name_of("duty", rule.name, subject, *([write_time(opened_at)] if opened_at else []))


class Said(NamedTuple):
    """What a happening says to a rule about a duty's subject."""

    rule: DutyRule
    subject: str
    facts: tuple[DutyFact, ...]


def said_by(what: Happening, regime: Regime) -> list[Said]:
    """What a happening says to all rules that it concerns, as they stood when it happened. A rule that was there no
    more opens nothing; what it opened before is fulfilled and cancelled all the same."""
    then = regime.at(what.at)
    rules = chain(then.duties.get(what.topic, ()), then.former_duties.get(what.topic, ()))
    told = ((rule, tuple(_facts(rule, what, then))) for rule in rules)
    return [
        Said(rule, subject, told_of)
        for rule, told_of in told
        if told_of and (subject := rule.subject_of(what.topic, what.data))
    ]


def facts(rule: DutyRule, what: Happening, regime: Regime) -> tuple[DutyFact, ...]:
    """What a happening says to a rule, as it stood when that happened."""
    then = regime.at(what.at)
    stood = then.duty_rules_ever.get(rule.name)
    return tuple(_facts(stood, what, then)) if stood else ()


def _refers(what: Happening, regime: Regime) -> bool:
    """Whether the policy refuses what was agreed: such an opening opens nothing and ends what another opened (W26)."""
    data, rules = what.data, regime.policy.eligibility
    return isinstance(data, CaseOpened) and bool(
        refusals(data.service, data.enterprise_id, data.eligibility, rules)
    )


def _of_another_service(rule: DutyRule, what: Happening) -> bool:
    """An opening says itself of which service the case is: it opens nothing that is for another one alone."""
    return isinstance(what.data, CaseOpened) and rule.service not in (None, what.data.service)


def _facts(rule: DutyRule, what: Happening, regime: Regime) -> Iterable[DutyFact]:
    opens = matches(rule.opened_by, what)
    if opens and _refers(what, regime):
        yield DutyFact(kind="cancelled", at=what.at, topic=what.topic)
    elif opens and rule.name in regime.duty_rules and not _of_another_service(rule, what):
        start = limit_start(rule, what.at, what.data)
        yield DutyFact(kind="opened", at=what.at, topic=what.topic, start=start)
    if matches(rule.fulfilled_by, what):
        yield DutyFact(kind="fulfilled", at=what.at, topic=what.topic)
    for ending in rule.cancelled_by:
        if matches(ending, what):
            undoable = ending.undone_by is not None
            yield DutyFact(kind="cancelled", at=what.at, topic=what.topic, undoable=undoable)
        if matches(ending.undone_by, what):
            yield DutyFact(kind="resumed", at=what.at, topic=what.topic)


def cancellation(at: datetime) -> DutyFact:
    """The end of everything that was open: the client is gone, or the follow-up is not conducted."""
    return DutyFact(kind="cancelled", at=at, topic="")


def together(known: Iterable[DutyFact], more: Iterable[DutyFact]) -> tuple[DutyFact, ...]:
    """Facts each once, in the order in which they happened; at one instant in the order of the topics."""
    return tuple(
        sorted({*known, *more}, key=lambda one: (one.at, _ORDER.get(one.topic, len(_ORDER)), one.kind))
    )


@dataclass(frozen=True)
class Run:
    """One time that the duty has, or had, to be done."""

    opened_at: datetime
    start: datetime
    """From when, or back from when, the limit counts."""
    fulfilled_at: datetime | None = None
    cancelled_at: datetime | None = None
    moves: tuple[tuple[datetime, datetime], ...] = ()
    """When it was said that the limit counts back from another time, and from which."""

    @property
    def ended_at(self) -> datetime | None:
        return self.fulfilled_at or self.cancelled_at


@dataclass(frozen=True)
class Counted:
    """By which version of its rule a run counts, and so by when it has to be done."""

    rule: DutyRule
    due: Due
    gone_at: datetime | None = None
    """When a version began that has no such rule, while there was still time."""


def counted(run: Run, rule: DutyRule, regime: Regime) -> Counted:
    """A run counts by the version in force when it opened. A later one takes over where neither its end nor its limit,
    by the one and by the other, lies before the later one begins: nothing is late by a limit that was not in force.

    A limit that counts from something else than before is of what opens from then on.
    """
    first = regime.at(run.opened_at)
    rule = first.duty_rules_ever.get(rule.name, rule)
    due = _due(run, rule, first)
    for version in regime.versions[len(first.versions) :]:
        late = late_at(run.opened_at, due.at, version)
        if min(late, run.ended_at or late) < version.begins:
            break
        newer = version.duty_rules.get(rule.name)
        if newer is None:
            return Counted(rule, due, version.begins)
        if newer.limit.before == rule.limit.before:
            then = _due(run, newer, version)
            if late_at(run.opened_at, then.at, version) >= version.begins:
                rule, due = newer, then
    return Counted(rule, due)


def _gone_at(run: Run, rule: DutyRule, regime: Regime) -> datetime | None:
    return counted(run, rule, regime).gone_at if regime.before else None


def runs(rule: DutyRule, told: Iterable[DutyFact], regime: Regime) -> list[Run]:
    """How often the duty has to be done, by the facts in the order in which they happened.

    Between two cancellations it opens once, however often its opening is told, and is fulfilled by the first
    fulfilment, also by one before the opening. What repeats opens again with each fulfilment. A new version of the
    policy without the rule cancels what is not late by then.
    """
    found: list[Run] = []
    run: Run | None = None
    ahead: datetime | None = None  # done before it was opened
    resumable = False
    for fact in told:
        repeats = _repeats(rule, fact.at, regime)
        if run and (gone_at := _gone_at(run, rule, regime)) and gone_at <= fact.at:
            found.append(replace(run, cancelled_at=gone_at))
            run, ahead, resumable = None, None, False
        if run is None:
            if fact.kind == "opened":
                run = Run(fact.at, fact.start or fact.at, None if repeats else ahead)
            elif fact.kind == "resumed" and resumable:
                run = Run(fact.at, fact.at)
            elif fact.kind == "fulfilled":
                ahead = ahead or fact.at
            elif fact.kind == "cancelled":
                # An ending of what had ended already changes nothing: a session after it resumes nothing then.
                resumable, ahead = resumable and fact.undoable, None
        elif fact.kind == "opened" and rule.limit.before and fact.start:
            if run.fulfilled_at is None:
                run = replace(run, moves=(*run.moves, (fact.at, fact.start)))
        elif fact.kind == "fulfilled" and run.fulfilled_at is None:
            run = replace(run, fulfilled_at=fact.at)
            if repeats:  # W13: the next one counts from the fulfilment
                found.append(run)
                run = Run(fact.at, fact.at)
        elif fact.kind == "cancelled":
            found.append(run if run.fulfilled_at else replace(run, cancelled_at=fact.at))
            run, ahead, resumable = None, None, fact.undoable
    if run and not run.ended_at:
        run = replace(run, cancelled_at=_gone_at(run, rule, regime))
    return [*found, run] if run else found


def _repeats(rule: DutyRule, at: datetime, regime: Regime) -> bool:
    """Whether what is fulfilled at an instant opens again."""
    stood = regime.at(at).duty_rules.get(rule.name)
    return stood is not None and stood.repeats


@dataclass(frozen=True)
class Settled:
    """A duty as it now stands, and what has to be told of it, each with the time at which it came about."""

    duty: Duty
    fresh: Sequence[tuple[str, datetime]] = ()


def settle(
    rule: DutyRule, subject: str, keeper: Duty, held: Mapping[str, Duty], regime: Regime, now: datetime
) -> list[Settled]:
    """The duties that follow from the facts that `keeper` has, of those `held` before; only what changes."""
    left = {**held, keeper.id: keeper}
    settled: list[Settled] = []
    times = {
        _not_withdrawn(duty_id(rule, subject, run.opened_at if number else None), run, held): run
        for number, run in enumerate(runs(rule, keeper.facts, regime) if keeper.stands else ())
    }
    nexts = [*(run.opened_at for run in times.values()), None][1:]
    for (key, run), next_one in zip(times.items(), nexts, strict=False):
        known_as = key if key in left else _opened_earlier(run, next_one, left, times) or key
        duty = left.pop(known_as, None) or _new(rule, subject, keeper, key)
        # What is over stays as it was told.
        counts = None if _is_over(duty, run) else counted(run, rule, regime)
        settled.append(_news(_as_run(duty, run, counts), counts.rule if counts else rule, regime))
    settled += [_left_over(duty, now) for duty in left.values()]
    return [one for one in settled if one.fresh or one.duty != held.get(one.duty.id)]


def _opened_earlier(
    run: Run, next_one: datetime | None, left: Mapping[str, Duty], taken: Iterable[str]
) -> str | None:
    """The duty that was told for this time, which opened earlier than was heard first: it is the same one.
    `next_one`: when the next time opens."""
    ended = {"fulfilled"} if run.fulfilled_at else {"cancelled"} if run.cancelled_at else set()
    until = run.cancelled_at or next_one
    for key in sorted(left.keys() - set(taken)):
        duty = left[key]
        if duty.opened_at is None or duty.withdrawn or duty.opened_at < run.opened_at:
            continue
        told = {"fulfilled", "cancelled"} & set(duty.published)
        if told <= ended and (until is None or duty.opened_at < until):
            return key
    return None


def _not_withdrawn(key: str, run: Run, held: Mapping[str, Duty]) -> str:
    """Under which id a duty is asked for again that was withdrawn: another one, unless it has ended meanwhile. Nothing
    is opened only to be told at once that it ended."""
    while key in held and held[key].withdrawn:
        again = name_of("duty", key, "again")
        if again not in held and (run.fulfilled_at or run.cancelled_at):
            return key
        key = again
    return key


def keeper_of(rule: DutyRule, subject: str, held: Mapping[str, Duty]) -> Duty:
    """The duty that keeps the facts about a subject."""
    key = duty_id(rule, subject)
    return held.get(key) or Duty(id=key, rule=rule.name, clause=rule.clause, subject=subject, role=rule.role)


def _new(rule: DutyRule, subject: str, keeper: Duty, key: str) -> Duty:
    about: dict[str, Any] = {"case_id": keeper.case_id, "client_id": keeper.client_id}
    return Duty(id=key, rule=rule.name, clause=rule.clause, subject=subject, role=rule.role, **about)


def _is_over(duty: Duty, run: Run) -> bool:
    return bool({"late", "fulfilled", "cancelled"} & set(duty.published)) and duty.opened_at == run.opened_at


def _as_run(duty: Duty, run: Run, counts: Counted | None) -> Duty:
    update: dict[str, object] = {
        "opened_at": run.opened_at,
        "fulfilled_at": run.fulfilled_at,
        "cancelled_at": run.cancelled_at,
    }
    if counts:
        update |= {"due_at": counts.due.at, "provisional": counts.due.provisional}
        update |= {"role": counts.rule.role, "clause": counts.rule.clause}
        update["warned"] = duty.warned and duty.due_at == counts.due.at  # what moved is warned of anew
    return duty.model_copy(update=update)


def _due(run: Run, rule: DutyRule, regime: Regime) -> Due:
    """By when it must be done. What the limit counts back from may move, until the duty is late: no later word takes
    that back, whichever is heard first."""
    due = due_from(rule, run.start, regime.calendar, regime.policy)
    for at, start in run.moves:
        if at <= late_at(run.opened_at, due.at, regime):
            due = due_from(rule, start, regime.calendar, regime.policy)
    return due


def _left_over(duty: Duty, now: datetime) -> Settled:
    """A duty that the facts do not ask for, as far as they are known."""
    if not duty.open:
        return Settled(duty)
    told = {"cancelled_at": now, "withdrawn": True, "published": (*duty.published, "cancelled")}
    return Settled(duty.model_copy(update={**told, "next_at": None}), [("cancelled", now)])


def _news(duty: Duty, rule: DutyRule, regime: Regime) -> Settled:
    """What has to be told of a duty that nobody knows yet."""
    told = list(duty.published)
    fresh: list[tuple[str, datetime]] = []

    def tell(change: str, at: datetime) -> None:
        if change not in told:
            told.append(change)
            fresh.append((change, at))

    assert duty.opened_at
    tell("opened", duty.opened_at)
    end = duty.fulfilled_at or duty.cancelled_at
    if end and end > late_from(duty, regime) and not {"fulfilled", "cancelled"} & set(told):
        tell("late", late_from(duty, regime))
    if duty.fulfilled_at:
        tell("fulfilled", duty.fulfilled_at)  # also of what was told to be cancelled before this was heard of
    elif duty.cancelled_at and "fulfilled" not in told:
        tell("cancelled", duty.cancelled_at)
    updated = duty.model_copy(update={"published": tuple(told)})
    return Settled(updated.model_copy(update={"next_at": _next_at(updated, rule, regime)}), fresh)


def warned(duty: Duty, rule: DutyRule, regime: Regime) -> Duty:
    """The duty once its role was warned."""
    told = duty.model_copy(update={"warned": True})
    return told.model_copy(update={"next_at": _next_at(told, rule, regime)})


def late_from(duty: Duty, regime: Regime) -> datetime:
    """When the duty runs late. A limit that lay before the opening (F52, for a follow-up close at hand or right
    after a weekend) leaves the rest of the opening's day."""
    assert duty.opened_at
    assert duty.due_at
    return late_at(duty.opened_at, duty.due_at, regime)


def late_at(opened_at: datetime, due_at: datetime, regime: Regime) -> datetime:
    """As `late_from`, of what was opened at an instant and has a limit."""
    if due_at > opened_at:
        return due_at
    zone = regime.policy.switches.zone
    return end_of_day(local_day(opened_at, zone), zone)


def warn_from(duty: Duty, rule: DutyRule) -> datetime | None:
    """When the role is warned that the limit is near; None where the rule warns nobody or there is no time to."""
    if rule.warn_before is None or duty.due_at is None or duty.opened_at is None:
        return None
    at = duty.due_at - rule.warn_before
    return at if at > duty.opened_at else None


def _next_at(duty: Duty, rule: DutyRule, regime: Regime) -> datetime | None:
    if not duty.open or "late" in duty.published:
        return None
    warning = None if duty.warned else warn_from(duty, rule)
    return warning or late_from(duty, regime) + PAST
