"""Mistakes that no single row shows: what the policy names must exist where it looks for it.

A row that waits for what nobody says would sit there and do nothing, so such a policy is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from shared.contracts.events import CaseClassified, Flag
from shared.contracts.topics import TOPICS, consumed_by
from shared.policy.clauses import known_clauses
from shared.policy.conditions import Condition
from shared.policy.forms import MinutesField
from shared.policy.model import (
    LAST_SEEN,
    DutyRule,
    EventRule,
    FollowUpRule,
    IntakeForm,
    Policy,
    ReminderRule,
    Row,
    Seat,
    Trigger,
)
from shared.policy.reading import PolicyError, problem_at

Place = tuple[int | str, ...]

SEEN_BY_SCHEDULER = frozenset(
    (*consumed_by("scheduler"), "follow-up-planned", "follow-up-due", "calendar-due")
)
"""The topics whose events open, fulfil and cancel: those that the scheduler reads, and of its own those that its rules
see as it publishes them."""

_RULE_NAMES = {
    "calendar-due": "calendar",
    "follow-up-planned": "follow_ups",
    "follow-up-due": "follow_ups",
}
"""Events whose `rule` names a row of that section."""


@dataclass(frozen=True)
class Wrong:
    """A mistake, the place of the field that holds it, and what to do."""

    place: Place
    reason: str
    advice: str


def check(path: Path, policy: Policy) -> None:
    """Raises PolicyError with every mistake, each at its line of the file."""
    found = [problem_at(path, wrong.place, wrong.reason, wrong.advice) for wrong in mistakes(policy)]
    if found:
        raise PolicyError(found)


def mistakes(policy: Policy) -> Iterator[Wrong]:
    """Everything in a policy that names what is not there, names that stand for two things, and an approval that came
    too late."""
    yield from _approval(policy)
    yield from _names(policy)
    for place, row in placed(policy):
        yield from _clauses(place, row)
        yield from _roles(place, row, policy)
        if isinstance(row, EventRule):
            yield from _event_rule(place, row, policy)
        if isinstance(row, IntakeForm):
            yield from _form(place, row, policy)
    for index, step in enumerate(policy.crisis.escalation):
        yield from _role(("crisis", "escalation", index, "role"), step.role, policy)


def _approval(policy: Policy) -> Iterator[Wrong]:
    by, day = policy.approved.by, policy.approved.day
    if by.startswith("role:"):
        yield from _role(("approved", "by"), by.removeprefix("role:"), policy)
    if day > policy.effective_from:
        reason = f"it was approved on {day}, after it had begun on {policy.effective_from}"
        yield Wrong(
            ("approved", "day"), reason, "W7: approve a version before it begins, or let it begin later"
        )


def _names(policy: Policy) -> Iterator[Wrong]:
    """Rows that could not be told apart, and follow-ups that would be one and the same."""
    names: set[str] = set()
    steps: set[tuple[str, str]] = set()
    for place, row in placed(policy):
        follow_up = row if isinstance(row, FollowUpRule) else None
        name = f"{row.name} {follow_up.step}" if follow_up else row.name
        if name in names:
            yield Wrong((*place, "name"), f"more than one row is named {name}", "give it a name of its own")
        elif follow_up and (follow_up.applies_to, follow_up.step) in steps:
            reason = (
                f"another row for {follow_up.applies_to} has the step {follow_up.step}: one would be lost"
            )
            yield Wrong((*place, "step"), reason, "give it a step of its own")
        names.add(name)
        if follow_up:
            steps.add((follow_up.applies_to, follow_up.step))


def placed(policy: Policy) -> Iterator[tuple[Place, Row]]:
    """Every row with its place in the file."""
    for section in (
        "classes", "gates", "follow_ups", "duties", "calendar", "reminders", "targets", "samples", "bounds",
        "frequencies", "counts", "forms",
    ):  # fmt: skip
        yield from (((section, index), row) for index, row in enumerate(getattr(policy, section)))
    for part in ("health", "individuals", "enterprises"):
        yield ("eligibility", part), getattr(policy.eligibility, part)
    for index, severe in enumerate(policy.attention.severe):
        yield ("attention", "severe", index), severe
    for index, row in enumerate(policy.staffing.certificates):
        yield ("staffing", "certificates", index), row
    for index, seat in enumerate(policy.staffing.expert_group):
        yield ("staffing", "expert_group", index), seat
    yield ("crisis",), policy.crisis


def _clauses(place: Place, row: Row) -> Iterator[Wrong]:
    known = known_clauses()
    if row.clause not in known:
        yield Wrong((*place, "clause"), f"there is no clause {row.clause}", "name one of docs/clauses.md")
    for index, clause in enumerate(row.also):
        if clause not in known:
            yield Wrong(
                (*place, "also", index), f"there is no clause {clause}", "name one of docs/clauses.md"
            )


def _roles(place: Place, row: Row, policy: Policy) -> Iterator[Wrong]:
    for field in ("role", "escalate_to", "head_role"):
        if role := getattr(row, field, None):
            yield from _role((*place, field), role, policy)
    if isinstance(row, Seat):
        for index, role in enumerate(row.roles):
            yield from _role((*place, "roles", index), role, policy)
    if isinstance(row, ReminderRule) and row.to != "client":
        yield from _role((*place, "to"), row.to.removeprefix("role:"), policy)


def _role(place: Place, role: str, policy: Policy) -> Iterator[Wrong]:
    if role not in policy.roles:
        yield Wrong(
            place, f"the role {role} is not listed under roles", _one_of(role, policy.roles, "list it")
        )


def _form(place: Place, form: IntakeForm, policy: Policy) -> Iterator[Wrong]:
    if form.milestone and form.milestone not in policy.milestones:
        reason = f"the milestone {form.milestone} is not listed under milestones"
        yield Wrong((*place, "milestone"), reason, _one_of(form.milestone, policy.milestones, "list it"))
    bounds = [bound.name for bound in policy.bounds]
    for index, field in enumerate(form.fields):
        if isinstance(field, MinutesField) and field.bound and field.bound not in bounds:
            reason = f"there is no row {field.bound} under bounds: nothing would ever be marked"
            yield Wrong((*place, "fields", index, "bound"), reason, _one_of(field.bound, bounds, "name one"))


def _event_rule(place: Place, rule: EventRule, policy: Policy) -> Iterator[Wrong]:
    for which in ("opened_by", "fulfilled_by"):
        trigger = getattr(rule, which, None)
        if trigger is not None:
            yield from _trigger((*place, which), trigger, rule, policy)
    for index, ending in enumerate(rule.cancelled_by):
        yield from _trigger((*place, "cancelled_by", index), ending, rule, policy)
        if ending.undone_by:
            yield from _trigger((*place, "cancelled_by", index, "undone_by"), ending.undone_by, rule, policy)
    opening = TOPICS.get(rule.opened_by.event)
    if opening is None:
        return
    if isinstance(rule, DutyRule) and rule.limit.before:
        yield from _time(
            (*place, "limit", "before"), rule.limit.before, opening.name, "no limit can be counted"
        )
    if isinstance(rule, ReminderRule):
        yield from _time((*place, "field"), rule.field, opening.name, "the reminder would never go out")


def _trigger(place: Place, trigger: Trigger, rule: EventRule, policy: Policy) -> Iterator[Wrong]:
    topic = TOPICS.get(trigger.event)
    if topic is None:
        advice = _one_of(trigger.event, sorted(SEEN_BY_SCHEDULER), "name a topic of docs/events.md")
        yield Wrong((*place, "event"), f"nobody publishes {trigger.event}", advice)
        return
    if trigger.event not in SEEN_BY_SCHEDULER:
        advice = "name a topic that it reads, or let it read this one (shared/contracts/topics.py)"
        yield Wrong((*place, "event"), f"the scheduler does not read {trigger.event}", advice)
    if trigger.milestone and trigger.milestone not in policy.milestones:
        never = (
            "fulfilled"
            if place[-1] == "fulfilled_by"
            else "cancelled"
            if "cancelled_by" in place
            else "opened"
        )
        reason = f"nobody reports the milestone {trigger.milestone}: the {_kind(rule)} would never be {never}"
        yield Wrong((*place, "milestone"), reason, _one_of(trigger.milestone, policy.milestones, "list it"))
    # What ends a case ends all reminders about it: it need not name each.
    of_its_case = isinstance(rule, ReminderRule) and "cancelled_by" in place
    if trigger.event != "milestone-reached" and not (of_its_case and field_type(topic.model, "case_id")):
        for name in rule.subject.split(":"):
            if field_type(topic.model, name) is None:
                reason = f"{trigger.event} has no field {name}: what it is about could not be found"
                yield Wrong((*place[:-1], "subject"), reason, _fields(topic.model))
    if trigger.when:
        yield from _condition((*place, "when"), trigger.when, trigger.event, policy)


def _kind(rule: EventRule) -> str:
    return "reminder" if isinstance(rule, ReminderRule) else "duty"


def _time(place: Place, field: str, topic: str, otherwise: str) -> Iterator[Wrong]:
    model = TOPICS[topic].model
    if field == LAST_SEEN and model is CaseClassified:
        return
    found = field_type(model, field)
    if found is None:
        yield Wrong(place, f"{topic} has no field {field}: {otherwise}", _fields(model))
    elif found is not datetime:
        yield Wrong(place, f"{field} of {topic} is no time: {otherwise}", _fields(model, datetime))


def _condition(place: Place, condition: Condition, topic: str, policy: Policy) -> Iterator[Wrong]:
    for kind in ("any", "all"):
        for index, part in enumerate(getattr(condition, kind) or ()):
            yield from _condition((*place, kind, index), part, topic, policy)
    model = TOPICS[topic].model
    if condition.flag and field_type(model, "flags") is None:
        yield Wrong((*place, "flag"), f"{topic} has no flags", "name an event that has, or another test")
    elif condition.flag and condition.flag not in get_args(Flag):
        reason = f"nobody sets the flag {condition.flag}: the condition never holds"
        yield Wrong((*place, "flag"), reason, _one_of(condition.flag, get_args(Flag), "name one of F57"))
    for kind in ("equals", "first", "at_most", "below"):
        for field, value in (getattr(condition, kind) or {}).items():
            at = (*place, kind, field)
            found = field_type(model, field)
            if found is None:
                yield Wrong(at, f"{topic} has no field {field}: the condition never holds", _fields(model))
            elif problem := _never(kind, found, value):
                yield Wrong(
                    at, f"{field} of {topic} {problem}: the condition never holds", "correct the value"
                )
            elif field == "rule" and topic in _RULE_NAMES:
                names = sorted({row.name for row in getattr(policy, _RULE_NAMES[topic])})
                if value not in names:
                    reason = f"there is no row {value} under {_RULE_NAMES[topic]}: the condition never holds"
                    yield Wrong(at, reason, _one_of(str(value), names, "name one"))


def _never(kind: str, found: Any, value: Any) -> str | None:
    """Why a field of that type can never pass the test."""
    if kind in ("at_most", "below"):
        return None if found in (int, float) else "is no number"
    if kind == "first":
        if get_origin(found) is not tuple:
            return "is no list"
        found = _plain(get_args(found)[0])
    if get_origin(found) is Literal:
        return None if value in get_args(found) else f"is never {value}"
    return None if isinstance(found, type) and isinstance(value, found) else f"is never {value}"


# --- the fields of events -----------------------------------------------------------------------------------------


def field_type(model: type[BaseModel], path: str) -> Any:
    """The type of a wire field, `a.b` inside another, stripped of None and of what narrows it. None: no such field."""
    found: Any = model
    for name in path.split("."):
        if isinstance(found, type) and issubclass(found, BaseModel):
            fields = {field.alias or key: field.annotation for key, field in found.model_fields.items()}
            found = _plain(fields.get(name))
        else:
            # In a mapping every code may be a key.
            found = _plain(get_args(found)[1]) if get_origin(found) is dict else None
    return found


def _plain(annotation: Any) -> Any:
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, UnionType):
            annotation = next(part for part in get_args(annotation) if part is not type(None))
        else:
            return annotation


def _fields(model: type[BaseModel], kind: Any = None) -> str:
    names = [field.alias or name for name, field in model.model_fields.items()]
    return "it has " + (
        ", ".join(name for name in names if kind in (None, field_type(model, name))) or "none"
    )


def _one_of(name: str, known: Iterable[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, list(known), 3)
    return f"did you mean {' or '.join(near)}? Else {otherwise}" if near else otherwise
