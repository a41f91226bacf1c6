"""The database goes away and comes back: batches are put back, and nothing is lost or done twice."""

from __future__ import annotations

import asyncio

import pytest
from pymongo.errors import AutoReconnect

from shared.messaging.bus import Outgoing
from shared.mongo.journal import Outcome, Transaction
from shared.observability import metrics
from tests.builders import case_closed, case_opened, session_completed
from tests.conftest import Start
from tests.integration.shared.own_mongo import impatient, own_mongo
from tests.system import eventually


async def test_what_came_while_the_database_was_away_is_settled_once_it_is_back(
    stack: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    async with own_mongo() as mongo, stack("intake", intake={"mongo_url": mongo.url}) as system:
        await system.publish(case_opened())
        put_back = metrics.RETRIES.labels("intake")
        before = put_back._value.get()

        await asyncio.to_thread(mongo.kill)
        await system.put(Outgoing.of(case_closed()))
        await eventually(lambda: put_back._value.get() > before)
        async with system.client("intake") as client:
            alive, ready = await client.get("/healthz"), await client.get("/readyz")
        await asyncio.to_thread(mongo.start)
        await system.settled(60)

        told = [getattr(event.data, "revision", 0) for event in await system.events("case-classified")]

    assert alive.status_code == 200  # a loop that waits for a dependency is alive
    assert ready.status_code == 503
    assert told == [1, 2]


async def test_a_batch_that_was_fetched_before_the_one_ahead_was_put_back_does_not_overtake_it(
    stack: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stack("intake", intake={"batch_records": 1}) as system:
        journal = system.runtime("intake").journal
        settle, failures = journal.transact_in_turn, 1

        async def fail_at_first(*works: Transaction) -> tuple[list[Outcome], asyncio.Task[None]]:
            nonlocal failures
            if failures:
                failures -= 1
                raise AutoReconnect("the primary is gone")
            return await settle(*works)

        monkeypatch.setattr(journal, "transact_in_turn", fail_at_first)
        sessions = [session_completed(session_no=n, id=f"s{n}") for n in range(1, 7)]
        await system.publish(*sessions)

        told = [event.data for event in await system.events("case-classified")]
        settled = await system.committed("intake", "session-completed")

    assert not failures
    assert settled == 6
    assert [len(data.session_ends) for data in told] == [1, 2, 3, 4, 5, 6]  # type: ignore[attr-defined]
    assert [data.session_ends[-1].session_no for data in told] == [1, 2, 3, 4, 5, 6]  # type: ignore[attr-defined]
