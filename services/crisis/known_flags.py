"""The flags that are known, so that one that comes again pages nobody twice. In memory: a flag waits for no storage."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

REMEMBERED = timedelta(days=40)
"""How long a flag is recognised from memory: longer than the bus keeps it (30 days) and may bring it again. After
that it pages once more if somebody sends it over HTTP, and joins its old incident where it is written down."""


class Known(NamedTuple):
    """What is remembered of a flag."""

    digest: str
    incident_id: str
    at: datetime
    """When it arrived."""


class KnownFlags:
    """Flags by `source id`, forgotten in the order in which they came."""

    def __init__(self) -> None:
        self._flags: dict[str, Known] = {}

    def __len__(self) -> int:
        return len(self._flags)

    def get(self, unique: str) -> Known | None:
        return self._flags.get(unique)

    def remember(self, unique: str, digest: str, incident_id: str, at: datetime) -> None:
        """Remember a flag; one that is known may have come to belong to another incident."""
        known = self._flags.get(unique)
        self._flags[unique] = Known(digest, incident_id, known.at if known else at)

    def load(self, stored: Iterable[tuple[str, Known]]) -> None:
        """Add what was written down, oldest first, before what has come since."""
        since, self._flags = self._flags, dict(stored)
        self._flags |= since

    def forget(self, now: datetime) -> None:
        """Let go of what came longer ago than `REMEMBERED`."""
        limit = now - REMEMBERED
        while self._flags and self._flags[oldest := next(iter(self._flags))].at < limit:
            del self._flags[oldest]
