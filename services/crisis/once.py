"""What was done already: a request that a phone on a bad line sends again does nothing a second time."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header

REMEMBERED = 1_000
"""Requests of which we know that they were done. They are repeated within minutes or not at all."""

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=64,
        description="The same for every attempt at one request: what was done is not done again.",
    ),
]


class Once:
    """Remembers the keys of what was done, in memory. After a restart doing it again is what it always was: harmless
    where the incident has not changed since."""

    def __init__(self) -> None:
        self._done: dict[tuple[str, str, str], None] = {}

    def has(self, by: str, incident_id: str, key: str | None) -> bool:
        """Whether this person's request with this key was done."""
        return key is not None and (by, incident_id, key) in self._done

    def keep(self, by: str, incident_id: str, key: str | None) -> None:
        """It was done."""
        if key is None:
            return
        self._done[by, incident_id, key] = None
        if len(self._done) > REMEMBERED:
            del self._done[next(iter(self._done))]
