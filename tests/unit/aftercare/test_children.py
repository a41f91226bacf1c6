"""Processes that are kept running: real ones, tiny."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from aftercare.children import Child
from aftercare.mistakes import Mistake


class Told:
    """What was said about the children."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self._moved = asyncio.Event()

    def __call__(self, message: str) -> None:
        self.messages.append(message)
        self._moved.set()

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.messages) < count:
                self._moved.clear()
                await self._moved.wait()


def child(tmp_path: Path, script: str, told: Callable[[str], None]) -> Child:
    return Child(
        "intake", [sys.executable, "-c", script], {}, tmp_path / "intake.log", told, first_pause=0.01
    )


async def ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(task, 20)


async def until_started(log: Path) -> None:
    async with asyncio.timeout(20):
        while not (log.exists() and log.read_text()):  # noqa: ASYNC110 - a process elsewhere writes it
            await asyncio.sleep(0.01)


async def test_a_child_that_ends_is_started_again_with_growing_pauses(tmp_path: Path) -> None:
    told = Told()
    task = asyncio.create_task(child(tmp_path, "print('so it goes'); raise SystemExit(3)", told).keep())
    await told.wait_for(3)
    await ended(task)
    assert "intake ended (exit code 3) and is started again in 0.01 s" in told.messages[0]
    assert "last said: so it goes" in told.messages[0]
    assert "in 0.02 s" in told.messages[1]
    assert "in 0.04 s" in told.messages[2]


async def test_a_killed_child_is_told_by_its_signal(tmp_path: Path) -> None:
    told = Told()
    script = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    task = asyncio.create_task(child(tmp_path, script, told).keep())
    await told.wait_for(1)
    await ended(task)
    assert "intake ended (SIGKILL)" in told.messages[0]


async def test_settings_that_cannot_be_used_are_not_tried_again(tmp_path: Path) -> None:
    script = "print('aftercare: AFTERCARE_X: no'); raise SystemExit(2)"
    with pytest.raises(Mistake, match="intake cannot run: aftercare: AFTERCARE_X: no"):
        await asyncio.wait_for(child(tmp_path, script, Told()).keep(), 20)


async def test_a_cancelled_child_drains_first(tmp_path: Path) -> None:
    script = (
        "import signal, sys, time\n"
        "def drain(*_):\n"
        "    print('drained', flush=True)\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, drain)\n"
        "print('started', flush=True)\n"
        "while True: time.sleep(60)\n"
    )
    told = Told()
    task = asyncio.create_task(child(tmp_path, script, told).keep())
    await until_started(tmp_path / "intake.log")
    await ended(task)
    assert (tmp_path / "intake.log").read_text() == "started\ndrained\n"
    assert told.messages == []


async def test_a_child_that_does_not_drain_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aftercare.children.DRAIN_SECONDS", 0.05)
    script = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('started', flush=True)\n"
        "while True: time.sleep(60)\n"
    )
    told = Told()
    task = asyncio.create_task(child(tmp_path, script, told).keep())
    await until_started(tmp_path / "intake.log")
    await ended(task)
    assert told.messages == ["intake did not drain within 0.05 s and is killed"]
