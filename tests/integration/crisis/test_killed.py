"""Crisis as a process of its own that is killed around a send: every flag pages, and the record stays whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from aftercare.engines import free_port
from aftercare.fake_wecom import FakeWeCom
from services.crisis.settings import CrisisSettings
from shared.clock import SystemClock
from shared.contracts.envelope import parse_record
from shared.messaging.bus import Outgoing, Publisher, create_topics
from shared.messaging.progress import Progress
from shared.mongo.client import Database, connect, database
from tests.builders import crisis_flagged
from tests.engines.process import Process
from tests.engines.services import service
from tests.integration.aftercare.processes import until
from tests.integration.conftest import Invoke
from tests.system import FAR, records_on


@pytest.fixture
async def own(settings: dict[str, Any], paging: dict[str, Any]) -> CrisisSettings:
    own = CrisisSettings(**settings, **paging)
    await create_topics(own)
    return own


@pytest.fixture
async def publisher(own: CrisisSettings) -> AsyncIterator[Publisher]:
    publisher = Publisher(own, Progress())
    yield publisher
    await publisher.stop()


@pytest.fixture
async def db(own: CrisisSettings) -> AsyncIterator[Database]:
    client = connect(own)
    yield database(client, own.database("crisis"))
    client.close()


async def reads(port: int, crisis: Process) -> None:
    """Wait until the process reads flags, and has loaded what lies in the database."""

    async def ready() -> bool:
        assert crisis.running, crisis.last_words()
        try:
            async with httpx.AsyncClient(timeout=5) as http:
                answer = (await http.get(f"http://127.0.0.1:{port}/readyz")).json()
        except httpx.TransportError:
            return False
        return all({**answer["required"], **answer["dependencies"]}.values())

    await until(ready, 180, f"crisis reads flags: {crisis.last_words()}")


async def written(db: Database, clients: list[str]) -> None:
    """Wait until an incident of each is written down with a page."""

    async def are() -> bool:
        found = [one async for one in db.get_collection("incidents").find({})]
        paged = [one for one in found if any(line["kind"] == "paged" for line in one["timeline"])]
        return {one["client_id"] for one in paged} == set(clients)

    await until(are, 180, f"written down with a page: {clients}")


async def test_killed_before_during_and_after_a_send(
    settings: dict[str, Any],
    paging: dict[str, Any],
    own: CrisisSettings,
    publisher: Publisher,
    db: Database,
    bot: FakeWeCom,
    incidents: Invoke,
    tmp_path: Path,
) -> None:
    port = free_port()
    crisis = service("crisis", {**settings, **paging}, tmp_path, port)
    clients = ["before", "during", "after"]
    try:
        for client in clients:
            crisis.start()
            await reads(port, crisis)
            await written(db, clients[: clients.index(client)])
            before = len(bot.pages)
            bot.mood = "accepts-silently" if client == "during" else "well"
            flag = crisis_flagged(client_id=client, flagged_at=SystemClock().now())
            await publisher.publish([Outgoing.of(flag)])
            if client != "before":
                await bot.wait_for(before + 1, 30)
            crisis.kill()
            bot.mood = "well"
        crisis.start()

        await reads(port, crisis)
        await written(db, clients)
    finally:
        crisis.stop()

    for client in clients:
        pages = [page for page in bot.pages if client in page.text]
        assert 1 <= len(pages) <= 2, (
            f"{client}: a page is never lost, and repeated once at most for each kill"
        )
    proven = await incidents("verify")
    assert proven.exit_code == 0, proven.output
    records = await records_on(own, "incident-changed")
    changes = {
        (event := parse_record("incident-changed", r.headers, r.value, FAR)).id: event for r in records
    }
    opened = [one.subject for one in changes.values() if getattr(one.data, "change", "") == "opened"]
    assert sorted(opened) == sorted(clients)
