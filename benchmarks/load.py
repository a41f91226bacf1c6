"""The load: closed cases of three sessions each, as company systems would publish them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from shared.messaging.bus import Outgoing

EVENTS_PER_CASE = 4


def closed_cases(cases: int, now: datetime) -> Iterator[Outgoing]:
    """Sessions and closings of the last hours: all follow-ups lie ahead, so that no timer fires meanwhile."""
    began = now.replace(microsecond=0) - timedelta(hours=6)
    for number in range(cases):
        yield from closed_case(str(number), began, timedelta(hours=1))


def closed_case(name: str, began: datetime, apart: timedelta) -> Iterator[Outgoing]:
    """Three sessions and the closing of one case, so far apart."""
    about = {"case_id": f"case-{name}", "client_id": f"client-{name}"}
    for number in range(1, EVENTS_PER_CASE):
        yield session(name, number, began + number * apart)
    closed = began + EVENTS_PER_CASE * apart
    yield _record(
        "case-closed",
        f"{name}-closed",
        closed,
        about,
        closed_at=closed.isoformat(),
        sessions_completed=EVENTS_PER_CASE - 1,
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


def opening(name: str, at: datetime) -> Iterator[Outgoing]:
    """A case is opened, and its client allows follow-ups."""
    client = {"client_id": f"client-{name}"}
    yield _record(
        "case-opened",
        f"{name}-opened",
        at,
        {"case_id": f"case-{name}", **client},
        counsellor_id="counsellor-1",
        service="workplace-adaptation",
        agreed_sessions=EVENTS_PER_CASE - 1,
        opened_at=at.isoformat(),
        eligibility={
            "age": 34,
            "employment": "employed",
            "acute_crisis": False,
            "severe_illness": False,
            "agreements_signed": True,
        },
    )
    yield _record(
        "consent-changed",
        f"{name}-consent",
        at,
        client,
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
