"""What each failure of others does to a page: docs/crisis-failures.md has a line for each of these tests."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka.errors import KafkaConnectionError

from aftercare import loopback
from aftercare.engines import free_port
from aftercare.fake_wecom import FakeWeCom, Mood
from services.crisis.main import build
from services.crisis.settings import CrisisSettings
from shared.clock import VirtualClock
from shared.messaging.bus import Outgoing
from shared.messaging.progress import Progress
from tests.builders import at, crisis_flagged
from tests.conftest import Start
from tests.engines.proxy import Proxy
from tests.integration.crisis.conftest import START
from tests.integration.crisis.test_failures import supervisor
from tests.integration.crisis.test_pages import told
from tests.integration.shared.own_mongo import impatient, own_mongo
from tests.system import System, eventually

AWAY = {
    "kafka_bootstrap_servers": f"127.0.0.1:{free_port()}",
    "mongo_url": f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0",
}
"""Engines that are not there."""


async def timeline(system: System) -> list[tuple[str, str | None, str | None]]:
    """What, step and note of each line of the only incident, as staff see it."""
    async with system.client("crisis", "supervisor") as client:
        (incident,) = (await client.get("/v1/incidents")).json()["items"]
        seen = (await client.get(f"/v1/incidents/{incident['incident_id']}")).json()
    return [(line["what"], line["step"], line["note"]) for line in seen["timeline"]]


# --- providers


@asynccontextmanager
async def two_bots(stack: Start, first: str, bot: FakeWeCom, paging: dict[str, Any]) -> AsyncIterator[System]:
    """Crisis with a bot at `first` and, behind it, the one that is well."""
    second = [{"kind": "wecom", "url": paging["wecom_webhooks"]}]
    own = {
        **paging,
        "wecom_webhooks": f"{first}?key=one",
        "crisis_channels": second,
        "page_timeout": 0.3,
    }
    async with stack("crisis", start=START, crisis=own) as system:
        yield system


@pytest.mark.parametrize("mood", ["broken", "silent", "busy", "limited", "accepts-silently", "nonsense"])
async def test_whatever_a_provider_answers_the_next_one_takes_the_page(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any], mood: Mood
) -> None:
    failing = FakeWeCom(mood=mood)
    async with failing.serve() as url, two_bots(stack, url, bot, paging) as system:
        began = time.monotonic()
        await system.publish(crisis_flagged())
        assert time.monotonic() - began < 10, "two attempts of 0.3 s each, and what a busy machine takes"
        assert len(bot.pages) == 1
        lines = await timeline(system)
        assert ("paged", "on-call", None) in lines
        doubtful = mood in ("silent", "accepts-silently")  # those that did not answer may have taken it
        assert (("repeated", "on-call", "no-answer") in lines) is doubtful
        assert len(failing.pages) == (2 if mood == "accepts-silently" else 0)


@pytest.mark.parametrize("how", ["cut", "silence"])
async def test_whatever_the_wire_does_the_next_provider_takes_the_page(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any], how: str
) -> None:
    """Reset, or half open: the connection stands and nothing comes through."""
    proxy = Proxy()
    first = FakeWeCom()
    async with first.serve() as url:
        proxy.target = httpx.URL(url).port or 0
        await proxy.start()
        behind = str(httpx.URL(url).copy_with(port=proxy.port))
        try:
            async with two_bots(stack, behind, bot, paging) as system:
                await system.publish(crisis_flagged(client_id="client-1"))
                assert (len(first.pages), len(bot.pages)) == (1, 0)
                await getattr(proxy, how)()
                await system.publish(crisis_flagged(client_id="client-2"))
                assert (len(first.pages), len(bot.pages)) == (1, 1)
        finally:
            await proxy.stop()


# --- people


async def test_who_is_on_call_without_a_channel_is_not_waited_for(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any], tmp_path: Path
) -> None:
    """Only the second has one: the chain goes on to them at once, and not after five minutes."""
    url = paging.pop("wecom_webhooks")
    dead = [{"kind": "webhook", "url": f"http://127.0.0.1:{free_port()}/"}]
    people = [
        {"id": "staff-1", "roles": ["on-call"], "channels": dead},
        {
            "id": "staff-2",
            "roles": ["on-call-second"],
            "channels": [{"kind": "wecom", "url": f"{url}-second"}],
        },
    ]
    roster = tmp_path / "roster.yaml"
    roster.write_text(json.dumps({"people": people}))
    async with stack("crisis", start=START, crisis={**paging, "roster_file": roster}) as system:
        await system.publish(crisis_flagged())
        assert [page.key for page in bot.pages] == ["one-second"]
        assert await told(system) == [
            ("opened", None), ("page-failed", "on-call"), ("escalated", "second"), ("paged", "second"),
        ]  # fmt: skip


async def test_an_empty_rota_is_told_and_never_forgotten(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any]
) -> None:
    """Nobody can be paged: the caller learns that it is stored only, the heartbeat stops, and the chain goes on."""
    del paging["wecom_webhooks"]
    async with stack("crisis", start=START, crisis=paging) as system:
        async with system.client("crisis", "counsellor") as client:
            taken = (await client.post("/v1/crises", json=crisis_flagged().structured())).json()
        assert (taken["paged"], taken["stored"]) == (False, True)
        await system.settled()
        failed = [note for what, _, note in await timeline(system) if what == "page-failed"]
        assert failed == ["no-channel"] * 4
        assert [problem.split()[0] for problem in system.app("crisis").state.auditor.look()] == [
            "reaches-nobody"
        ]
        await system.until(at("2026-04-01 10:31"))
        assert len([what for what, _, _ in await timeline(system) if what == "page-failed"]) > 4


# --- the database


async def test_a_database_that_hangs_delays_no_first_page(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its connections and answers nothing. A later page waits a second for its claim, and goes."""
    impatient(monkeypatch)
    async with (
        own_mongo() as mongo,
        stack("crisis", start=START, crisis={**paging, "mongo_url": mongo.url}) as system,
    ):
        await asyncio.to_thread(mongo.freeze)
        try:
            await system.put(Outgoing.of(crisis_flagged()))
            await bot.wait_for(1)
            await eventually(lambda: _next_at(system) == at("2026-04-01 10:05"))
            system.clock.advance(at("2026-04-01 10:05"))
            await bot.wait_for(2)
        finally:
            mongo.thaw()
        await system.settled(60)
        assert ("repeated", "second", "unclaimed") in await timeline(system)


