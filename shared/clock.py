"""Time is always passed in: a service knows the time only by the `Clock` it was built with."""

from __future__ import annotations

import asyncio
import heapq
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time and lets a task wait for one."""

    def now(self) -> datetime:
        """The present instant, in UTC, to the millisecond (what MongoDB can keep)."""
        ...

    async def wait_until(self, instant: datetime | None, wake: asyncio.Event) -> None:
        """Return at `instant` (never, if None) or as soon as `wake` is set, whichever comes first."""
        ...


def to_millisecond(instant: datetime) -> datetime:
    """The instant in UTC, cut to whole milliseconds: the precision at which every time is kept and compared."""
    if instant.tzinfo is UTC and not instant.microsecond % 1000:
        return instant
    return instant.astimezone(UTC).replace(microsecond=instant.microsecond // 1000 * 1000)


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return to_millisecond(datetime.now(UTC))

    def monotonic(self) -> float:
        """Seconds that pass and are never set."""
        return time.monotonic()

    async def wait_until(self, instant: datetime | None, wake: asyncio.Event) -> None:
        if instant is None:
            await wake.wait()
            return
        try:
            # At most a minute at a time: a step of the machine's clock is noticed within that.
            seconds = min(max((instant - self.now()).total_seconds(), 0.0), 60.0)
            # Not `wait_for`: in Python 3.11 it swallows a cancellation that comes together with the wake-up.
            async with asyncio.timeout(seconds):
                await wake.wait()
        except TimeoutError:
            pass


class DatabaseClock(SystemClock):
    """The database's time, carried on by the monotonic clock: one time for all replicas, whatever their machines say.

    Before the database has first answered it is the machine's time at the start (docs/decisions/0014).
    """

    def __init__(self) -> None:
        self.set(datetime.now(UTC))

    def now(self) -> datetime:
        return to_millisecond(self._zero + timedelta(seconds=time.monotonic()))

    def set(self, instant: datetime) -> None:
        """It is `instant` now."""
        self._zero = instant - timedelta(seconds=time.monotonic())


class VirtualClock:
    """A clock that stands still until it is moved: time-lapse runs and tests.

    `next_wakeup` tells the earliest instant that anyone waits for; `advance` moves there. All waiters must live
    in the event loop of the one who advances.
    """

    def __init__(self, start: datetime) -> None:
        self._now = to_millisecond(start)
        self._order = 0
        self._waiters: list[tuple[datetime, int, asyncio.Event, str]] = []

    def now(self) -> datetime:
        return self._now

    async def wait_until(self, instant: datetime | None, wake: asyncio.Event) -> None:
        if instant is None:
            await wake.wait()
            return
        if instant <= self._now:
            await asyncio.sleep(0)
            return
        self._order += 1
        task = asyncio.current_task()
        waiter = (instant, self._order, wake, task.get_name() if task else "")
        heapq.heappush(self._waiters, waiter)
        try:
            await wake.wait()
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
                heapq.heapify(self._waiters)

    def next_wakeup(self, aside: str = "") -> datetime | None:
        """The earliest instant that a task waits for, other than the one named; None when nobody waits for one."""
        return min((instant for instant, _, _, task in self._waiters if task != aside), default=None)

    def advance(self, instant: datetime) -> None:
        """Move to `instant` and wake whoever waited for it. Raises ValueError when that lies in the past."""
        if instant < self._now:
            raise ValueError(f"a virtual clock cannot go back from {self._now} to {instant}")
        self._now = to_millisecond(instant)
        while self._waiters and self._waiters[0][0] <= self._now:
            heapq.heappop(self._waiters)[2].set()
