"""A process that ends at any line loses nothing and repeats nothing visible."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from shared.messaging.bus import Outgoing
from tests.builders import case_closed, case_opened
from tests.conftest import Start
from tests.system import System


def ends_here(monkeypatch: pytest.MonkeyPatch, thing: object, method: str) -> asyncio.Event:
    """The process ends as soon as it calls this: the call never returns, and nothing after it happens."""
    reached = asyncio.Event()

    async def end(*_: Any, **__: Any) -> None:
        reached.set()
        raise asyncio.CancelledError

    monkeypatch.setattr(thing, method, end)
    return reached


def never_marks(monkeypatch: pytest.MonkeyPatch, journal: object) -> None:
    """The process ends after publishing, before the mark is written."""

    async def no_mark(*_: Any) -> None:
        return

    monkeypatch.setattr(journal, "_mark", no_mark)


async def undispatched(system: System, service: str) -> int:
    outbox = system.db(service).get_collection("outbox")
    return int(await outbox.count_documents({"dispatched": False}))


async def test_what_was_committed_but_not_published_goes_out_at_the_next_start(
    stack: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stack("intake") as system:
        reached = ends_here(monkeypatch, system.runtime("intake").publisher, "publish")
        await system.put(Outgoing.of(case_opened()))
        await reached.wait()
        assert await system.events("case-classified") == []
        assert await undispatched(system, "intake") == 1

    async with stack("intake") as system:
        assert len(await system.events("case-classified")) == 1  # before anything was read
        await system.publish(case_opened())

        assert len(await system.events("case-classified")) == 1
        async with asyncio.timeout(10):  # marks are written a moment after the records went out
            while await undispatched(system, "intake"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_what_was_published_but_not_marked_is_published_again_and_has_one_effect(
    stack: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stack("intake") as system:
        never_marks(monkeypatch, system.runtime("intake").journal)
        await system.publish(case_closed())
        assert await undispatched(system, "intake") == 1

    async with stack("intake", "scheduler") as system:
        await system.caught_up("intake", "case-closed")
        await system.caught_up("scheduler", "case-classified")
        await system.settled()

        told = await system.events("case-classified")
        planned = [getattr(event.data, "rule", "") for event in await system.events("follow-up-planned")]

    assert [event.id for event in told] == [told[0].id] * 2
    assert planned == ["closed-15d", "closed-3m"]


async def test_what_a_crash_left_goes_out_before_anything_new_about_the_same_case(
    stack: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stack("intake") as system:
        reached = ends_here(monkeypatch, system.runtime("intake").publisher, "publish")
        await system.put(Outgoing.of(case_opened()))
        await reached.wait()
        await system.put(Outgoing.of(case_closed()))

    async with stack("intake") as system:
        await system.caught_up("intake", "case-closed")

        told = [getattr(event.data, "revision", 0) for event in await system.events("case-classified")]

    assert told == [1, 2]


async def test_the_relay_takes_up_what_a_dead_replica_left(
    stack: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what somebody else may still be publishing: only what is older than that can take."""
    async with stack("intake") as system:
        journal = system.runtime("intake").journal
        with monkeypatch.context() as crash:
            reached = ends_here(crash, system.runtime("intake").publisher, "publish")
            await system.put(Outgoing.of(case_opened()))
            await reached.wait()

        assert await journal.relay() == 0
        assert await journal.relay(timedelta()) == 1
        assert await journal.relay(timedelta()) == 0
        assert len(await system.events("case-classified")) == 1


async def test_a_transaction_that_fails_leaves_nothing_behind(
    stack: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stack("intake") as system:
        journal = system.runtime("intake").journal
        write = journal._write
        with monkeypatch.context() as crash:
            written = asyncio.Event()

            async def write_and_end(outcome: Any, session: Any) -> None:
                await write(outcome, session)
                written.set()
                raise asyncio.CancelledError

            crash.setattr(journal, "_write", write_and_end)
            await system.put(Outgoing.of(case_opened()))
            await written.wait()
        assert await system.db("intake").get_collection("cases").count_documents({}) == 0
        for collection in ("journal", "outbox"):
            assert await system.db("intake").get_collection(collection).count_documents({}) == 0

    async with stack("intake") as system:
        await system.put(Outgoing.of(case_closed()))
        await system.settled()
        await system.caught_up("intake", "case-opened")

        assert len(await system.events("case-classified")) == 2
