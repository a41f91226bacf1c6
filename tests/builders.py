"""Builders of the events that company systems publish: every field has a sensible value, keywords replace it.

Times are written as Shanghai reads them (`"2026-03-02 10:00"`; a date alone means 10:00) or are instants. `time`,
when the event happened, is the body's own time unless given. The same call gives the same event, id included, so a
repetition is made by calling twice and another event by giving another `id`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.clock import to_millisecond
from shared.contracts.envelope import Event
from shared.contracts.topics import TOPICS
from shared.contracts.types import COMPANY_ZONE, write_time

COMPANY = "/company/consultations"
"""The source of events unless another is given."""

When = str | datetime


def at(when: When) -> datetime:
    """An instant in UTC: `2026-03-02` is 10:00 of that day in Shanghai, `2026-03-02 23:59` that minute."""
    if isinstance(when, datetime):
        return to_millisecond(when)
    written = datetime.fromisoformat(when if len(when) > len("2026-03-02") else f"{when} 10:00")
    return to_millisecond(written if written.tzinfo else written.replace(tzinfo=COMPANY_ZONE))


def event(
    topic: str,
    body: Mapping[str, Any],
    *,
    time: When | None = None,
    id: str | None = None,  # named as in CloudEvents
    source: str = COMPANY,
    traceparent: str | None = None,
) -> Event:
    """An event of any topic out of its body as on the wire; a field that is None is left out."""
    wire = {name: _wire(value) for name, value in body.items() if value is not None}
    data = TOPICS[topic].model.from_json(json.dumps(wire, default=write_time).encode())
    subject = str(getattr(data, TOPICS[topic].subject))
    happened = at(time) if time is not None else at(_own_time(wire))
    key = (
        id
        or hashlib.sha256(f"{topic} {write_time(happened)} {sorted(wire.items())}".encode()).hexdigest()[:24]
    )
    return Event(key, source, topic, happened, subject, data, traceparent=traceparent)


def _wire(value: Any) -> Any:
    if isinstance(value, datetime):
        return write_time(value)
    return list(value) if isinstance(value, tuple | set | frozenset) else value


_TIMES = (
    "ended_at", "opened_at", "requested_at", "starts_at", "closed_at", "dropped_at", "flagged_at", "changed_at",
    "reached_at", "conducted_at", "at",
)  # fmt: skip


def _own_time(wire: Mapping[str, Any]) -> str:
    return next(str(wire[name]) for name in _TIMES if name in wire)


_CONTEXT = ("time", "id", "source", "traceparent")


def _build(topic: str, given: Mapping[str, Any], **usual: Any) -> Event:
    body = {**usual, **{name: value for name, value in given.items() if name not in _CONTEXT}}
    for name in (*_TIMES, "started_at"):
        if isinstance(body.get(name), str):
            body[name] = at(body[name])
    context = {name: given[name] for name in _CONTEXT if name in given}
    return event(topic, body, **context)


def case_opened(**given: Any) -> Event:
    return _build(
        "case-opened",
        given,
        case_id="case-1",
        client_id="client-1",
        counsellor_id="counsellor-1",
        service="stress",
        agreed_sessions=6,
        opened_at="2026-03-02 10:00",
        eligibility={"acute_crisis": False, "severe_illness": False},
    )


def booking_requested(**given: Any) -> Event:
    return _build(
        "booking-requested",
        given,
        booking_id="booking-1",
        client_id="client-1",
        service="workplace-adaptation",
        channel="site",
        requested_at="2026-03-02 09:00",
    )


def session_scheduled(**given: Any) -> Event:
    """Known a day before it starts, unless `time` says otherwise."""
    starts_at = at(given.pop("starts_at", "2026-03-09 10:00"))
    return _build(
        "session-scheduled",
        {"time": starts_at - timedelta(days=1), **given},
        case_id="case-1",
        client_id="client-1",
        session_no=1,
        mode="individual",
        starts_at=starts_at,
    )


def session_completed(**given: Any) -> Event:
    """Fifty minutes long, unless `started_at` says otherwise."""
    ended_at = at(given.pop("ended_at", "2026-03-09 10:50"))
    return _build(
        "session-completed",
        given,
        case_id="case-1",
        client_id="client-1",
        session_no=1,
        mode="individual",
        started_at=ended_at - timedelta(minutes=50),
        ended_at=ended_at,
        marks=[],
    )


def case_closed(**given: Any) -> Event:
    return _build(
        "case-closed",
        given,
        case_id="case-1",
        client_id="client-1",
        closed_at="2026-04-20 17:00",
        sessions_completed=6,
        outcome="as-expected",
    )


def client_dropped(**given: Any) -> Event:
    return _build(
        "client-dropped",
        given,
        case_id="case-1",
        client_id="client-1",
        dropped_at="2026-04-20 17:00",
        sessions_completed=2,
    )


def attention_changed(**given: Any) -> Event:
    return _build(
        "attention-changed",
        given,
        case_id="case-1",
        client_id="client-1",
        reason="career-crisis",
        state="decided",
        decided_by="counsellor-1",
        at="2026-04-01 10:00",
    )


def crisis_flagged(flag_source: str = "counsellor", **given: Any) -> Event:
    """`flag_source` is the body's `source` (who saw the danger); `source` stays the publisher."""
    return _build(
        "crisis-flagged",
        given,
        client_id="client-1",
        flagged_at="2026-04-01 10:00",
        source=flag_source,
        signals=["suicidal-thoughts"],
        level="high",
    )


