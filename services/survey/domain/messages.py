"""Messages to clients: what goes out, what waits, what is dropped. Notices to staff are only shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar, Literal

from shared.contracts.events import ReminderDue
from shared.contracts.types import write_time
from shared.mongo.documents import Document

from .clients import Client
from .follow_ups import FollowUp

ABOUT_FOLLOW_UPS = frozenset({"follow-up-notice", "questionnaire-invitation", "questionnaire-reminder"})
"""Templates whose subject is a follow-up: dropped with it."""

WITH_LINK = frozenset({"questionnaire-invitation", "questionnaire-reminder"})

PART_OF_COUNSELLING = frozenset({"session-reminder"})
"""Belongs to sessions that the client has booked: withdrawing from follow-ups does not stop it."""

MEET_GRACE = timedelta(seconds=5)
"""Topics overtake each other: a message waits this long for the follow-up that it is about."""

USEFUL_FOR = timedelta(days=7)
SESSION_REMINDER_USEFUL_FOR = timedelta(minutes=15)

_FIRST_RETRY = timedelta(seconds=1)
_LONGEST_RETRY = timedelta(minutes=10)


class Message(Document):
    """A message to a client: the outbox towards the gateway. Its id is the reminder's, hence idempotent there."""

    collection: ClassVar[str] = "messages"

    client_id: str
    case_id: str | None = None
    template: str
    subject: str
    clause: str
    at: datetime
    taken_at: datetime
    state: Literal["pending", "sent", "refused", "cancelled"] = "pending"
    reason: str | None = None
    attempts: int = 0
    next_at: datetime | None = None
    """When it is tried next; None while it waits for an incident to be resolved."""
    settled_at: datetime | None = None


class Notice(Document):
    """Something staff are told in their worklist."""

    collection: ClassVar[str] = "notices"

    what: str
    to: str
    subject: str
    case_id: str | None = None
    client_id: str | None = None
    clause: str
    at: datetime


@dataclass(frozen=True)
class Verdict:
    """What is to become of a pending message now."""

    step: Literal["send", "wait", "cancel"]
    reason: str = ""
    until: datetime | None = None


def taken(data: ReminderDue, client_id: str, now: datetime) -> Message:
    return Message(
        id=data.reminder_id,
        client_id=client_id,
        case_id=data.case_id,
        template=data.what,
        subject=data.subject,
        clause=data.clause,
        at=data.at,
        taken_at=now,
        next_at=now,
    )


def noticed(data: ReminderDue) -> Notice:
    said = data.model_dump(exclude={"reminder_id"})
    return Notice(id=data.reminder_id, **said)


def verdict(message: Message, client: Client | None, follow_up: FollowUp | None, now: datetime) -> Verdict:
    """Send, wait or drop; decided anew each time from the facts, so that their order does not matter."""
    client = client or Client(id=message.client_id)
    if client.barred:
        return Verdict("cancel", client.barred)
    if client.stopped and message.template not in PART_OF_COUNSELLING:
        return Verdict("cancel", client.stopped)
    if message.template in ABOUT_FOLLOW_UPS and follow_up and follow_up.over:
        return Verdict("cancel", f"follow-up-{follow_up.state}")
    if now >= _useful_until(message, follow_up):
        return Verdict("cancel", "too-late")
    if client.in_incident:
        return Verdict("wait", "incident")
    if message.template in ABOUT_FOLLOW_UPS and not follow_up and now < message.taken_at + MEET_GRACE:
        return Verdict("wait", "follow-up-unknown", message.taken_at + MEET_GRACE)
    return Verdict("send")


def _useful_until(message: Message, follow_up: FollowUp | None) -> datetime:
    if message.template in WITH_LINK and follow_up:
        return follow_up.link_expires_at
    if message.template == "follow-up-notice" and follow_up:
        return max(follow_up.complete_by, message.at)
    if message.template in PART_OF_COUNSELLING:
        return message.at + SESSION_REMINDER_USEFUL_FOR
    return max(message.at, message.taken_at) + USEFUL_FOR


def judged(message: Message, client: Client | None, follow_up: FollowUp | None, now: datetime) -> Message:
    """A pending message after the facts changed: cancelled, put off or tried now."""
    if message.state != "pending":
        return message
    found = verdict(message, client, follow_up, now)
    if found.step == "cancel":
        return message.model_copy(
            update={"state": "cancelled", "reason": found.reason, "next_at": None, "settled_at": now}
        )
    if found.step == "wait":
        return message.model_copy(update={"reason": found.reason, "next_at": found.until})
    return message.model_copy(update={"reason": None, "next_at": now})


def params(message: Message, follow_up: FollowUp | None, link: str | None, minutes: int) -> dict[str, str]:
    """What the gateway's template is filled with. F49: time, form and purpose of a follow-up, coded."""
    found = {"at": write_time(message.at), "subject": message.subject}
    if message.template in ABOUT_FOLLOW_UPS and follow_up:
        found |= {
            "scheduled_for": write_time(follow_up.scheduled_for),
            "complete_by": write_time(follow_up.complete_by),
            "form": follow_up.forms[0],
            "purpose": follow_up.template or follow_up.case_class,
        }
    if message.template in WITH_LINK and link:
        found |= {"link": link, "minutes": str(minutes)}
    return found


def retry_after(attempts: int) -> timedelta:
    """The growing pause after the so-many-th failure."""
    doublings = min(max(attempts - 1, 0), 12)
    return min(_FIRST_RETRY * (1 << doublings), _LONGEST_RETRY)


def handed_over(message: Message, answer: Literal["taken", "refused", "unclear"], now: datetime) -> Message:
    """The message after the gateway's answer."""
    attempts = message.attempts + 1
    if answer == "unclear":
        update = {"attempts": attempts, "next_at": now + retry_after(attempts), "reason": "gateway-unclear"}
        return message.model_copy(update=update)
    state = "sent" if answer == "taken" else "refused"
    reason = None if answer == "taken" else "gateway-refused"
    settled: dict[str, object] = {"state": state, "reason": reason, "next_at": None, "settled_at": now}
    return message.model_copy(update={"attempts": attempts, **settled})
