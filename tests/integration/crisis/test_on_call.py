"""Who is on call, on real engines: pages go to the holder, changes hold, notes are sealed, calendars are read-only."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from aftercare.fake_wecom import FakeWeCom
from tests.builders import at, crisis_flagged
from tests.conftest import Start
from tests.integration.crisis.conftest import START
from tests.integration.crisis.test_failures import own_mongo
from tests.system import System

WEEKS = {"name": "weeks", "people": ["staff-0", "staff-1"], "begins": "2026-03-30"}
"""At the start, on Wednesday 2026-04-01, the week of staff-0; staff-1 has the next."""
BASE = "https://crisis.example"


def shift(person: str, start: str, **given: Any) -> dict[str, Any]:
    return {"role": "on-call", "person": person, "start": f"{start}+08:00", **given}


def change(person: str, start: str, end: str) -> dict[str, Any]:
    return shift(person, start, end=f"{end}+08:00")


NOW = change("staff-2", "2026-04-01T09:30:00", "2026-04-01T18:00:00")
SWAP = {"one": shift("staff-1", "2026-04-06T09:00:00"), "other": shift("staff-0", "2026-04-13T09:00:00")}


@pytest.fixture
def on_call(paging: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Settings with a rota of two people, and a third who is on the roster in another role."""
    people = [
        {
            "id": f"staff-{n}",
            "roles": [role],
            "channels": [{"kind": "wecom", "url": f"{paging['wecom_webhooks']}-{n}"}],
        }
        for n, role in enumerate(["on-call", "on-call", "other"])
    ]
    roster, rota = tmp_path / "roster.yaml", tmp_path / "rota.yaml"
    roster.write_text(json.dumps({"people": people}))
    rota.write_text(yaml.safe_dump({"schedules": [{"role": "on-call", "layers": [WEEKS]}]}))
    return {**paging, "roster_file": roster, "rota_file": rota}


@pytest.fixture
async def system(stack: Start, on_call: dict[str, Any]) -> AsyncIterator[System]:
    async with stack("crisis", start=START, crisis=on_call) as system:
        yield system


async def looked(client: httpx.AsyncClient) -> dict[str, Any]:
    answer = await client.get("/v1/on-call")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def held(seen: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(one["person"], one["start"][5:16], one["source"]) for one in seen["shifts"]]


async def test_the_holder_alone_is_paged_and_whoever_stands_in_for_them(
    system: System, bot: FakeWeCom
) -> None:
    await system.publish(crisis_flagged(id="one", client_id="client-1"))
    assert [page.key for page in bot.pages] == ["one-0"]
    async with system.client("crisis", "supervisor") as client:
        assert (await client.post("/v1/on-call/overrides", json=NOW)).status_code == 201
    await system.publish(crisis_flagged(id="two", client_id="client-2"))
    assert [page.key for page in bot.pages] == ["one-0", "one-2"]


async def test_in_a_gap_everybody_with_the_role_is_paged(
    stack: Start, on_call: dict[str, Any], bot: FakeWeCom
) -> None:
    ended = {**WEEKS, "ends": "2026-03-31"}
    on_call["rota_file"].write_text(yaml.safe_dump({"schedules": [{"role": "on-call", "layers": [ended]}]}))
    async with stack("crisis", start=START, crisis=on_call) as system:
        await system.publish(crisis_flagged())
        async with system.client("crisis", "supervisor") as client:
            seen = await looked(client)
    assert sorted(page.key for page in bot.pages) == ["one-0", "one-1"]
    assert [gap["role"] for gap in seen["gaps"]] == ["on-call"]
    assert seen["roles"] == [{"role": "on-call", "now": [], "next_at": None, "next": []}]


async def test_now_next_and_an_override_that_is_made_twice_and_taken_back_twice(system: System) -> None:
    async with system.client("crisis", "supervisor") as client:
        before = await looked(client)
        made = [await client.post("/v1/on-call/overrides", json=NOW) for _ in range(2)]
        during = await looked(client)
        key = made[0].json()["id"]
        back = [await client.delete(f"/v1/on-call/overrides/{key}") for _ in range(2)]
        after = await looked(client)
        unknown = await client.delete("/v1/on-call/overrides/unknown")
    assert before["roles"] == [
        {
            "role": "on-call",
            "now": ["staff-0"],
            "next_at": "2026-04-06T09:00:00+08:00",
            "next": ["staff-1"],
        }
    ]
    assert made[0].json() == made[1].json()
    assert [one["id"] for one in during["overrides"]] == [key]
    assert held(during)[:2] == [
        ("staff-2", "04-01T09:30", "override"),
        ("staff-0", "04-01T18:00", "rotation"),
    ]
    assert [answer.status_code for answer in back] == [204, 204]
    assert after == before
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "no-such-override")


