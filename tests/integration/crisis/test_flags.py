"""A flag never ends without a page, however it comes and whatever is wrong with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from aftercare.fake_wecom import FakeWeCom
from shared.messaging.bus import Outgoing
from tests.builders import at, crisis_flagged
from tests.system import System

FLAG = crisis_flagged(id="one").structured()
BAD: dict[str, tuple[bytes, int, str]] = {
    "too large": (json.dumps(FLAG | {"id": "x" * 2_000_000}).encode(), 413, "too-large"),
    "a large body": (json.dumps(FLAG | {"data": {"client_id": "x" * 100_000}}).encode(), 422, "too-large"),
    "an unknown version": (
        json.dumps(FLAG | {"type": "aftercare.crisis-flagged.v9"}).encode(), 422, "unknown-version"
    ),
    "an encoding of China": (
        json.dumps(FLAG | {"data": {"name": "王芳"}}, ensure_ascii=False).encode("gbk"), 422, "malformed"
    ),
    "nothing": (b"", 422, "malformed"),
    "another kind of event": (
        json.dumps(FLAG | {"type": "aftercare.client-erased.v1"}).encode(), 422, "invalid-field"
    ),
    "a known id with another body": (
        json.dumps(FLAG | {"data": FLAG["data"] | {"level": "imminent"}}).encode(), 422, "id-reused"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
async def test_over_http_a_bad_flag_pages_and_is_refused(system: System, bot: FakeWeCom, what: str) -> None:
    body, status, reason = BAD[what]
    await system.publish(crisis_flagged(id="one", client_id="client-1"))
    async with system.client("crisis", "publisher") as client:
        answer = await client.post("/v1/crises", content=body)
        assert (answer.status_code, answer.json()["reason"]) == (status, reason)
        await system.settled()
        assert (len(bot.pages), "无法读取" in bot.pages[-1].text) == (2, True)
        await client.post("/v1/crises", content=body)
    assert len(bot.pages) == 2, "who tries again within minutes speaks of the same"


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b" " * 100_000


async def test_a_body_without_end_is_not_read_to_it_and_pages(system: System, bot: FakeWeCom) -> None:
    async with system.client("crisis", "publisher") as client:
        answer = await client.post("/v1/crises", content=endless())
    assert (answer.status_code, len(bot.pages)) == (413, 1)


async def test_a_stranger_pages_nobody(system: System, bot: FakeWeCom) -> None:
    async with system.client("crisis") as stranger:
        assert (await stranger.post("/v1/crises", content=b"x" * 2_000_000)).status_code == 401
    assert bot.attempts == 0


async def test_a_defect_in_reading_pages(
    system: System, bot: FakeWeCom, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr("services.crisis.domain.read_flag", broken)
    async with system.client("crisis", "publisher") as client:
        answer = await client.post("/v1/crises", json=FLAG)
    assert (answer.status_code, answer.json()["reason"]) == (422, "handler-error")
    await system.publish(crisis_flagged(id="two"))
    assert "无法读取" in bot.pages[0].text
    assert len(await system.records("crisis.dead-letter")) == 2


async def test_over_the_bus_a_large_flag_pages(system: System, bot: FakeWeCom) -> None:
    good = Outgoing.of(crisis_flagged())
    await system.put(Outgoing(good.topic, good.key, b"x" * 900_000, good.headers))
    await system.settled()
    assert "无法读取" in bot.pages[0].text
    letter = json.loads((await system.records("crisis.dead-letter"))[0].value)
    assert (letter["reason"], letter["size"]) == ("too-large", 900_000)


async def test_a_flag_of_the_future_and_one_of_long_ago_page_at_once(system: System, bot: FakeWeCom) -> None:
    await system.publish(crisis_flagged(id="1", client_id="client-1", flagged_at=at("2026-04-01 20:00")))
    await system.publish(crisis_flagged(id="2", client_id="client-2", flagged_at=at("2025-01-01 00:00")))
    assert len(bot.pages) >= 2


async def test_a_sender_that_runs_wild_is_one_incident_that_stays_small_and_keeps_no_other_flag_waiting(
    system: System, bot: FakeWeCom
) -> None:
    await system.put(*(Outgoing("crisis-flagged", b"x", b"%d" % n, ()) for n in range(3_000)))
    await system.put(Outgoing.of(crisis_flagged(client_id="client-7")))
    async with asyncio.timeout(60):
        await bot.wait_for(2, seconds=60)
    await system.settled(120)
    assert [("client-7" in page.text, "无法读取" in page.text) for page in bot.pages] == [
        (False, True),
        (True, False),
    ]
    crisis = system.db("crisis")
    wild = await crisis.get_collection("incidents").find_one({"client_id": "unknown"})
    assert wild["flags_written"] == 3_000
    assert len(wild["timeline"]) < 200
    assert await crisis.get_collection("timeline").count_documents({"incident_id": wild["_id"]}) == 3_001
    assert await crisis.get_collection("dead_letters").count_documents({}) == 3_000
    pager = system.app("crisis").state.pager
    assert len(pager.board.find(wild["_id"]).incident.timeline) < 200
