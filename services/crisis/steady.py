"""Time for the pager: it may jump ahead, and never goes back, so that no step that is due becomes due later."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import structlog

from shared.clock import SystemClock, to_millisecond

log = structlog.get_logger(__name__)

TOLERATED = timedelta(seconds=5)
"""A step back of less than this is a correction, and followed."""


class SteadyClock(SystemClock):
    """Follows another clock, and goes on at its own pace where that one steps back (docs/decisions/0053)."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._ahead = timedelta()
        """By how much it is ahead of the other since that stepped back."""
        self._last, self._at = clock.now(), clock.monotonic()

    def now(self) -> datetime:
        told, at = self._clock.now() + self._ahead, self._clock.monotonic()
        expected = self._last + timedelta(seconds=at - self._at)
        if told < expected - TOLERATED:
            self._ahead += expected - told
            log.error("the clock stepped back", seconds=round((expected - told).total_seconds(), 1))
            told = expected
        elif told > expected + TOLERATED and self._ahead:  # it was put right again
            back = min(told - expected, self._ahead)
            self._ahead -= back
            told -= back
        self._last, self._at = told, at
        return to_millisecond(told)

    async def wait_until(self, instant: datetime | None, wake: asyncio.Event) -> None:
        # What is left by this clock passes at the pace of the other one.
        told = None if instant is None else self._clock.now() + (instant - self.now())
        await self._clock.wait_until(told, wake)
