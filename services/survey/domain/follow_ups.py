"""A follow-up as it is conducted. Its state is derived from the facts about it, in whatever order they came."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from shared.contracts.events import CaseClass, FollowUpDue, FollowUpPlanned, Form, Outcome
from shared.contracts.types import COMPANY_ZONE
from shared.mongo.documents import Document

State = Literal["planned", "due", "recorded", "cancelled", "superseded"]

LINK_GRACE = timedelta(days=7)
"""How long after `complete_by` the link to a questionnaire still opens it."""

MOST_ATTEMPTS = 4
"""Nobody is called five times (F10), whatever the policy's own, lower figure."""


class Attempt(BaseModel):
    """One call that reached nobody, or not at a good time."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    result: str
    by: str


class FollowUp(Document):
    """One follow-up: what the scheduler said of it, and what was done about it."""

    collection: ClassVar[str] = "follow_ups"

    client_id: str
    case_id: str | None = None
    rule: str
    clause: str
    case_class: CaseClass
    scheduled_for: datetime
    complete_by: datetime
    forms: tuple[Form, ...]
    told_at: datetime
    """When the scheduler said what stands above."""
    template: str | None = None
    plan_change: Literal["planned", "moved", "cancelled", "superseded"] | None = None
    plan_told_at: datetime | None = None
    due_at: datetime | None = None
    invitation: str
    """The opaque name under which the questionnaire's link finds it."""
    outcome: Outcome | None = None
    recorded_at: datetime | None = None
    prepared_at: datetime | None = None
    prepared_by: str | None = None
    video_booked_for: datetime | None = None
    video_booked_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    state: State = "planned"
    work_from: datetime
    """The start of the day on which the work on it begins: later than `due_at` where it was moved after that."""
    stopped: str | None = None
    """Why the client may not be asked (withdrawn, deceased, incapable)."""

    @property
    def over(self) -> bool:
        """Whether nothing is left to do: recorded, cancelled or superseded."""
        return self.state in ("recorded", "cancelled", "superseded")

    @property
    def link_expires_at(self) -> datetime:
        return self.complete_by + LINK_GRACE


def planned(
    known: FollowUp | None,
    data: FollowUpPlanned,
    told_at: datetime,
    invitation: str,
    begins_before: timedelta,
) -> FollowUp:
    """Take in a `follow-up-planned`. One that is older than what is known of the plan changes nothing.

    Two at the same instant are taken in their order of arrival: they share a key of one topic, which keeps it.
    """
    follow_up = known or _new(data, told_at, invitation, begins_before)
    if follow_up.plan_told_at and told_at < follow_up.plan_told_at:
        return follow_up
    update: dict[str, object] = {"plan_change": data.change, "plan_told_at": told_at}
    if told_at >= follow_up.told_at:
        update |= _schedule(data, begins_before) | {"told_at": told_at}
    return settled(follow_up.model_copy(update=update))


def due(
    known: FollowUp | None, data: FollowUpDue, told_at: datetime, invitation: str, begins_before: timedelta
) -> FollowUp:
    """Take in a `follow-up-due`, before or after the plan that it belongs to."""
    follow_up = known or _new(data, told_at, invitation, begins_before)
    if follow_up.due_at and told_at < follow_up.due_at:
        return follow_up
    update: dict[str, object] = {"due_at": told_at, "template": data.template}
    if told_at > follow_up.told_at:
        update |= _schedule(data, begins_before) | {"told_at": told_at}
    return settled(follow_up.model_copy(update=update))


def settled(follow_up: FollowUp) -> FollowUp:
    """The follow-up with its state derived from the facts: what was recorded stands before any plan."""
    state: State = "planned"
    if follow_up.outcome is not None:
        state = "recorded"
    elif follow_up.plan_change == "cancelled" or follow_up.plan_change == "superseded":
        state = follow_up.plan_change
    elif follow_up.due_at is not None:
        state = "due"
    return follow_up.model_copy(update={"state": state})


def work_begins(scheduled_for: datetime, begins_before: timedelta) -> datetime:
    """The start of the day on which the work on a follow-up begins (policy: `work_begins_before`)."""
    local = (scheduled_for - begins_before).astimezone(COMPANY_ZONE)
    return local.replace(hour=0, minute=0, second=0, microsecond=0)


def attempt(follow_up: FollowUp, at: datetime, result: str, by: str) -> FollowUp | None:
    """Count a call; None where one more may not be made. The same call told twice counts once."""
    if any(known.at == at for known in follow_up.attempts):
        return follow_up
    if len(follow_up.attempts) >= MOST_ATTEMPTS:
        return None
    attempts = sorted((*follow_up.attempts, Attempt(at=at, result=result, by=by)), key=lambda one: one.at)
    return follow_up.model_copy(update={"attempts": tuple(attempts)})


def _new(
    data: FollowUpPlanned | FollowUpDue, told_at: datetime, invitation: str, begins_before: timedelta
) -> FollowUp:
    return FollowUp(
        id=data.follow_up_id,
        client_id=data.client_id,
        case_id=data.case_id,
        invitation=invitation,
        told_at=told_at,
        **_schedule(data, begins_before),
    )


def _schedule(data: FollowUpPlanned | FollowUpDue, begins_before: timedelta) -> dict[str, Any]:
    return {
        "rule": data.rule,
        "clause": data.clause,
        "case_class": data.case_class,
        "scheduled_for": data.scheduled_for,
        "complete_by": data.complete_by,
        "forms": data.forms,
        "work_from": work_begins(data.scheduled_for, begins_before),
    }