def _next_at(system: System) -> Any:
    pager = system.app("crisis").state.pager
    return min((pager.due_at(watch) for watch in pager.board.watches.values()), default=None)


async def test_without_the_database_each_replica_pages_and_the_timeline_says_so(
    stack: Start,
    settings: dict[str, Any],
    bot: FakeWeCom,
    paging: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They cannot ask each other who sends the step: better twice than never."""
    impatient(monkeypatch)
    async with own_mongo() as mongo:
        own = {**settings, **paging, "mongo_url": mongo.url}
        async with stack("crisis", start=START, crisis=own) as system:
            await system.publish(crisis_flagged())
            other = build(CrisisSettings(**own), system.clock, system.progress)
            async with other.router.lifespan_context(other):
                await asyncio.wait_for(other.state.runtime.connected.wait(), 30)
                await system.settled()
                await asyncio.to_thread(mongo.kill)
                system.clock.advance(at("2026-04-01 10:05"))
                await bot.wait_for(3)
                await asyncio.to_thread(mongo.start)
                await system.settled(60)
                lines = await timeline(system)
                assert len(bot.pages) == 3
                assert lines.count(("paged", "second", None)) == 1
                assert ("repeated", "second", "unclaimed") in lines


# --- both


async def test_it_is_ready_without_bus_and_database_and_reports_both(
    settings: dict[str, Any], paging: dict[str, Any]
) -> None:
    """Else Kubernetes would take it away just when it is needed."""
    app = build(CrisisSettings(**{**settings, **AWAY}, **paging), VirtualClock(at(START)), Progress())
    async with app.router.lifespan_context(app), supervisor(settings, app) as client:
        await eventually(lambda: app.state.pager.running)
        answer = await client.get("/readyz")
        alive = await client.get("/healthz")
    assert (answer.status_code, alive.status_code) == (200, 200)
    reported = answer.json()["dependencies"]
    assert (reported["database"], reported["bus"]) == (False, False)


async def test_intake_brings_a_crisis_over_http_while_the_bus_is_away(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: the company's event to intake, intake to crisis, crisis to a person; and once only."""
    port = free_port()
    intake = {"crisis_url": f"http://127.0.0.1:{port}", "crisis_patience_seconds": 0.3}
    async with (
        stack("intake", "crisis", start=START, intake=intake, crisis=paging) as system,
        loopback.serve(system.app("crisis"), port=port),
    ):

        async def no_bus(_: object) -> None:
            raise KafkaConnectionError("away")

        with monkeypatch.context() as away:
            away.setattr(system.runtime("intake").publisher, "publish", no_bus)
            async with system.client("intake", "publisher") as client:
                answer = await client.post("/v1/events", json=crisis_flagged().structured())
            assert answer.status_code == 202
            await bot.wait_for(1)
        await system.settled(60)
        assert len(await system.events("crisis-flagged")) == 1, "the bus brings it as well, once it is back"
        assert len(bot.pages) == 1


# --- time


async def test_lines_of_the_future_stop_the_heartbeat(system: System, bot: FakeWeCom) -> None:
    """Written by a replica whose clock was wrong: the next step counts from them, and comes too late."""
    await system.publish(crisis_flagged())
    pager, auditor = system.app("crisis").state.pager, system.app("crisis").state.auditor
    (watch,) = pager.board.watches.values()
    lines = [*watch.incident.timeline]
    lines[-1] = lines[-1].model_copy(update={"at": at("2026-04-01 11:00")})
    watch.incident = watch.incident.model_copy(update={"timeline": tuple(lines)})
    assert auditor.look() == [f"ahead-of-time {watch.incident.id}"]
