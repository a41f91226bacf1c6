"""A clock that jumps: the pager's time follows it ahead, and never back."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from services.crisis.steady import SteadyClock
from shared.clock import SystemClock
from tests.builders import at

HOUR = timedelta(hours=1)


class Jumping(SystemClock):
    """A machine's clock beside the time that really passes."""

    def __init__(self) -> None:
        self.wrong = timedelta()
        self.passed = 0.0
        self.waits = timedelta()

    def now(self) -> datetime:
        return at("2026-04-01 10:00") + timedelta(seconds=self.passed) + self.wrong

    async def wait_until(self, instant: datetime | None, wake: asyncio.Event) -> None:
        assert instant is not None
        self.waits = instant - self.now()

    def monotonic(self) -> float:
        return self.passed


def steady() -> tuple[Jumping, SteadyClock]:
    jumping = Jumping()
    return jumping, SteadyClock(jumping)


def test_it_goes_on_at_its_own_pace_where_the_clock_steps_back() -> None:
    machine, clock = steady()
    machine.passed = 60
    assert clock.now() == at("2026-04-01 10:01")
    machine.wrong = -HOUR
    assert clock.now() == at("2026-04-01 10:01")
    machine.passed = 360
    assert clock.now() == at("2026-04-01 10:06")


def test_it_is_right_again_once_the_clock_is() -> None:
    machine, clock = steady()
    machine.wrong = -HOUR
    clock.now()
    machine.passed, machine.wrong = 60, timedelta()
    assert clock.now() == at("2026-04-01 10:01")


def test_it_follows_ahead_and_stays_there() -> None:
    machine, clock = steady()
    machine.wrong = HOUR
    assert clock.now() == at("2026-04-01 11:00")
    machine.wrong = timedelta()
    machine.passed = 60
    assert clock.now() == at("2026-04-01 11:01"), "a step that was due an hour ago stays due"


def test_a_correction_is_followed() -> None:
    machine, clock = steady()
    machine.wrong = -timedelta(seconds=2)
    assert clock.now() == at("2026-04-01 10:00") - timedelta(seconds=2)


async def test_it_waits_as_long_as_is_left_by_its_own_time() -> None:
    machine, clock = steady()
    machine.wrong = -HOUR
    await clock.wait_until(at("2026-04-01 10:05"), asyncio.Event())
    assert machine.waits == timedelta(minutes=5)
