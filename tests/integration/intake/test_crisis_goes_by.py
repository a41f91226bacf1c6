"""A crisis that intake took reaches the crisis service over HTTP when bus or database do not take it in time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from aiokafka.errors import KafkaConnectionError

from shared.contracts.envelope import Event
from tests.builders import case_opened, crisis_flagged
from tests.conftest import Start
from tests.integration.intake.fake_crisis import fake_crisis
from tests.integration.shared.own_mongo import impatient, own_mongo
from tests.system import System

PATIENCE = 0.3


async def post(system: System, *events: Event) -> httpx.Response:
    documents = [event.structured() for event in events]
    body: Any = documents[0] if len(documents) == 1 else documents
    async with system.client("intake", "publisher") as client:
        return await client.post("/v1/events", json=body)


@contextmanager
def bus_away(system: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of intake's can be published meanwhile."""

    async def no_bus(_: object) -> None:
        raise KafkaConnectionError("away")

    with monkeypatch.context() as away:
        away.setattr(system.runtime("intake").publisher, "publish", no_bus)
        yield


async def test_a_crisis_that_the_bus_takes_does_not_go_twice(stack: Start) -> None:
    async with (
        fake_crisis() as crisis,
        stack("intake", intake={"crisis_url": crisis.url}) as system,
    ):
        answer = await post(system, crisis_flagged())

        assert answer.status_code == 202
        assert crisis.told == []
        assert len(await system.events("crisis-flagged")) == 1


async def test_a_crisis_does_not_wait_for_the_bus(stack: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    flag = crisis_flagged()
    async with (
        fake_crisis() as crisis,
        stack("intake", intake={"crisis_url": crisis.url, "crisis_patience_seconds": PATIENCE}) as system,
    ):
        with bus_away(system, monkeypatch):
            answer = await post(system, flag)
            ordinary = await post(system, case_opened())

        assert (answer.status_code, ordinary.status_code) == (202, 202)
        assert crisis.told == [flag.structured()]
        assert crisis.authorization == {"Bearer"}
        await system.settled()  # and once the bus is back, they are on it as well
        assert [event.id for event in await system.events("crisis-flagged")] == [flag.id]
        assert len(await system.events("case-opened")) == 1


async def test_nor_does_an_opening_in_an_acute_crisis(stack: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """W26. The flag that goes over HTTP is the one that follows from the opening once the bus is back."""
    opening = case_opened(
        service="workplace-adaptation", eligibility={"acute_crisis": True, "severe_illness": False}
    )
    async with (
        fake_crisis() as crisis,
        stack("intake", intake={"crisis_url": crisis.url, "crisis_patience_seconds": PATIENCE}) as system,
    ):
        with bus_away(system, monkeypatch):
            answer = await post(system, opening)

        assert answer.status_code == 202
        await system.settled()
        flags = await system.events("crisis-flagged")
        assert [flag.structured() for flag in flags] == crisis.told
        assert len(flags) == 1


async def test_a_crisis_does_not_wait_for_the_database(stack: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, it refuses connections; frozen, it keeps them and answers nothing. Neither holds a crisis up."""
    impatient(monkeypatch)
    async with (
        own_mongo() as mongo,
        fake_crisis() as crisis,
        stack(
            "intake",
            intake={
                "mongo_url": mongo.url,
                "crisis_url": crisis.url,
                "crisis_patience_seconds": PATIENCE,
            },
        ) as system,
    ):
        await asyncio.to_thread(mongo.freeze)
        try:
            async with asyncio.timeout(5):
                frozen = await post(system, crisis_flagged(id="frozen"))
        finally:
            mongo.thaw()
        await asyncio.to_thread(mongo.kill)
        killed = await post(system, crisis_flagged(id="killed"))
        mixed = await post(system, case_opened(), crisis_flagged(id="mixed"))
        ordinary = await post(system, case_opened())
        async with system.client("intake") as client:
            ready = await client.get("/readyz")
        await asyncio.to_thread(mongo.start)

    assert (frozen.status_code, killed.status_code) == (202, 202)
    assert [told["id"] for told in crisis.told] == ["frozen", "killed", "mixed"]
    assert (mixed.status_code, ordinary.status_code) == (503, 503)
    assert ordinary.json()["reason"] == "not-stored"
    assert ready.status_code == 200  # it can still forward a crisis
    assert ready.json()["dependencies"]["database"] is False


async def test_a_flag_that_cannot_be_read_is_passed_on_as_it_came(stack: Start) -> None:
    unreadable = crisis_flagged().structured() | {"data": {"client_id": "client-1", "level": "purple"}}
    newer = crisis_flagged().structured() | {"type": "aftercare.crisis-flagged.v7"}
    async with (
        fake_crisis() as crisis,
        stack("intake", intake={"crisis_url": crisis.url}) as system,
        system.client("intake", "publisher") as client,
    ):
        first = await client.post("/v1/events", content=json.dumps(unreadable))
        second = await client.post("/v1/events", content=json.dumps([newer]))

    assert first.status_code == 422
    assert second.json()["results"][0]["status"] == "refused"
    assert crisis.told == [unreadable, newer]
