"""Page first: without MongoDB, without Kafka, through a restart, and with two replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from aftercare.engines import Engines, embedded_mongo, free_port
from aftercare.fake_wecom import FakeWeCom
from aftercare.stack import running_stack
from services.crisis.main import build
from services.crisis.settings import CrisisSettings
from shared.clock import SystemClock, VirtualClock
from shared.messaging.bus import Outgoing, Publisher, create_topics
from shared.messaging.progress import Progress
from shared.web.auth import issue_token
from tests.builders import at, crisis_flagged
from tests.conftest import Start
from tests.integration.crisis.conftest import START
from tests.integration.crisis.test_pages import path, told
from tests.system import System


class Mongo:
    """A database server that can be stopped and started with its data."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._running: Any = None

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self._port}/?replicaSet=rs0"

    def start(self) -> None:
        self._running = embedded_mongo(self._folder, self._port)
        self._running.__enter__()

    def stop(self) -> None:
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None


@contextmanager
def own_mongo(folder: Path) -> Iterator[Mongo]:
    mongo = Mongo(folder)
    mongo.start()
    try:
        yield mongo
    finally:
        mongo.stop()


def supervisor(settings: dict[str, Any], app: Any) -> httpx.AsyncClient:
    token = issue_token(settings["token_secret"], "staff-1", ["supervisor"], timedelta(hours=1))
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://crisis",
        headers={"Authorization": f"Bearer {token}"},
    )


async def test_the_page_goes_without_mongodb_and_is_written_down_once_it_is_back(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any], tmp_path: Path
) -> None:
    with own_mongo(tmp_path) as mongo:
        async with stack("crisis", start=START, crisis={**paging, "mongo_url": mongo.url}) as system:
            mongo.stop()
            await system.put(Outgoing.of(crisis_flagged()))
            await bot.wait_for(1)
            system.clock.advance(at("2026-04-01 10:05"))
            await bot.wait_for(2)
            async with system.client("crisis", "counsellor", "supervisor") as client:
                other = crisis_flagged(client_id="client-2")
                taken = await client.post("/v1/crises", json=other.structured())
                assert (taken.status_code, taken.json()["paged"], taken.json()["stored"]) == (
                    202,
                    True,
                    False,
                )
                assert len((await client.get("/v1/incidents")).json()["items"]) == 2
                assert (await client.get("/readyz")).status_code == 200
                assert (await client.post(path(bot))).status_code == 200
            assert await told(system) == []
            mongo.start()
            await system.settled(60)
            assert (await told(system)).count(("opened", None)) == 2
            assert ("acknowledged", None) in await told(system)
            assert len(bot.pages) == 3


