"""What the console is made of over HTTP: headers, files, the stream, drills, and taps that are sent again."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from aftercare.fake_wecom import FakeWeCom
from services.crisis.live import LOOK_SECONDS
from services.crisis.main import build
from services.crisis.settings import CrisisSettings
from shared.messaging.bus import Outgoing
from shared.web.auth import Role
from tests.builders import at, crisis_flagged
from tests.conftest import Start
from tests.integration.crisis.conftest import START
from tests.integration.crisis.serving import served
from tests.integration.crisis.test_console import token
from tests.integration.crisis.test_failures import own_mongo
from tests.integration.crisis.test_pages import path
from tests.system import System

FIRST_LOAD_BYTES = 64_000
"""Page, style, modules and one language, uncompressed: seconds on the slowest of lines, once."""


async def loaded(client: httpx.AsyncClient) -> dict[str, httpx.Response]:
    """Everything that the page loads."""
    page = await client.get("/console")
    names = re.findall(r'(?:href|src)="(/[^"]+)"', page.text)
    return {"/console": page} | {name: await client.get(name) for name in names}


async def test_the_page_is_strict_small_and_its_files_stay_in_the_cache(system: System) -> None:
    async with system.client("crisis") as client:
        parts = await loaded(client)
        page = parts.pop("/console")
        old = await client.get("/console/0123456789ab/console.js")
        plain = await client.get(next(iter(parts)), headers={"Accept-Encoding": "identity"})
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["X-Frame-Options"] == "DENY"
    assert not re.search(r"<style|style=|<script(?! type=\"module\" src=)| on[a-z]+=", page.text)
    assert {part.status_code for part in parts.values()} == {200}
    assert {part.headers["Cache-Control"] for part in parts.values()} == {
        "public, max-age=31536000, immutable"
    }
    assert {part.headers["Content-Encoding"] for part in parts.values()} == {"gzip"}
    assert "Content-Encoding" not in plain.headers
    assert old.status_code == 404
    assert sum(len(part.content) for part in (page, *parts.values())) < FIRST_LOAD_BYTES


async def test_the_page_imports_nothing_that_it_does_not_name(system: System) -> None:
    async with system.client("crisis") as client:
        parts = await loaded(client)
    named = {Path(name).name for name in parts}
    imported = {
        name for part in parts.values() for name in re.findall(r'from"?\s*"\./([a-z]+\.js)"', part.text)
    }
    assert imported <= named
    assert "zh.js" in named


@asynccontextmanager
async def streaming(
    base: str, bearer: str, last_seen: str | None = None
) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
    """The events of a stream, as (name, data)."""

    async def events(answer: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
        name = ""
        async for line in answer.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "))

    headers = {"Authorization": f"Bearer {bearer}", **({"Last-Event-ID": last_seen} if last_seen else {})}
    async with (
        httpx.AsyncClient(base_url=base, headers=headers, timeout=30) as client,
        client.stream("GET", "/v1/incidents/stream") as answer,
    ):
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        yield events(answer)


async def test_the_stream_is_for_those_who_may_read_and_says_what_they_may_do(
    system: System, settings: dict[str, Any]
) -> None:
    def roles(*given: Role) -> httpx.AsyncClient:
        return system.client("crisis", *given)

    async with roles() as nobody, roles("counsellor") as counsellor:
        assert (await nobody.get("/v1/incidents/stream")).status_code == 401
        assert (await counsellor.get("/v1/incidents/stream")).status_code == 403
    async with served(system.app("crisis")) as base:
        for role, may_act in (("supervisor", True), ("compliance", False)):
            async with streaming(base, token(settings, role, subject="wang@company.example")) as events:
                name, data = await anext(events)
            assert (name, data["reader"]["may_act"]) == ("snapshot", may_act)
            assert "wang" not in json.dumps(data)


async def test_many_readers_each_hear_of_a_flag(system: System, settings: dict[str, Any]) -> None:
    bearer = token(settings)
    async with served(system.app("crisis")) as base:
        readers = [streaming(base, bearer) for _ in range(50)]
        events = [await reader.__aenter__() for reader in readers]
        for one in events:
            assert (await anext(one))[0] == "snapshot"
        await system.publish(crisis_flagged(client_id="client-7"))
        for one in events:
            async for name, data in one:
                if name == "incident":
                    assert data["client_id"] == "client-7"
                    break
        for reader in readers:
            await reader.__aexit__(None, None, None)


async def test_a_tap_at_one_replica_is_news_at_the_other(
    system: System, settings: dict[str, Any], paging: dict[str, Any]
) -> None:
    other = build(CrisisSettings(**settings, **paging), system.clock, system.progress)
    async with (
        other.router.lifespan_context(other),
        served(other) as base,
        streaming(base, token(settings)) as events,
    ):
        await asyncio.wait_for(other.state.runtime.connected.wait(), 30)
        assert (await anext(events))[0] == "snapshot"
        await system.publish(crisis_flagged(client_id="client-7"))
        async with system.client("crisis", "supervisor") as someone:
            incident = (await someone.get("/v1/incidents")).json()["items"][0]["incident_id"]
            await someone.post(f"/v1/incidents/{incident}/acknowledge")
        async with asyncio.timeout(10 * LOOK_SECONDS):
            async for name, data in events:
                if name == "incident" and data["state"] == "acknowledged":
                    break
        assert (data["incident_id"], data["people"]) == (incident, ["someone"])


async def test_without_mongodb_the_stream_goes_on_and_says_what_is_not_written_down(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    with own_mongo(tmp_path) as mongo:
        async with (
            stack("crisis", start=START, crisis={**paging, "mongo_url": mongo.url}) as system,
            served(system.app("crisis")) as base,
        ):
            mongo.stop()
            async with streaming(base, token(settings)) as events:
                assert (await anext(events))[0] == "snapshot"
                await system.put(Outgoing.of(crisis_flagged(client_id="client-7")))
                await bot.wait_for(1)
                seen = [await anext(events)]
                while ("time", False) not in [(name, data.get("stored")) for name, data in seen]:
                    seen.append(await anext(events))
            assert "client-7" in [data.get("client_id") for name, data in seen if name == "incident"]
            mongo.start()
            await system.settled(60)


async def test_a_tap_that_is_sent_again_does_not_act_on_what_has_happened_since(
    system: System, bot: FakeWeCom
) -> None:
    await system.publish(crisis_flagged(client_id="client-7", level="watch", id="one"))
    async with system.client("crisis", "supervisor") as client:
        incident = (await client.get("/v1/incidents")).json()["items"][0]["incident_id"]
        acknowledge = f"/v1/incidents/{incident}/acknowledge"
        key = {"Idempotency-Key": "first-tap"}
        assert (await client.post(acknowledge, headers=key)).status_code == 200
        await system.publish(crisis_flagged(client_id="client-7", level="imminent", id="two"))
        again = (await client.post(acknowledge, headers=key)).json()
        assert again["awaiting_acknowledgement"] is True, "nobody has seen the worse flag yet"
        other = (await client.post(acknowledge, headers={"Idempotency-Key": "second-tap"})).json()
        assert other["awaiting_acknowledgement"] is False


async def test_drills_are_told_with_their_times(system: System) -> None:
    await system.publish(crisis_flagged(client_id="drill-1", level="drill", id="one"))
    async with system.client("crisis", "supervisor", subject="staff-2") as client:
        incident = (await client.get("/v1/incidents")).json()["items"][0]["incident_id"]
        await system.until(at("2026-04-01 10:02"))
        await client.post(f"/v1/incidents/{incident}/acknowledge")
        await system.publish(
            crisis_flagged(client_id="drill-2", level="drill", id="two", flagged_at="2026-04-01 10:02")
        )
        await system.publish(crisis_flagged(client_id="client-7"))
        items = (await client.get("/v1/drills")).json()["items"]
    assert [(i["acknowledged_seconds"], i["acknowledged_by"], i["over"]) for i in items] == [
        (None, None, False),
        (120.0, "staff-2", True),
    ]
    assert [i["page_seconds"] for i in items] == [0.0, 0.0]


async def test_the_page_behind_a_link_leads_on_to_the_console(system: System, bot: FakeWeCom) -> None:
    await system.publish(crisis_flagged(client_id="client-7"))
    async with system.client("crisis") as phone:
        asked = await phone.get(path(bot))
        tapped = await phone.post(path(bot))
    incident = next(iter(system.app("crisis").state.pager.board.watches))
    assert "console" not in asked.text, "first the button"
    assert f'href="../console#incident={incident}"' in tapped.text
    assert "unsafe" not in tapped.headers["Content-Security-Policy"]


async def test_without_an_issuer_there_is_nothing_to_sign_in_at(system: System) -> None:
    async with system.client("crisis") as client:
        asked = {"challenge": "a" * 43, "state": "b" * 43}
        answer = await client.get("/v1/console/sign-in", params=asked)
    assert (answer.status_code, answer.json()["reason"]) == (404, "no-issuer")