def consent_changed(**given: Any) -> Event:
    return _build(
        "consent-changed",
        given,
        client_id="client-1",
        changed_at="2026-04-01 10:00",
        notice_version="notice-1",
        purposes={"follow-up": False},
    )


def client_status_changed(**given: Any) -> Event:
    return _build(
        "client-status-changed", given, client_id="client-1", status="deceased", at="2026-04-01 10:00"
    )


def client_erased(**given: Any) -> Event:
    return _build(
        "client-erased", given, client_id="client-1", requested_at="2026-04-01 10:00", by="privacy-desk"
    )


def milestone_reached(**given: Any) -> Event:
    return _build(
        "milestone-reached",
        given,
        milestone="follow-up-prepared",
        subject="follow-up-1",
        reached_at="2026-04-01 10:00",
        by="staff-1",
    )


def staff_updated(**given: Any) -> Event:
    return _build(
        "staff-updated",
        given,
        staff_id="staff-1",
        changed_at="2026-03-01 09:00",
        roles=["follow-up"],
        certificate="level-3",
        experience_months=24,
        exam_passed_year=2026,
        training=2,
        available=True,
    )


def follow_up_recorded(**given: Any) -> Event:
    """As survey publishes it: recorded an hour after it was conducted, unless `time` says otherwise."""
    conducted_at = at(given.pop("conducted_at", "2026-04-01 10:00"))
    recorded_at = conducted_at + timedelta(hours=1)
    return _build(
        "follow-up-recorded",
        {"time": recorded_at, **given},
        follow_up_id="follow-up-1",
        case_id="case-1",
        client_id="client-1",
        form="phone",
        conducted_at=conducted_at,
        recorded_at=recorded_at,
        by="staff-1",
        outcome="completed",
        flags=[],
        bands={},
    )


@dataclass
class Timeline:
    """The story of one case as its events, in the order in which they happened.

    >>> Timeline().opened("2026-03-02").sessions(3, "2026-03-05", every=7).closed("2026-03-20").events
    """

    case_id: str = "case-1"
    client_id: str = "client-1"
    events: list[Event] = field(default_factory=list)

    @property
    def held(self) -> int:
        """How many sessions the story has so far."""
        return sum(told.topic == "session-completed" for told in self.events)

    def opened(self, when: When, **given: Any) -> Timeline:
        return self._tell(case_opened(**self._case(given), opened_at=when))

    def session(self, when: When, **given: Any) -> Timeline:
        """One more session, ended at that time."""
        given.setdefault("session_no", self.held + 1)
        return self._tell(session_completed(**self._case(given), ended_at=when))

    def sessions(self, count: int, first: When, *, every: int = 7) -> Timeline:
        """So many more sessions, that many days apart."""
        for nth in range(count):
            self.session(at(first) + timedelta(days=nth * every))
        return self

    def closed(self, when: When, **given: Any) -> Timeline:
        given.setdefault("sessions_completed", self.held)
        return self._tell(case_closed(**self._case(given), closed_at=when))

    def dropped(self, when: When, **given: Any) -> Timeline:
        given.setdefault("sessions_completed", self.held)
        return self._tell(client_dropped(**self._case(given), dropped_at=when))

    def attention(self, when: When, state: str = "decided", **given: Any) -> Timeline:
        return self._tell(attention_changed(**self._case(given), at=when, state=state))

    def consent(self, when: When, **given: Any) -> Timeline:
        given.setdefault("client_id", self.client_id)
        return self._tell(consent_changed(**given, changed_at=when))

    def status(self, when: When, status: str) -> Timeline:
        return self._tell(client_status_changed(client_id=self.client_id, at=when, status=status))

    def _case(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"case_id": self.case_id, "client_id": self.client_id, **given}

    def _tell(self, told: Event) -> Timeline:
        self.events.append(told)
        return self
