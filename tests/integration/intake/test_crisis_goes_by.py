"""A crisis that intake took reaches the crisis service over HTTP when bus or database do not take it in time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import Any

import httpx
import pytest
from aiokafka.errors import KafkaConnectionError

from aftercare import loopback
from aftercare.engines import free_port
from aftercare.fake_wecom import FakeWeCom
from services.intake.main import build
from services.intake.settings import IntakeSettings
from shared.contracts.envelope import Event
from shared.web.auth import issue_token
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


FLAG = crisis_flagged(id="one").structured()
WITH_A_NAME = FLAG | {"data": FLAG["data"] | {"name": "王芳"}}

CANNOT_BE_TAKEN: dict[str, tuple[bytes, int, str]] = {
    "a known id with another body": (
        json.dumps(FLAG | {"data": FLAG["data"] | {"level": "imminent"}}).encode(), 409, "id-reused"
    ),
    "an encoding of China": (json.dumps(WITH_A_NAME, ensure_ascii=False).encode("gbk"), 400, "malformed"),
    "UTF-16 cut in the middle": (json.dumps(FLAG).encode("utf-16")[:-9], 400, "malformed"),
    "too large": (json.dumps(FLAG | {"id": "x" * 2_000_000}).encode(), 413, "too-large"),
    "too large, and last of all a flag": (
        json.dumps([{"id": "x" * 1_500_000}, FLAG]).encode(), 413, "too-large"
    ),
    "a large body": (json.dumps(FLAG | {"data": {"client_id": "危" * 100_000}}).encode(), 413, "too-large"),
    "no version": (json.dumps(FLAG | {"type": "aftercare.crisis-flagged"}).encode(), 422, "unknown-type"),
    "no id": (json.dumps(FLAG | {"id": None}).encode(), 422, "missing-attribute"),
    "too many at once": (json.dumps([FLAG] * 501).encode(), 422, "batch-size"),
    "nested too deeply": (
        json.dumps(FLAG | {"data": "-"}).replace('"-"', "[" * 900 + "]" * 900).encode(), 400, "malformed"
    ),
}  # fmt: skip


@pytest.mark.parametrize("crisis_is", ["there", "away"])
@pytest.mark.parametrize("what", CANNOT_BE_TAKEN)
async def test_a_flag_that_cannot_be_taken_pages_and_the_sender_is_told(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any], what: str, crisis_is: str
) -> None:
    """Over HTTP; where the crisis service cannot be told so, by the bus, which then says nothing of what was sent."""
    body, status, reason = CANNOT_BE_TAKEN[what]
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with stack("intake", "crisis", crisis=paging, intake={"crisis_url": url}) as system:
        await system.publish(crisis_flagged(id="first", client_id="client-2"))
        assert (await post(system, crisis_flagged(id="one"))).status_code == 202
        await system.settled()
        before = len(bot.pages)
        async with (
            loopback.serve(system.app("crisis"), port=port) if crisis_is == "there" else nullcontext(),
            system.client("intake", "publisher") as client,
        ):
            answer = await client.post("/v1/events", content=body)
            await system.settled()
        said = [record.value for record in await system.records("crisis-flagged")]

    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert "people were paged" in answer.json()["detail"]
    assert len(bot.pages) == before + 1
    assert "无法读取" in bot.pages[-1].text
    assert (len(said), b"unreadable" in said[-1]) == ((2, False) if crisis_is == "there" else (3, True))


async def test_what_cannot_be_taken_and_speaks_of_no_crisis_pages_nobody(stack: Start) -> None:
    async with (
        fake_crisis() as crisis,
        stack("intake", intake={"crisis_url": crisis.url}) as system,
        system.client("intake", "publisher") as client,
    ):
        answers = [await client.post("/v1/events", content=b) for b in (b"{", b"[]", b" " * 2_000_000)]
        await post(system, case_opened(id="one"))
        reused = await post(system, case_opened(id="one", agreed_sessions=3))

    assert [answer.status_code for answer in (*answers, reused)] == [400, 422, 413, 409]
    assert crisis.told == []


async def test_where_nobody_could_be_paged_the_sender_is_told_to_send_again(
    stack: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    async with (
        own_mongo() as mongo,
        stack(
            "intake",
            intake={
                "mongo_url": mongo.url,
                "crisis_url": f"http://127.0.0.1:{free_port()}",
                "crisis_patience_seconds": PATIENCE,
            },
        ) as system,
    ):
        await asyncio.to_thread(mongo.kill)
        async with system.client("intake", "publisher") as client:
            answer = await client.post("/v1/events", content=b'{"type": "aftercare.crisis-flagged.v9"')
        await asyncio.to_thread(mongo.start)
    assert (answer.status_code, answer.json()["reason"]) == (503, "not-stored")


@pytest.mark.parametrize("bus", ["refuses", "accepts and never answers"])
async def test_without_kafka_a_flag_at_intake_pages_within_seconds(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any], settings: dict[str, Any], bus: str
) -> None:
    """A real crisis service, a bus that is really away from before the start, and the patience of production."""
    async with AsyncExitStack() as exits:
        hole = await exits.enter_async_context(a_hole())
        away = f"127.0.0.1:{free_port()}" if bus == "refuses" else hole
        system = await exits.enter_async_context(stack("crisis", start="2026-04-01 10:00", crisis=paging))
        url = await exits.enter_async_context(loopback.serve(system.app("crisis")))
        own = IntakeSettings(**{**settings, "kafka_bootstrap_servers": away, "crisis_url": url})
        intake = build(own, system.clock, system.progress)
        await exits.enter_async_context(intake.router.lifespan_context(intake))
        token = issue_token(settings["token_secret"], "company", ["publisher"], timedelta(hours=1))
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(intake),
            base_url="http://intake",
            headers={"Authorization": f"Bearer {token}"},
        )
        await exits.enter_async_context(client)
        async with asyncio.timeout(3 * own.crisis_patience_seconds):
            answer = await client.post("/v1/events", json=crisis_flagged().structured())
        assert answer.status_code == 202
        assert len(bot.pages) == 1


@asynccontextmanager
async def a_hole() -> AsyncIterator[str]:
    """An address that accepts connections and answers nothing."""

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while await reader.read(65_536):
                pass
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
