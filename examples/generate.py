"""Writes a timeline: half a year in the life of some clients, as company systems would have published it.

    python examples/generate.py --clients 40 --seed 1 > examples/half-a-year.jsonl

Made-up lives, the same for the same seed: cases open and go through their sessions; most close, some drop out, some
call for key attention in a session or at closing or later, some withdraw consent and some give it again.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

ZONE = timezone(timedelta(hours=8))
SERVICES = ("career-transition", "stress", "workplace-relations")
FLAGGED = 17
"""A counsellor flags a crisis for one client in so many."""
MARKS = ("severe-work-stress", "career-crisis")


class Life:
    """One client's case from beginning to end."""

    def __init__(self, number: int, start: datetime, days: int, seed: int) -> None:
        self.draw = random.Random(f"{seed} {number}")
        self.case = {"case_id": f"case-{number:04}", "client_id": f"client-{number:04}"}
        opened = start + timedelta(days=self.draw.randrange(int(days * 0.7)))
        self.now = self._hour(opened)
        self.count = 0
        self.flagged = number % FLAGGED == 0

    def _hour(self, day: datetime) -> datetime:
        """Some minute of the company's working hours."""
        return day.replace(hour=9) + timedelta(minutes=self.draw.randrange(10 * 60))

    def _later(self, low: int, high: int) -> datetime:
        self.now = self._hour(
            self.now.replace(hour=0, minute=0) + timedelta(days=self.draw.randint(low, high))
        )
        return self.now

    def _event(self, topic: str, time: datetime, subject: str, /, **data: Any) -> dict[str, Any]:
        self.count += 1
        body = {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in data.items()
        }
        return {
            "specversion": "1.0",
            "id": f"{self.case['case_id']}-{self.count:02}",
            "source": "/company/counselling",
            "type": f"aftercare.{topic}.v1",
            "time": time.isoformat(),
            "subject": subject,
            "datacontenttype": "application/json",
            "data": body,
        }

    def _case_event(self, topic: str, time: datetime, /, **data: Any) -> dict[str, Any]:
        return self._event(topic, time, self.case["case_id"], **self.case, **data)

    def events(self) -> Iterator[dict[str, Any]]:
        draw = self.draw
        sessions = draw.choice((3, 4, 5, 6, 6, 8))
        yield self._case_event(
            "case-opened",
            self.now,
            counsellor_id=f"counsellor-{draw.randint(1, 6)}",
            service=draw.choice(SERVICES),
            agreed_sessions=sessions,
            opened_at=self.now,
            eligibility={"acute_crisis": False, "severe_illness": False, "age": draw.randint(22, 58)},
        )
        drops_after = draw.randrange(1, sessions) if draw.random() < 0.2 else None
        for number in range(1, sessions + 1):
            ended = self._later(5, 9)
            marked = [draw.choice(MARKS)] if draw.random() < 0.03 else []
            yield self._case_event(
                "session-completed",
                ended,
                session_no=number,
                mode="individual",
                started_at=ended - timedelta(minutes=draw.randint(50, 60)),
                ended_at=ended,
                marks=marked,
            )
            if number == 2 and self.flagged:
                yield self._crisis(ended + timedelta(minutes=10))
            if number == drops_after:
                yield from self._drop(number)
                return
        yield from self._close(sessions)

    def _drop(self, done: int) -> Iterator[dict[str, Any]]:
        at = self._later(3, 12)
        reason = self.draw.choice(("price", "time", "no-effect", "solved", "unknown"))
        yield self._case_event("client-dropped", at, dropped_at=at, sessions_completed=done, reason=reason)

    def _close(self, done: int) -> Iterator[dict[str, Any]]:
        at = self._later(1, 3)
        outcome = "below-expectation" if self.draw.random() < 0.15 else "as-expected"
        yield self._case_event("case-closed", at, closed_at=at, sessions_completed=done, outcome=outcome)
        chance = self.draw.random()
        if chance < 0.06:
            at = self._later(2, 40)
            yield self._case_event(
                "attention-changed",
                at,
                reason="career-crisis",
                state="decided",
                decided_by="counsellor-1",
                at=at,
            )
        elif chance < 0.14:
            yield self._consent(self._later(2, 30), False)
            if chance < 0.10:
                yield self._consent(self._later(5, 40), True)

    def _crisis(self, at: datetime) -> dict[str, Any]:
        """The counsellor is worried after a session."""
        return self._event(
            "crisis-flagged",
            at,
            self.case["client_id"],
            **self.case,
            flagged_at=at,
            source="counsellor",
            signals=["self-harm"],
            level="high",
            flagged_by="counsellor-1",
        )

    def _consent(self, at: datetime, allowed: bool) -> dict[str, Any]:
        client = self.case["client_id"]
        return self._event(
            "consent-changed",
            at,
            client,
            client_id=client,
            changed_at=at,
            notice_version="2026-1",
            purposes={"follow-up": allowed},
        )


def timeline(clients: int, seed: int, start: datetime, days: int = 182) -> list[dict[str, Any]]:
    """Every event of so many lives, in the order of their times."""
    until = start + timedelta(days=days)
    events = [event for number in range(1, clients + 1) for event in Life(number, start, days, seed).events()]
    return sorted(
        (event for event in events if event["time"] < until.isoformat()), key=lambda event: event["time"]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", default="2026-01-05", help="the first day")
    given = parser.parse_args()
    first = datetime.fromisoformat(given.start).replace(tzinfo=ZONE)
    for made in timeline(given.clients, given.seed, first):
        sys.stdout.write(json.dumps(made) + "\n")
