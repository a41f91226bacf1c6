"""Time that stands still until it is moved."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from shared.clock import DatabaseClock, SystemClock, VirtualClock, to_millisecond

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def waiting(clock: VirtualClock, instant: datetime | None, wake: asyncio.Event) -> asyncio.Task[None]:
    return asyncio.create_task(clock.wait_until(instant, wake))


async def test_it_does_not_move_by_itself() -> None:
    clock = VirtualClock(NOON)
    await asyncio.sleep(0)
    assert clock.now() == NOON
    assert clock.next_wakeup() is None


async def test_whoever_waits_is_woken_at_the_time_and_not_before() -> None:
    clock = VirtualClock(NOON)
    task = waiting(clock, NOON + HOUR, asyncio.Event())
    await asyncio.sleep(0)
    assert clock.next_wakeup() == NOON + HOUR

    clock.advance(NOON + HOUR / 2)
    await asyncio.sleep(0)
    assert not task.done()

    clock.advance(NOON + HOUR)
    await task
    assert clock.next_wakeup() is None


async def test_a_task_can_be_set_aside_by_its_name() -> None:
    clock = VirtualClock(NOON)
    waiting(clock, NOON + HOUR, asyncio.Event()).set_name("pager")
    later = waiting(clock, NOON + 2 * HOUR, asyncio.Event())
    await asyncio.sleep(0)
    assert clock.next_wakeup() == NOON + HOUR
    assert clock.next_wakeup(aside="pager") == NOON + 2 * HOUR
    later.cancel()


async def test_the_earliest_waiter_comes_first() -> None:
    clock = VirtualClock(NOON)
    later, sooner = (
        waiting(clock, NOON + 2 * HOUR, asyncio.Event()),
        waiting(clock, NOON + HOUR, asyncio.Event()),
    )
    await asyncio.sleep(0)

    assert clock.next_wakeup() == NOON + HOUR
    clock.advance(NOON + HOUR)
    await sooner
    assert not later.done()
    clock.advance(NOON + 2 * HOUR)
    await later


async def test_a_wake_ends_the_wait_before_its_time() -> None:
    clock = VirtualClock(NOON)
    wake = asyncio.Event()
    task = waiting(clock, NOON + HOUR, wake)
    await asyncio.sleep(0)

    wake.set()
    await task
    assert clock.now() == NOON
    assert clock.next_wakeup() is None


async def test_what_has_passed_is_not_waited_for() -> None:
    clock = VirtualClock(NOON)
    await clock.wait_until(NOON - HOUR, asyncio.Event())
    await clock.wait_until(NOON, asyncio.Event())


async def test_without_a_time_only_a_wake_ends_the_wait() -> None:
    clock = VirtualClock(NOON)
    wake = asyncio.Event()
    task = waiting(clock, None, wake)
    clock.advance(NOON + 1000 * HOUR)
    await asyncio.sleep(0)
    assert not task.done()
    wake.set()
    await task


async def test_one_who_gave_up_is_forgotten() -> None:
    clock = VirtualClock(NOON)
    task = waiting(clock, NOON + HOUR, asyncio.Event())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.next_wakeup() is None


def test_it_cannot_go_back() -> None:
    with pytest.raises(ValueError, match="cannot go back"):
        VirtualClock(NOON).advance(NOON - HOUR)


def test_times_are_kept_to_the_millisecond_in_utc() -> None:
    shanghai = datetime.fromisoformat("2026-03-02T20:00:00.123999+08:00")
    assert to_millisecond(shanghai) == NOON.replace(microsecond=123_000)
    assert VirtualClock(shanghai).now().tzinfo is UTC


async def test_the_machines_clock_is_woken_too() -> None:
    clock = SystemClock()
    wake = asyncio.Event()
    wake.set()
    await clock.wait_until(clock.now() + HOUR, wake)
    await clock.wait_until(clock.now() - HOUR, asyncio.Event())
    assert clock.now().microsecond % 1000 == 0


def test_the_databases_time_goes_on_whatever_the_machine_says(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = DatabaseClock()
    started = time.monotonic()
    clock.set(NOON)
    monkeypatch.setattr("time.monotonic", lambda: started + 3600)
    assert abs(clock.now() - NOON - HOUR) < timedelta(seconds=1)
