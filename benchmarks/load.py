"""The load: cases that are opened, have two sessions and close, as company systems would publish them.

The topics are read apart, so the closing may come before the sessions. Whatever comes first makes the same work: two
sessions call for no follow-up (F38 asks after three), and the closing for two (F36).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from shared.messaging.bus import Outgoing

SESSIONS = 2
EVENTS_PER_CASE = SESSIONS + 2
TOPICS = ("case-opened", "session-completed", "case-closed")


def closed_cases(cases: int, now: datetime) -> Iterator[Outgoing]:
    """Cases of the last hours: all follow-ups lie ahead, so that no timer fires meanwhile."""
    began = now.replace(microsecond=0) - timedelta(hours=6)
    for number in range(cases):
        yield from closed_case(str(number), began, timedelta(hours=1))


def closed_case(name: str, began: datetime, apart: timedelta) -> Iterator[Outgoing]:
    """One case from its opening to its closing, its events so far apart."""
    about = {"case_id": f"case-{name}", "client_id": f"client-{name}"}
    yield _record(
        "case-opened",
        f"{name}-opened",
        began,
        about,
        counsellor_id="counsellor-1",
        service="career-transition",
        agreed_sessions=SESSIONS,
        opened_at=began.isoformat(),
        eligibility={
            "age": 34,
            "employment": "employed",
            "acute_crisis": False,
            "severe_illness": False,
            "agreements_signed": True,
        },
    )
    for number in range(1, SESSIONS + 1):
        yield session(name, number, began + number * apart)
    closed = began + (SESSIONS + 1) * apart
    yield _record(
        "case-closed",
        f"{name}-closed",
        closed,
        about,
        closed_at=closed.isoformat(),
        sessions_completed=SESSIONS,
        outcome="as-expected",
    )


def session(name: str, number: int, ended: datetime) -> Outgoing:
    """One session of a case, by its number."""
    return _record(
        "session-completed",
        f"{name}-{number}",
        ended,
        {"case_id": f"case-{name}", "client_id": f"client-{name}"},
        session_no=number,
        mode="individual",
        started_at=(ended - timedelta(minutes=50)).isoformat(),
        ended_at=ended.isoformat(),
        marks=[],
    )


def consent(name: str, at: datetime) -> Outgoing:
    """A client allows follow-ups and scales."""
    return _record(
        "consent-changed",
        f"{name}-consent",
        at,
        {"client_id": f"client-{name}"},
        changed_at=at.isoformat(),
        notice_version="2026-01",
        purposes={"follow-up": True, "scales": True},
    )


def _record(topic: str, name: str, time: datetime, about: dict[str, str], **data: Any) -> Outgoing:
    subject = about.get("case_id") or about["client_id"]
    headers = {
        "ce_specversion": "1.0",
        "ce_id": name,
        "ce_source": "/company/benchmark",
        "ce_type": f"aftercare.{topic}.v1",
        "ce_time": time.isoformat(),
        "ce_subject": subject,
        "content-type": "application/json",
    }
    return Outgoing(
        topic,
        subject.encode(),
        json.dumps(about | data).encode(),
        tuple((header, value.encode()) for header, value in headers.items()),
    )