async def test_it_starts_and_pages_without_mongodb(
    settings: dict[str, Any], engines: Engines, bot: FakeWeCom, paging: dict[str, Any]
) -> None:
    away = {**settings, "mongo_url": f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0"}
    own = CrisisSettings(**away, **paging)
    await create_topics(own)
    progress = Progress()
    publisher = Publisher(own, progress)
    await publisher.start()
    app = build(own, VirtualClock(at(START)), progress)
    try:
        async with app.router.lifespan_context(app):
            await publisher.publish([Outgoing.of(crisis_flagged())])
            await bot.wait_for(1, seconds=20)
    finally:
        await publisher.stop()


async def test_http_takes_flags_without_kafka(
    settings: dict[str, Any], bot: FakeWeCom, paging: dict[str, Any]
) -> None:
    away = {**settings, "kafka_bootstrap_servers": f"127.0.0.1:{free_port()}"}
    app = build(CrisisSettings(**away, **paging), VirtualClock(at(START)), Progress())
    async with app.router.lifespan_context(app), supervisor(settings, app) as client:
        taken = await client.post("/v1/crises", json=crisis_flagged().structured())
        assert (taken.status_code, len(bot.pages)) == (202, 1)
        incident = taken.json()["incident_id"]
        answer = await client.post(f"/v1/incidents/{incident}/acknowledge")
        assert (answer.status_code, answer.json()["state"]) == (200, "acknowledged")
        assert (await client.get("/readyz")).status_code == 200


async def test_neither_paged_nor_stored_is_said_plainly(
    settings: dict[str, Any], bot: FakeWeCom, paging: dict[str, Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr("services.crisis.api.ANSWER_WITHIN_SECONDS", 1.0)
    bot.mood = "busy"
    away = {
        "kafka_bootstrap_servers": f"127.0.0.1:{free_port()}",
        "mongo_url": f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0",
    }
    app = build(CrisisSettings(**{**settings, **away}, **paging), VirtualClock(at(START)), Progress())
    async with app.router.lifespan_context(app), supervisor(settings, app) as client:
        answer = await client.post("/v1/crises", json=crisis_flagged().structured())
        assert (answer.status_code, answer.json()["reason"]) == (503, "neither-paged-nor-stored")


async def test_a_restart_in_the_middle_goes_on_with_the_next_step(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any]
) -> None:
    async with stack("crisis", start=START, crisis=paging) as system:
        await system.publish(crisis_flagged())
        await system.until(at("2026-04-01 10:06"))
        assert len(bot.pages) == 2
    async with stack("crisis", start="2026-04-01 10:07", crisis=paging) as system:
        await system.settled()
        assert len(bot.pages) == 2, "what was done is not done again"
        await system.until(at("2026-04-01 10:10"))
        assert ("paged", "head") in await told(system)
        async with system.client("crisis") as phone:
            assert (await phone.post(path(bot))).status_code == 200


async def test_steps_missed_while_nobody_ran_are_done_at_the_start(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any]
) -> None:
    async with stack("crisis", start=START, crisis=paging) as system:
        await system.publish(crisis_flagged())
    async with stack("crisis", start="2026-04-01 11:00", crisis=paging) as system:
        await system.settled()
        steps = [step for change, step in await told(system) if change == "paged"]
        assert steps == ["on-call", "second", "head", "everyone"]


async def test_a_crash_in_the_middle_of_a_send_repeats_the_page(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any]
) -> None:
    async with stack("crisis", start=START, crisis=paging) as system:
        await system.publish(crisis_flagged())
        bot.mood = "accepts-silently"
        system.clock.advance(at("2026-04-01 10:05"))
        await bot.wait_for(2)
    bot.mood = "well"
    async with stack("crisis", start="2026-04-01 10:05", crisis=paging) as system:
        await system.until(at("2026-04-01 10:07"))
        assert len(bot.pages) == 3
        assert ("paged", "second") in await told(system)
        async with system.client("crisis", "supervisor") as client:
            (incident,) = (await client.get("/v1/incidents")).json()["items"]
            seen = (await client.get(f"/v1/incidents/{incident['incident_id']}")).json()
        said = [(line["what"], line["note"]) for line in seen["timeline"]]
        assert ("repeated", "sent-before") in said, "who reads it learns why the page came twice"


async def test_two_replicas_send_each_step_once_and_share_the_acknowledgement(
    system: System, settings: dict[str, Any], bot: FakeWeCom, paging: dict[str, Any]
) -> None:
    await system.publish(crisis_flagged())
    other = build(CrisisSettings(**settings, **paging), system.clock, system.progress)
    async with other.router.lifespan_context(other):
        await asyncio.wait_for(other.state.runtime.connected.wait(), 30)
        await system.until(at("2026-04-01 10:09"))
        # A replica that starts may publish what the other has not marked yet: the same event, twice.
        paged = [step for change, step in await told(system) if change == "paged"]
        assert list(dict.fromkeys(paged)) == ["on-call", "second", "head"]
        assert len(bot.pages) == 3
        async with supervisor(settings, other) as phone:
            await phone.post(path(bot))
        await system.until(at("2026-04-01 10:29"))
        assert len(bot.pages) == 3


async def test_the_heartbeat_stops_when_pages_reach_nobody(
    settings: dict[str, Any], bot: FakeWeCom, paging: dict[str, Any], monkeypatch: Any
) -> None:
    monkeypatch.setattr("services.crisis.auditor.EVERY_SECONDS", 0.02)
    outside = FakeWeCom(mood="nonsense")
    async with outside.serve() as url:
        own = {"crisis": {**paging, "heartbeat_url": url}}
        progress = Progress()
        async with running_stack(SystemClock(), progress, settings, own, ("crisis",)) as running:
            await outside.wait_for_attempts(3)
            bot.mood = "busy"
            async with running.client("crisis", "counsellor") as client:
                flag = crisis_flagged(flagged_at=SystemClock().now())
                await client.post("/v1/crises", json=flag.structured())
            auditor = running.apps["crisis"].state.auditor
            await progress.settled(20)
            assert [problem.split()[0] for problem in auditor.look()] == ["reaches-nobody"]


async def test_the_auditor_finds_and_mends_what_is_overdue(system: System, bot: FakeWeCom) -> None:
    auditor, pager = system.app("crisis").state.auditor, system.app("crisis").state.pager
    await system.publish(crisis_flagged())
    assert auditor.look() == []
    await system.settled()
    watch = next(iter(pager.board.watches.values()))
    watch.held_until = at("2026-05-01 10:00")
    system.clock.advance(at("2026-04-01 10:07"))
    await system.settled()
    assert len(bot.pages) == 1, "somebody holds it for ever"
    assert auditor.look() == [f"overdue {watch.incident.id}"]
    await system.settled()
    assert len(bot.pages) == 2
    assert auditor.look() == []
