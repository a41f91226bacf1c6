"""What a contender is told, and the record that each of its timers publishes. The standard library alone."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Lot:
    """Timers with ids counting up. The first are due `at` (Unix seconds), as many as are due `together`; the next
    ones so many seconds `apart`."""

    first: int
    count: int
    at: float
    apart: float = 0
    together: int = 1

    def timers(self) -> Iterator[tuple[str, datetime]]:
        """Each timer's id and time, to the millisecond."""
        for n in range(self.count):
            at = self.at + n // self.together * self.apart
            yield f"t-{self.first + n}", datetime.fromtimestamp(round(at, 3), UTC)


@dataclass(frozen=True)
class Given:
    """Where the servers are, and the record to publish: key, id and time are the timer's own."""

    kafka: str
    topic: str
    value: str
    headers: dict[str, str]
    mongo: str = ""
    database: str = ""
    redis: str = ""
    postgres: str = ""

    def record(self, timer: str, at: str) -> dict[str, Any]:
        """Topic, key, value and headers of a timer's record."""
        headers = {**self.headers, "ce_id": timer, "ce_time": at, "ce_subject": timer}
        return {
            "topic": self.topic,
            "key": timer.encode(),
            "value": self.value.encode(),
            "headers": [(name, value.encode()) for name, value in headers.items()],
        }


def told() -> Given:
    """The file that GIVEN names."""
    return Given(**json.loads(Path(os.environ["GIVEN"]).read_text()))


def timers() -> Iterator[tuple[str, datetime]]:
    """The timers of the lots that the command line names."""
    for text in sys.argv[3:]:
        yield from Lot(**json.loads(text)).timers()
