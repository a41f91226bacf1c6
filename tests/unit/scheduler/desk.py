"""A scheduler's desk without engines: what happens at which time, what fires, and what was published of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.scheduler.domain.agenda import Date, Duty, FollowUp, KnownCase, KnownClient, Reminder
from services.scheduler.domain.dates import ahead, next_date
from services.scheduler.domain.planning import Regime
from services.scheduler.reactions import Decision
from shared.contracts.envelope import Event
from shared.contracts.events import CaseClassified, DutyChanged
from shared.mongo.documents import Changes, View
from tests.builders import When, at, event
from tests.reference.fold import REGIME


class Desk:
    def __init__(self, now: When = "2026-03-02 09:00", regime: Regime = REGIME) -> None:
        self.now = at(now)
        self.regime = regime
        self.view = View()
        self.published: list[Event] = []
        self._count = 0

    def hears(self, told: Event, now: When | None = None) -> Desk:
        """An event arrives: when it happened, unless `now` is later."""
        self.until(max(at(now) if now else told.time, self.now))
        self._decide(told.unique).react(told)
        return self._take()

    def hears_of(self, topic: str, when: When, **body: Any) -> Desk:
        self._count += 1
        return self.hears(event(topic, body, time=when, id=f"{topic}-{self._count}"))

    def until(self, instant: When) -> Desk:
        """Fire whatever is due up to an instant."""
        end = at(instant)
        for _ in range(1_000):
            due = [item for item in self.items() if item.next_at and item.next_at <= end]
            item = min(due, key=lambda item: (item.next_at, item.id), default=None)
            begins = self.regime.next_begin(self.now)
            if begins and begins <= min(end, (item and item.next_at) or end):
                self.now = begins
                self.version_begins()
                continue
            if not item:
                self.now = max(self.now, end)
                return self
            assert item.next_at
            self.now = max(self.now, item.next_at)
            self._decide(f"timer {item.id} {item.fired}", item.next_at).fire(item)
            self._take()
        raise AssertionError("timers fire without end")

    def expects(self, rule: str, after: When | None = None) -> Desk:
        """A date of the regime stands on the agenda."""
        regime = self.regime.at(self.now)
        calendar_rule = regime.policy.calendar_rule(rule)
        date = next_date(calendar_rule, at(after) if after else self.now, regime)
        reminder = ahead(date, regime)
        self.view.apply(Changes(puts=[date, *([reminder] if reminder else [])]))
        return self

    def calendar_known(self, regime: Regime) -> Desk:
        """The scheduler starts again with another calendar or policy."""
        self.regime = regime
        for item in self.items():
            self._decide(f"calendar {item.id}").calendar_known(item)
            self._take()
        return self

    def version_begins(self) -> None:
        """As NewVersion does at the beginning of one."""
        for known in [*self.view.all(KnownCase), *self.view.all(KnownClient), *self.items()]:
            self._decide(f"version {known.id}").new_version(known)
            self._take()
        dates = {date.rule for date in self.view.all(Date)}
        for rule in self.regime.at(self.now).policy.calendar if dates else ():
            if rule.name not in dates:
                self.expects(rule.name)

    def items(self) -> list[FollowUp | Duty | Reminder | Date]:
        return [
            *self.view.all(FollowUp), *self.view.all(Duty), *self.view.all(Reminder), *self.view.all(Date)
        ]  # fmt: skip

    def told(self, topic: str) -> list[Any]:
        return [one.data for one in self.published if one.topic == topic]

    def duties(self, rule: str) -> list[tuple[str, datetime]]:
        """What was told of the duties of a rule: change and time."""
        told: list[DutyChanged] = self.told("duty-changed")
        return [(data.change, data.at) for data in told if data.rule == rule]

    def duty(self, rule: str) -> Duty:
        (found,) = [duty for duty in self.view.all(Duty) if duty.rule == rule]
        return found

    def escalations(self, rule: str) -> list[tuple[str, str, datetime]]:
        return [
            (data.reason, data.role, data.due_at)
            for data in self.told("escalation-required")
            if data.rule == rule
        ]

    def reminders(self, what: str) -> list[datetime]:
        return [data.at for data in self.told("reminder-due") if data.what == what]

    def _decide(self, cause: str, now: datetime | None = None) -> Decision:
        self._decision = Decision(self.view, self.regime.at(self.now), cause, now or self.now)
        return self._decision

    def _take(self) -> Desk:
        changes: Changes = self._decision.changes()
        self.view.apply(changes)
        self.published.extend(changes.events)
        return self


def recorded(**other: Any) -> dict[str, Any]:
    """The body of an ordinary `follow-up-recorded`."""
    usual = {
        "follow_up_id": "f1",
        "case_id": "case-1",
        "client_id": "client-1",
        "form": "phone",
        "conducted_at": at("2026-03-02 10:00"),
        "recorded_at": at("2026-03-02 11:00"),
        "by": "staff-1",
        "outcome": "completed",
        "flags": [],
        "bands": {},
    }
    return {**usual, **other}


def milestone(name: str, when: When, subject: str = "f1") -> dict[str, Any]:
    return {"milestone": name, "subject": subject, "reached_at": at(when), "by": "staff-1"}


def classified(**other: Any) -> dict[str, Any]:
    """The body of `case-classified`: closed on 2 March, nothing special."""
    usual = {
        "case_id": "case-1",
        "client_id": "client-1",
        "revision": 1,
        "class": "closed",
        "status": "closed",
        "session_ends": [],
        "closed_at": at("2026-03-02 09:00"),
        "consents": {"follow-up": True},
        "as_of": at("2026-03-02 09:00"),
        "cause": "case-closed",
    }
    return {**usual, **other}


def case_classified(body: dict[str, Any]) -> CaseClassified:
    """That body as the event's own model."""
    data = event("case-classified", body, time=body["as_of"]).data
    assert isinstance(data, CaseClassified)
    return data
