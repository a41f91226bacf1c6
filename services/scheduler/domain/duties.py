"""Duties: opened by an event, fulfilled by another, late when the limit passes. In whatever order they come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.scheduler.domain.agenda import Duty, name_of
from services.scheduler.domain.planning import Regime
from shared.contracts.events import MilestoneReached
from shared.contracts.types import EventData
from shared.policy.conditions import holds
from shared.policy.counting import end_of_day, local_day
from shared.policy.model import DutyRule, Trigger
from shared.policy.schedule import duty_due

PAST = timedelta(milliseconds=1)
"""A limit belongs to the time that is given: what is done at the limit itself is not late."""


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


def duty_id(rule: DutyRule, subject: str) -> str:
    return name_of("duty", rule.name, subject)


def touched_by(what: Happening, regime: Regime) -> Iterable[tuple[DutyRule, str]]:
    """The rules that a happening opens, fulfils or cancels a duty of, each with the duty's subject."""
    for rule in regime.duties.get(what.topic, ()):
        if any(matches(trigger, what) for trigger in (rule.opened_by, rule.fulfilled_by, rule.cancelled_by)):
            subject = rule.subject_of(what.topic, what.data)
            if subject:
                yield rule, subject


def after(duty: Duty | None, rule: DutyRule, subject: str, what: Happening, regime: Regime) -> Duty:
    """The duty with what happened in it. Of several openings or fulfilments the earliest counts."""
    duty = duty or Duty(
        id=duty_id(rule, subject), rule=rule.name, clause=rule.clause, subject=subject, role=rule.role
    )
    update: dict[str, object] = {
        "case_id": duty.case_id or getattr(what.data, "case_id", None),
        "client_id": duty.client_id or getattr(what.data, "client_id", None),
    }
    if matches(rule.opened_by, what) and (duty.opened_at is None or what.at < duty.opened_at):
        due = duty_due(rule, what.at, what.data, regime.calendar, regime.policy)
        update |= {"opened_at": what.at, "due_at": due.at, "provisional": due.provisional}
    if matches(rule.fulfilled_by, what) and (duty.fulfilled_at is None or what.at < duty.fulfilled_at):
        update["fulfilled_at"] = what.at
    if matches(rule.cancelled_by, what) and duty.cancelled_at is None:
        update["cancelled_at"] = what.at
    return duty.model_copy(update=update)


def cancelled(duty: Duty, at: datetime) -> Duty:
    return duty.model_copy(update={"cancelled_at": duty.cancelled_at or at})


COUNSELLING = frozenset({"case-opened", "session-scheduled", "session-completed", "case-closed"})
"""What opens the duties of counselling itself: a referred client gets none (W26). What was found in a follow-up, or is
owed for a service that was rendered, is handled all the same."""


def referral(duty: Duty, rule: DutyRule, at: datetime | None) -> Duty:
    """The duty of a case that was referred at that time; None: it is not. Admitted later, the duty opens again."""
    if rule.opened_by.event not in COUNSELLING or (duty.referred_at is None) == (at is None):
        return duty
    told = duty.published
    if at is None and duty.cancelled_at is None:
        told = tuple(change for change in told if change not in ("opened", "cancelled"))
    return duty.model_copy(update={"referred_at": at, "published": told})


def news(duty: Duty, rule: DutyRule, regime: Regime) -> tuple[Duty, list[tuple[str, datetime]]]:
    """What has to be told of a duty that nobody knows yet, each with the time at which it came about."""
    told = list(duty.published)
    fresh: list[tuple[str, datetime]] = []

    def tell(change: str, at: datetime) -> None:
        if change not in told:
            told.append(change)
            fresh.append((change, at))

    if duty.opened_at and duty.due_at:
        cancelled_at = duty.cancelled_at or duty.referred_at
        ended = duty.fulfilled_at or cancelled_at
        if ended is None or duty.fulfilled_at or "opened" in told:
            tell("opened", duty.opened_at)
        if duty.fulfilled_at and "cancelled" not in told:
            if duty.fulfilled_at > late_from(duty, regime):
                tell("late", late_from(duty, regime))
            tell("fulfilled", duty.fulfilled_at)
        elif cancelled_at and "opened" in told and "fulfilled" not in told:
            tell("cancelled", cancelled_at)
    updated = duty.model_copy(update={"published": tuple(told)})
    return updated.model_copy(update={"next_at": _next_at(updated, rule, regime)}), fresh


def late_from(duty: Duty, regime: Regime) -> datetime:
    """When the duty runs late. A limit that lay before the opening (F52, for a follow-up close at hand or right
    after a weekend) leaves the rest of the opening's day."""
    assert duty.opened_at
    assert duty.due_at
    if duty.due_at > duty.opened_at:
        return duty.due_at
    zone = regime.policy.switches.zone
    return end_of_day(local_day(duty.opened_at, zone), zone)


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
