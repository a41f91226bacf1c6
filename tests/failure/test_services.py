"""Services that are killed, held, doubled, restarted: nothing is lost and nothing is done twice."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.scheduler.domain.agenda import FollowUp
from tests.failure.conftest import Begin, Told
from tests.failure.proof import prove, prove_readers
from tests.failure.run import EVERYBODY, Act, Run
from tests.failure.stories import as_demanded, demanded_of


def killing(run: Run, called: str) -> Act:
    """SIGKILL of a replica; the keeper starts it again."""

    async def act() -> str:
        await run.keeper.up(called)
        run.keeper.replicas[called].kill()
        return f"SIGKILL of {called}"

    return act


async def test_undisturbed(begin: Begin, told: Told) -> None:
    """The measure of the others: a real run ends as the pure fold, and as the contract's own reference demands."""
    async with begin() as run:
        await run.play(told.events)
        await prove(run, told.ends)
        agenda = run.databases["scheduler"].get_collection("agenda")
        items = [FollowUp.model_validate(one) async for one in agenda.find({"kind": "follow-up"})]
        assert {as_demanded(one) for one in items if one.pending} == demanded_of(told.stories)


async def test_services_are_killed(begin: Begin, told: Told) -> None:
    async with begin(EVERYBODY) as run:
        await run.play(
            told.events,
            [(moment, killing(run, name)) for name in run.services for moment in run.moments(2)],
        )
        await prove(run, told.ends)
        await prove_readers(run)


def holding(run: Run, called: str, seconds: float) -> Act:
    """SIGSTOP for longer than the group waits: others get its partitions, and it goes on as a zombie."""

    async def act() -> str:
        await run.keeper.up(called)
        run.say(f"SIGSTOP of {called} for {seconds:.0f} s")
        run.keeper.replicas[called].hold()
        await asyncio.sleep(seconds)
        run.keeper.replicas[called].go_on()
        return f"SIGCONT of {called}"

    return act


def adding(run: Run, name: str, replica: int) -> Act:
    async def act() -> str:
        return f"{run.keeper.add(name, replica).name} joins"

    return act


def leaving(run: Run, called: str) -> Act:
    async def act() -> str:
        await run.keeper.remove(called)
        return f"{called} has left"

    return act


async def test_partitions_change_hands(begin: Begin, told: Told) -> None:
    """Replicas come, go, and stand still in the middle of whatever they do."""
    async with begin() as run:
        acts = [
            adding(run, "scheduler", 1),
            adding(run, "intake", 1),
            holding(run, "scheduler", 15),
            holding(run, "intake", 15),
            leaving(run, "scheduler"),
            leaving(run, "intake"),
            adding(run, "scheduler", 2),
            holding(run, "scheduler-1", 15),
            leaving(run, "scheduler-2"),
        ]
        await run.play(told.events, list(zip(run.moments(len(acts)), acts, strict=True)))
        await prove(run, told.ends)


LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def stepping(run: Run, clock: Path, to: str) -> Act:
    async def act() -> str:
        clock.write_text(to)
        return f"the clocks of intake-1 and scheduler-1 are {to} off"

    return act


async def test_clocks_step(begin: Begin, told: Told, tmp_path: Path) -> None:
    """One replica of each service has a clock that is hours wrong, now this way and now that; some are killed then."""
    if not LIBRARY.exists():
        pytest.skip("the clock of a process cannot be stepped: libfaketime is not installed")
    clock = tmp_path / "clock"
    clock.write_text("+0")
    wrong = {
        "LD_PRELOAD": str(LIBRARY),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
        "PYTHONPATH": str(Path(__file__).parent / "wrong_clock"),
    }
    async with begin() as run:
        for name in run.services:
            run.keeper.add(name, 1, environment=wrong)
        acts = [
            stepping(run, clock, "+10h"),
            killing(run, "intake-1"),
            stepping(run, clock, "-10h"),
            killing(run, "scheduler-1"),
            stepping(run, clock, "+5h"),
            killing(run, "scheduler-1"),
            stepping(run, clock, "-1h"),
            killing(run, "intake-1"),
            stepping(run, clock, "+0"),
        ]
        await run.play(told.events, list(zip(run.moments(len(acts)), acts, strict=True)))
        await prove(run, told.ends)
