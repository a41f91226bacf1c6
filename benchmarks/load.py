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
        about = {"case_id": f"case-{number}", "client_id": f"client-{number}"}
        for session in range(1, EVENTS_PER_CASE):
            ended = began + timedelta(hours=session)
            yield _record(
                "session-completed",
                f"{number}-{session}",
                ended,
                about,
                session_no=session,
                mode="individual",
                started_at=(ended - timedelta(minutes=50)).isoformat(),
                ended_at=ended.isoformat(),
                marks=[],
            )
        closed = began + timedelta(hours=EVENTS_PER_CASE)
        yield _record(
            "case-closed",
            f"{number}-closed",
            closed,
            about,
            closed_at=closed.isoformat(),
            sessions_completed=EVENTS_PER_CASE - 1,
            outcome="as-expected",
        )


def _record(topic: str, name: str, time: datetime, about: dict[str, str], **data: Any) -> Outgoing:
    headers = {
        "ce_specversion": "1.0",
        "ce_id": name,
        "ce_source": "/company/benchmark",
        "ce_type": f"aftercare.{topic}.v1",
        "ce_time": time.isoformat(),
        "ce_subject": about["case_id"],
        "content-type": "application/json",
    }
    return Outgoing(
        topic,
        about["case_id"].encode(),
        json.dumps(about | data).encode(),
        tuple((header, value.encode()) for header, value in headers.items()),
    )