async def test_a_swap_is_done_once_and_taken_back_whole(system: System) -> None:
    async with system.client("crisis", "supervisor") as client:
        before = await looked(client)
        made = [await client.post("/v1/on-call/swaps", json=SWAP) for _ in range(2)]
        during = await looked(client)
        await client.delete(f"/v1/on-call/overrides/{made[0].json()[1]['id']}")
        after = await looked(client)
    assert [answer.status_code for answer in made] == [201, 201]
    assert made[0].json() == made[1].json()
    assert held(during) == [
        ("staff-0", "03-30T09:00", "rotation"),
        ("staff-0", "04-06T09:00", "override"),
        ("staff-1", "04-13T09:00", "override"),
    ]
    assert after == before


async def test_overrides_hold_after_a_restart_and_at_another_replica(
    stack: Start, on_call: dict[str, Any], bot: FakeWeCom
) -> None:
    async with (
        stack("crisis", start=START, crisis=on_call) as first,
        first.client("crisis", "supervisor") as client,
    ):
        assert (await client.post("/v1/on-call/overrides", json=NOW)).status_code == 201
    async with stack("crisis", start="2026-04-01 11:00", crisis=on_call) as second:
        async with second.client("crisis", "supervisor") as client:
            assert (await looked(client))["roles"][0]["now"] == ["staff-2"]
        await second.publish(crisis_flagged())
    assert bot.pages[0].key == "one-2"


async def test_without_the_database_the_last_known_overrides_hold_and_none_is_taken(
    stack: Start, on_call: dict[str, Any], bot: FakeWeCom, tmp_path: Path
) -> None:
    with own_mongo(tmp_path / "db") as mongo:
        async with (
            stack("crisis", start=START, crisis={**on_call, "mongo_url": mongo.url}) as system,
            system.client("crisis", "supervisor") as client,
        ):
            assert (await client.post("/v1/on-call/overrides", json=NOW)).status_code == 201
            mongo.stop()
            taken = await client.post("/v1/crises", json=crisis_flagged().structured())
            refused = await client.post("/v1/on-call/swaps", json=SWAP)
            seen = await looked(client)
            mongo.start()
    assert taken.json()["paged"]
    assert [page.key for page in bot.pages] == ["one-2"]
    assert (refused.status_code, refused.json()["reason"]) == (503, "database-away")
    assert (seen["roles"][0]["now"], seen["hand_overs"]) == (["staff-2"], [])


