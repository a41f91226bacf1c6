"""Caught up means: everything committed, nothing under way, two readings in a row."""

from __future__ import annotations

import asyncio

import pytest

from shared.messaging.progress import Progress, Stuck


def reading(progress: Progress) -> Progress:
    progress.reads("aftercare-intake", ["case-opened"])
    return progress


async def test_nothing_published_is_caught_up() -> None:
    await reading(Progress()).settled(1)


async def test_a_record_that_nobody_reads_is_waited_for_by_nobody() -> None:
    progress = reading(Progress())
    progress.produced("duty-changed", 0, 0)
    await progress.settled(1)


async def test_behind_until_the_last_offset_is_committed() -> None:
    progress = reading(Progress())
    progress.produced("case-opened", 0, 4)
    progress.committed("aftercare-intake", "case-opened", 0, 4)
    assert progress.behind() == ["aftercare-intake is 1 records behind on case-opened[0]"]

    progress.committed("aftercare-intake", "case-opened", 0, 5)
    assert progress.behind() == []
    await progress.settled(1)


async def test_each_partition_counts_by_itself() -> None:
    progress = reading(Progress())
    progress.produced("case-opened", 0, 0)
    progress.produced("case-opened", 1, 0)
    progress.committed("aftercare-intake", "case-opened", 0, 1)

    assert progress.behind() == ["aftercare-intake is 1 records behind on case-opened[1]"]


async def test_a_group_that_left_is_not_waited_for() -> None:
    progress = reading(Progress())
    progress.produced("case-opened", 0, 0)
    progress.gone("aftercare-intake")
    await progress.settled(1)


async def test_work_under_way_is_waited_for() -> None:
    progress = Progress()
    under_way = asyncio.Event()
    done: list[str] = []

    async def work() -> None:
        with progress.busy("a timer"):
            under_way.set()
            await asyncio.sleep(0)
            done.append("work")

    task = asyncio.create_task(work())
    await under_way.wait()
    await progress.settled(1)
    assert done == ["work"]
    await task


async def test_work_that_starts_work_is_waited_for_to_the_end() -> None:
    """Between the end of one and the beginning of the next, nothing is under way for a moment."""
    progress = Progress()
    done: list[int] = []
    begun = asyncio.Event()

    async def chain(left: int) -> None:
        with progress.busy("a link"):
            begun.set()
            await asyncio.sleep(0)
            done.append(left)
        if left:
            following.append(asyncio.create_task(chain(left - 1)))

    following: list[asyncio.Task[None]] = [asyncio.create_task(chain(5))]
    await begun.wait()
    await progress.settled(1)
    assert done == [5, 4, 3, 2, 1, 0]


async def test_who_is_stuck_is_named() -> None:
    progress = Progress()
    with progress.busy("the gateway"), pytest.raises(Stuck, match="the gateway is at work"):
        await progress.settled(0.01)
