"""SIGKILL of the real process before, during and after a send: the page comes, and what came twice is explained."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from aftercare.engines import free_port
from aftercare.fake_wecom import FakeWeCom
from services.crisis.settings import CrisisSettings
from shared.clock import SystemClock
from shared.messaging.bus import Outgoing, Publisher, create_topics
from shared.messaging.progress import Progress
from shared.mongo.client import Database, connect, database
from shared.web.auth import issue_token
from tests.builders import crisis_flagged
from tests.engines.process import Process
from tests.engines.services import service


@dataclass
class Killable:
    """Crisis as a process of its own, a bus to flag on, and its database."""

    process: Process
    port: int
    token: str
    publisher: Publisher
    db: Database

    async def flag(self, client_id: str) -> None:
        event = crisis_flagged(client_id=client_id, flagged_at=SystemClock().now())
        await self.publisher.publish([Outgoing.of(event)])

    async def flag_over_http(self, client_id: str) -> dict[str, Any]:
        """Flag without the bus, as soon as it listens."""
        event = crisis_flagged(client_id=client_id, flagged_at=SystemClock().now())
        headers = {"Authorization": f"Bearer {self.token}"}
        async with (
            asyncio.timeout(60),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=30) as http,
        ):
            while True:
                try:
                    answer = await http.post("/v1/crises", json=event.structured())
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
                    continue
                assert answer.status_code == 202
                return dict(answer.json())

    async def incident(self) -> dict[str, Any] | None:
        """The only one there is, with its timeline; None while nobody answers or knows one."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}", headers=headers) as http:
            try:
                found = (await http.get("/v1/incidents")).json()["items"]
                seen = await http.get(f"/v1/incidents/{found[0]['incident_id']}")
            except (httpx.TransportError, IndexError):
                return None
        return dict(seen.json())

    async def until_written(self) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while True:
                seen = await self.incident()
                if seen and seen["written_down"] and seen["next_at"]:
                    return seen
                await asyncio.sleep(0.1)


@pytest.fixture
async def killable(
    settings: dict[str, Any], bot: FakeWeCom, paging: dict[str, Any], tmp_path: Path
) -> AsyncIterator[Killable]:
    own = CrisisSettings(**settings, **paging)
    await create_topics(own)
    publisher, client, port = Publisher(own, Progress()), connect(own), free_port()
    await publisher.start()
    process = service("crisis", {**settings, **paging}, tmp_path, port)
    token = issue_token(settings["token_secret"], "staff-1", ["supervisor"], timedelta(hours=1))
    try:
        yield Killable(process, port, token, publisher, database(client, own.database("crisis")))
    finally:
        process.kill()
        await publisher.stop()
        client.close()


async def test_killed_before_the_send_it_pages_once_it_is_back(killable: Killable, bot: FakeWeCom) -> None:
    await killable.flag("client-1")
    killable.process.start()
    await bot.wait_for(1, seconds=60)


async def test_killed_in_the_middle_of_the_send_it_pages_again_and_says_so(
    killable: Killable, bot: FakeWeCom
) -> None:
    """The provider has taken the page, and nobody is left to hear of it."""
    killable.process.start()
    bot.mood = "accepts-silently"
    await killable.flag("client-1")
    await bot.wait_for(1, seconds=60)
    async with asyncio.timeout(20):
        while not await killable.db.get_collection("claims").count_documents({}):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
    killable.process.kill()
    bot.mood = "well"
    killable.process.start()
    await bot.wait_for(2, seconds=60)
    lines = [(line["what"], line["note"]) for line in (await killable.until_written())["timeline"]]
    assert lines[:3] == [("flagged", None), ("paged", None), ("repeated", "sent-before")]


async def test_killed_after_the_send_it_does_not_page_again(killable: Killable, bot: FakeWeCom) -> None:
    killable.process.start()
    await killable.flag("client-1")
    await bot.wait_for(1, seconds=60)
    await killable.until_written()
    killable.process.kill()
    killable.process.start()
    await killable.flag("client-2")
    await bot.wait_for(2, seconds=60)
    assert ["client-2" in page.text for page in bot.pages] == [False, True]


async def test_killed_right_after_its_answer_it_has_lost_nothing(killable: Killable, bot: FakeWeCom) -> None:
    """What came over HTTP is on no bus: the answer waits a moment for the database once the page is out."""
    killable.process.start()
    await killable.flag_over_http("client-1")  # by now the database is connected
    await killable.until_written()
    taken = await killable.flag_over_http("client-2")
    killable.process.kill()
    assert taken["stored"]
    timeline = killable.db.get_collection("timeline")
    clients = [
        line["moment"]["flag"]["client_id"] async for line in timeline.find({"moment.kind": "flagged"})
    ]
    assert sorted(clients) == ["client-1", "client-2"]
