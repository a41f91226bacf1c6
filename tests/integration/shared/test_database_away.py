"""The database goes away and comes back: batches are put back, and nothing is lost or done twice."""

from __future__ import annotations

import asyncio

import pytest

from shared.messaging.bus import Outgoing
from shared.observability import metrics
from tests.builders import case_closed, case_opened
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
