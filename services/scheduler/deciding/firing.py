"""What comes of something on the agenda whose time has come."""

from __future__ import annotations

from datetime import timedelta

from services.scheduler.deciding.follow_ups import FollowUps
from services.scheduler.domain import dates, duties, plans
from services.scheduler.domain.agenda import AnyItem, Date, Duty, FollowUp, Reminder
from services.scheduler.domain.plans import Plan
from shared.contracts.events import CalendarDue, ReminderDue
from shared.policy.counting import month_of

LOOK_AGAIN = timedelta(days=1)
"""So often it is looked whether a follow-up still waits for a signature; the signature itself releases it at once."""
MANAGER = "department-manager"
"""Who is told of a follow-up that was not conducted in time."""


class Firing(FollowUps):
    """The part of a decision that fires timers."""

    def fire(self, item: AnyItem) -> None:
        """What comes of an item whose time has come."""
        item = item.model_copy(update={"fired": item.fired + 1})
        match item:
            case FollowUp():
                self._fire_follow_up(item)
            case Duty():
                self._fire_duty(item)
            case Reminder():
                self._fire_reminder(item)
            case Date():
                self._fire_date(item)

    def _fire_follow_up(self, item: FollowUp) -> None:
        waits = item.due_at is None and self._waits(item)
        if waits and self.now < item.complete_by:
            month = month_of(item.scheduled_for, self.regime.policy.switches.zone)
            again = min(self.now + LOOK_AGAIN, item.complete_by)
            self._put(item.model_copy(update={"held_for": month, "next_at": again}))
            return
        if item.due_at is None and not waits:
            due = item.due()
            update = {"state": "due", "due_at": self.now, "next_at": max(item.complete_by, self.now)}
            self._put(item.model_copy(update={**update, "held_for": None}))
            self._publish("follow-up-due", due)
            self.happened("follow-up-due", due, self.now)
            return
        self._put(item.model_copy(update={"state": "missed", "next_at": None}))
        self._escalate(item, MANAGER, item.complete_by, "follow-up-missed")

    def _fire_duty(self, item: Duty) -> None:
        rule = self.regime.duty_rules_ever[item.rule]
        late = duties.late_from(item, self.regime)
        if self.now < late:
            self._put(duties.warned(item, rule, self.regime))
            self._escalate(item, item.role, late, "due-soon")
            return
        self.now = late
        self._put(item.model_copy(update={"published": (*item.published, "late"), "next_at": None}))
        self._publish_duty(item, "late", late)
        self._escalate(item, rule.escalate_to, late, "late", rule.urgency)

    def _fire_reminder(self, item: Reminder) -> None:
        in_crisis = item.to == "client" and item.client_id and self._client(item.client_id).open_incidents
        follow_up = self.view.get(FollowUp, item.subject)
        if in_crisis or (follow_up and follow_up.due_at is None and self._waits(follow_up)):
            self._put(item.model_copy(update={"state": "held", "next_at": None}))
            return
        if (
            item.pointless_from and item.pointless_from <= self.now
        ) or item.rule not in self.regime.reminding:
            self._no_reminder(item)
            return
        told_of = {"told_of": item.pointless_from or item.told_of}
        self._put(item.model_copy(update={"state": "sent", "next_at": None, **told_of}))
        self._publish(
            "reminder-due",
            ReminderDue(
                reminder_id=item.told_as,
                what=item.what,
                to=item.to,
                subject=item.subject,
                case_id=item.case_id,
                client_id=item.client_id,
                clause=item.clause,
                at=self.now,
            ),
        )

    def _fire_date(self, item: Date) -> None:
        rule = self.regime.date_rules_ever[item.rule]
        due = CalendarDue(rule=item.rule, clause=item.clause, month=item.month, due_at=item.due_at)
        if item.rule in self.regime.date_rules:
            self._date(dates.next_date(rule, item.due_at, self.regime, beyond=item.month))
        else:
            self._removals.append(item)
        if rule.what == "plan":
            self._put(plans.drafted(self.view.get(Plan, item.month), item.month, self.now))
        self._publish("calendar-due", due)
        self.happened("calendar-due", due, self.now)

    def _date(self, date: Date) -> None:
        """Put the next coming of a date on the agenda, and what reminds of it."""
        self._put(date)
        reminder = dates.ahead(date, self.regime)
        held = self._reminder(reminder.id) if reminder else None
        if reminder and not (held and held.state == "sent"):
            self._put(reminder)
