"""Turns on the event loop: a computation over a whole batch must not keep a crisis that comes over HTTP waiting."""

from __future__ import annotations

import asyncio
import time

TURN_SECONDS = 0.005


class Turn:
    """What a computation does at a stretch. Begins when made."""

    def __init__(self) -> None:
        self._ends = time.perf_counter() + TURN_SECONDS

    async def share(self) -> None:
        """Let others have their turn, once this one has lasted long enough."""
        if time.perf_counter() > self._ends:
            await asyncio.sleep(0)
            self._ends = time.perf_counter() + TURN_SECONDS