REFUSED: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "a role without a schedule": (
        "overrides",
        {**NOW, "role": "on-call-second"},
        409,
        "role-not-covered",
    ),
    "somebody who cannot be paged": ("overrides", {**NOW, "person": "staff-9"}, 409, "not-on-the-roster"),
    "the past": (
        "overrides",
        change("staff-2", "2026-03-30T09:00:00", "2026-03-31T09:00:00"),
        409,
        "not-possible",
    ),
    "the wrong way round": (
        "overrides",
        change("staff-2", "2026-04-03T09:00:00", "2026-04-02T09:00:00"),
        409,
        "not-possible",
    ),
    "a time without a zone": ("overrides", {**NOW, "start": "2026-04-01T09:30:00"}, 422, "invalid-field"),
    "a name": ("overrides", {**NOW, "person": "张 伟"}, 422, "invalid-field"),
    "no shift begins then": (
        "swaps",
        {**SWAP, "one": shift("staff-1", "2026-04-07T09:00:00")},
        409,
        "no-such-shift",
    ),
    "not their shift": (
        "swaps",
        {**SWAP, "one": shift("staff-2", "2026-04-06T09:00:00")},
        409,
        "not-possible",
    ),
    "no change of shift then": (
        "hand-overs",
        {"role": "on-call", "at": "2026-04-02T09:00:00+08:00", "note": "quiet"},
        409,
        "not-possible",
    ),
    "no change of shift near": ("hand-overs", {"role": "on-call", "note": "quiet"}, 409, "not-possible"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_not_possible_is_refused_and_changes_nothing(name: str, system: System) -> None:
    where, body, status, reason = REFUSED[name]
    async with system.client("crisis", "supervisor") as client:
        before = await looked(client)
        answer = await client.post(f"/v1/on-call/{where}", json=body)
        assert (answer.status_code, answer.json()["reason"]) == (status, reason)
        assert "张" not in answer.text
        assert await looked(client) == before


async def test_roles(system: System) -> None:
    async with (
        system.client("crisis", "engineer") as engineer,
        system.client("crisis", "operations") as other,
    ):
        assert (await engineer.get("/v1/on-call")).status_code == 200
        assert (await other.get("/v1/on-call")).status_code == 403
        for where, body in (
            ("overrides", NOW),
            ("swaps", SWAP),
            ("hand-overs", {"role": "on-call", "note": "a"}),
        ):
            assert (await engineer.post(f"/v1/on-call/{where}", json=body)).status_code == 403
        assert (await engineer.delete("/v1/on-call/overrides/any")).status_code == 403
        assert (await engineer.get("/v1/on-call/calendar")).status_code == 403


# --- hand-over notes ------------------------------------------------------------------------------------------

NOTE = {"role": "on-call", "at": "2026-04-06T09:00:00+08:00", "note": "client-7 请留意，电话没有接通。"}


async def test_a_note_is_sealed_read_by_supervisors_alone_and_each_reading_recorded(system: System) -> None:
    async with (
        system.client("crisis", "supervisor", subject="staff-0") as outgoing,
        system.client("crisis", "engineer") as engineer,
        system.client("crisis", "compliance") as compliance,
    ):
        first = await outgoing.post("/v1/on-call/hand-overs", json={**NOTE, "note": "first"})
        second = await outgoing.post("/v1/on-call/hand-overs", json=NOTE)
        assert (first.status_code, second.status_code) == (201, 201)
        seen = (await looked(outgoing))["hand_overs"]
        hidden = (await looked(engineer))["hand_overs"]
        listed = (await outgoing.get("/v1/on-call?notes=false")).json()["hand_overs"]
        lines = (await compliance.get("/v1/access-log")).json()["items"]
    assert seen == [
        {
            "role": "on-call",
            "at": "2026-04-06T09:00:00+08:00",
            "from": "staff-0",
            "to": "staff-1",
            "by": "staff-0",
            "note": NOTE["note"],
        }
    ]
    assert hidden == listed == [{**seen[0], "note": None}]
    stored = await system.db("crisis").get_collection("hand_overs").find_one({})
    assert stored is not None
    assert "client-7" not in str(stored)
    assert [(line["who"], line["what"], line["hand_over_id"]) for line in lines] == [
        ("staff-0", "hand-over", stored["_id"])
    ]


async def test_a_note_at_the_change_of_shift_needs_no_time(system: System) -> None:
    await system.until(at("2026-04-06 08:45"))
    async with system.client("crisis", "supervisor") as client:
        answer = await client.post("/v1/on-call/hand-overs", json={"role": "on-call", "note": "quiet"})
    assert (answer.status_code, answer.json()["at"]) == (201, NOTE["at"])


# --- the calendar ---------------------------------------------------------------------------------------------


async def test_a_calendar_is_read_without_signing_in_and_by_its_own_address_alone(system: System) -> None:
    async with system.client("crisis", "supervisor") as client:
        own = (await client.get("/v1/on-call/calendar?person=staff-1")).json()["url"]
        everybody = (await client.get("/v1/on-call/calendar")).json()["url"]
    async with system.client("crisis") as program:
        mine = await program.get(own.removeprefix(BASE))
        all_shifts = await program.get(everybody.removeprefix(BASE))
        forged = await program.get(f"{own.removeprefix(BASE)[:-8]}AAAA.ics")
        written = await program.post(own.removeprefix(BASE))
    assert mine.headers["Content-Type"] == "text/calendar; charset=utf-8"
    assert {line for line in mine.text.splitlines() if line.startswith("SUMMARY")} == {
        "SUMMARY:on-call: staff-1"
    }
    assert "SUMMARY:on-call: staff-0" in all_shifts.text
    assert (forged.status_code, written.status_code) == (404, 405)
