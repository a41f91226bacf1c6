"""Reminders: one message at a time before or after something, unless what it is about has ended."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from services.scheduler.domain.agenda import Reminder, name_of
from services.scheduler.domain.duties import Happening, matches
from services.scheduler.domain.planning import Regime
from shared.contracts.events import CaseClassified, FollowUpPlanned
from shared.contracts.types import EventData
from shared.policy.conditions import field_of
from shared.policy.counting import at_ten, local_day
from shared.policy.model import LAST_SEEN, ReminderRule


def last_seen(data: EventData) -> datetime | None:
    """When a case last showed a sign of its client (collision 5): the end of a session, or the opening."""
    assert isinstance(data, CaseClassified)
    ends = [end.ended_at for end in data.session_ends]
    return max([*ends, *([data.opened_at] if data.opened_at else [])], default=None)


def reminder_id(rule: ReminderRule, subject: str) -> str:
    return name_of("reminder", rule.name, subject)


def opened_by(what: Happening, regime: Regime) -> Iterable[tuple[ReminderRule, str]]:
    """The reminder rules that a happening starts or moves, each with the reminder's subject."""
    if isinstance(what.data, FollowUpPlanned) and what.data.change not in ("planned", "moved"):
        return
    for rule in regime.reminders.get(what.topic, ()):
        if rule.field == LAST_SEEN and not rule.after:
            continue  # nobody is asked about silences
        if matches(rule.opened_by, what):
            subject = rule.subject_of(what.topic, what.data)
            if subject:
                yield rule, subject


def cancelled_by(what: Happening, regime: Regime) -> list[tuple[ReminderRule, str | None]]:
    """The rules whose reminders a happening makes pointless, each with the reminder's subject; None where it does not
    name it, and means all of the case: a closing names no session."""
    return [
        (rule, rule.subject_of(what.topic, what.data))
        for rule in regime.reminders.get(what.topic, ())
        if any(matches(ending, what) for ending in rule.cancelled_by)
    ]


def cases_ended_by(what: Happening, regime: Regime) -> set[str]:
    """The case of which a happening makes reminders pointless without naming each."""
    case_id = getattr(what.data, "case_id", None)
    of_the_case = any(subject is None for _, subject in cancelled_by(what, regime))
    return {case_id} if case_id and of_the_case else set()


def gone_on(held: Reminder, what: Happening) -> Reminder | None:
    """A reminder that went out some time after a thing that did not last: when the thing comes again, so does it.
    None where it was about a time or a silence: these are told apart by themselves."""
    if held.state != "sent" or held.pointless_from or held.since:
        return None
    return held.model_copy(update={"state": "cancelled", "told_of": what.at})


def remind(
    held: Reminder | None, rule: ReminderRule, subject: str, what: Happening, regime: Regime, now: datetime
) -> Reminder | None:
    """The reminder, at its time or at once where less is left; None when there was nothing left to remind of.

    Who was told of a time is told again only of another one; what moves into the past is not told at all. Of a silence
    the counsellor is told once, and again only after the client was seen since.
    """
    instant = _counted_from(rule, what.data)
    if instant is None:
        return None
    if held and held.state == "sent" and not _is_new(held, rule, instant):
        return None
    if instant <= now and rule.before:
        return held.model_copy(update={"state": "cancelled", "next_at": None}) if held else None
    at = instant - rule.before + rule.after
    if rule.after >= timedelta(days=1):  # days later means on that day, at the regime's hour: not at night
        switches = regime.policy.switches
        at = at_ten(local_day(at, switches.zone), switches.hour, switches.zone)
    person = field_of(what.data, rule.to_staff) if rule.to_staff else None
    reminder = Reminder(
        id=reminder_id(rule, subject),
        rule=rule.name,
        clause=rule.clause,
        subject=subject,
        case_id=getattr(what.data, "case_id", None),
        client_id=getattr(what.data, "client_id", None),
        what=rule.what,
        to=f"staff:{person}" if person else rule.to,
        next_at=max(at, now),
        said_at=what.at,
        pointless_from=instant if rule.before else None,
        since=instant if rule.field == LAST_SEEN else None,
        told_of=held.told_of if held else None,
        fired=held.fired if held else 0,
    )
    return None if reminder == held else reminder


def _is_new(held: Reminder, rule: ReminderRule, instant: datetime) -> bool:
    """Whether a reminder that went out has something new to tell."""
    if held.since:
        return instant > held.since
    return bool(rule.before) and held.told_of != instant


def _counted_from(rule: ReminderRule, data: EventData) -> datetime | None:
    """The time that a rule counts from; None where the client of a case has not been seen yet."""
    if rule.field == LAST_SEEN:
        return last_seen(data)
    instant = field_of(data, rule.field)
    assert isinstance(instant, datetime)
    return instant
