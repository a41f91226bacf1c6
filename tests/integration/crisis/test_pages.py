"""From a flag to a person: pages, acknowledgements, clocks, and what the bus is told."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from aftercare.fake_wecom import FakeWeCom
from shared.messaging.bus import Outgoing
from tests.builders import at, crisis_flagged
from tests.conftest import Start
from tests.integration.crisis.conftest import START
from tests.system import System


def path(bot: FakeWeCom, page: int = 0) -> str:
    """The path of the link in a page."""
    return bot.pages[page].link.removeprefix("https://crisis.example")


async def told(system: System) -> list[tuple[str, str | None]]:
    """What was told of incidents, each change once: the relay of a start may repeat what is just being published."""
    events = {event.id: event for event in await system.events("incident-changed")}
    return [(event.data.change, event.data.step) for event in events.values()]  # type: ignore[attr-defined]


async def test_a_flag_pages_and_one_tap_acknowledges(system: System, bot: FakeWeCom) -> None:
    await system.publish(crisis_flagged(client_id="client-7"))
    page = bot.pages[0].text
    assert "client-7" in page
    assert "https://records.example/client-7" in page
    assert page.index("危机") < page.index("Crisis")
    async with system.client("crisis") as phone:
        shown = await phone.get(path(bot))
        assert (shown.status_code, "我来处理" in shown.text) == (200, True)
        assert shown.headers["Cache-Control"] == "no-store"
        tapped = await phone.post(path(bot))
        again = await phone.post(path(bot))
    assert (tapped.status_code, again.status_code) == (200, 200)
    await system.settled()
    assert await told(system) == [("opened", None), ("paged", "on-call"), ("acknowledged", None)]


async def test_opening_the_link_acknowledges_nothing(system: System, bot: FakeWeCom) -> None:
    await system.publish(crisis_flagged())
    async with system.client("crisis") as scanner:
        for _ in range(3):
            await scanner.get(path(bot))
            await scanner.head(path(bot))
    await system.until(at("2026-04-01 10:05"))
    assert len(bot.pages) == 2


async def test_a_forged_or_old_link_acknowledges_nothing(system: System, bot: FakeWeCom) -> None:
    await system.publish(crisis_flagged())
    async with system.client("crisis") as phone:
        forged = await phone.post(f"{path(bot)[:-4]}AAAA")
        system.clock.advance(at("2026-04-02 10:01"))
        await system.settled()
        old = await phone.post(path(bot))
    assert (forged.status_code, old.status_code) == (403, 410)
    assert "acknowledged" not in [change for change, _ in await told(system)]


async def test_the_same_flag_by_bus_twice_and_by_http_is_one_incident_and_one_page(
    system: System, bot: FakeWeCom
) -> None:
    flag = crisis_flagged()
    await system.publish(flag)
    await system.publish(flag)
    async with system.client("crisis", "counsellor", "supervisor") as client:
        taken = await client.post("/v1/crises", json=flag.structured())
        assert (taken.status_code, taken.json()["paged"]) == (202, True)
        listed = (await client.get("/v1/incidents")).json()["items"]
    assert [item["incident_id"] for item in listed] == [taken.json()["incident_id"]]
    assert len(bot.pages) == 1


async def test_a_known_flag_pages_nobody_after_a_restart_on_a_bus_that_brings_it_again(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any]
) -> None:
    flag = crisis_flagged()
    async with stack("crisis", start=START, crisis=paging) as system:
        await system.publish(flag)
        async with system.client("crisis", "supervisor") as client:
            incident = (await client.get("/v1/incidents")).json()["items"][0]["incident_id"]
            assert (await client.post(f"/v1/incidents/{incident}/resolve")).status_code == 200
        await system.settled()
    before = len(bot.pages)
    async with stack("crisis", start="2026-04-05 10:00", crisis=paging) as system:
        await system.publish(flag)
        assert len(bot.pages) == before


BAD = {
    "no JSON": ({}, b"{"),
    "an unknown version": ({"ce_type": b"aftercare.crisis-flagged.v9"}, None),
    "a header that is no text": ({"ce_id": b"\xff\xfe"}, None),
    "an unknown field": ({}, b'{"client_id": "client-1", "name": "Wang Fang"}'),
    "no body": ({}, b""),
}


@pytest.mark.parametrize("bad", BAD)
async def test_a_flag_that_cannot_be_read_still_pages(system: System, bot: FakeWeCom, bad: str) -> None:
    headers, body = BAD[bad]
    good = Outgoing.of(crisis_flagged())
    mixed = {**dict(good.headers), **headers}
    await system.put(
        Outgoing(good.topic, good.key, good.value if body is None else body, tuple(mixed.items()))
    )
    await system.settled()
    assert "无法读取" in bot.pages[0].text
    assert "crisis-flagged[0]@0" in bot.pages[0].text
    assert "Wang" not in bot.pages[0].text
    letters = await system.records("crisis.dead-letter")
    assert len(letters) == 1
    assert json.loads(letters[0].value)["origin"]["offset"] == 0
    assert b"Wang" not in letters[0].value
    opened = (await system.events("incident-changed"))[0]
    assert opened.subject == "unknown"
    await system.publish(crisis_flagged(client_id="client-2"))
    assert "client-2" in bot.pages[-1].text


async def test_many_bad_records_never_stop_the_consumer_and_are_one_incident(
    system: System, bot: FakeWeCom
) -> None:
    await system.put(*(Outgoing("crisis-flagged", b"x", b"%d" % n, ()) for n in range(250)))
    await system.publish(crisis_flagged())
    assert len(bot.pages) == 2
    assert len(await system.records("crisis.dead-letter")) == 250


async def test_an_unreadable_request_pages_and_is_refused(system: System, bot: FakeWeCom) -> None:
    async with system.client("crisis") as stranger:
        assert (await stranger.post("/v1/crises", content=b"help")).status_code == 401
    assert bot.attempts == 0
    async with system.client("crisis", "publisher") as client:
        answer = await client.post("/v1/crises", content=b"Wang Fang needs help")
        assert (answer.status_code, answer.json()["reason"]) == (422, "malformed")
        assert "Wang" not in answer.text
    await system.settled()
    assert len(bot.pages) == 1
    assert "Wang" not in bot.pages[0].text
    assert len(await system.records("crisis.dead-letter")) == 1


async def test_a_known_id_with_another_body_is_a_flag_that_cannot_be_read(
    system: System, bot: FakeWeCom
) -> None:
    await system.publish(crisis_flagged(id="one"))
    await system.publish(crisis_flagged(id="one", client_id="client-2"))
    assert "无法读取" in bot.pages[1].text


async def test_a_limited_bot_is_passed_over_for_the_next_channel(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any]
) -> None:
    limited = FakeWeCom(mood="limited")
    async with limited.serve() as address:
        channels = [{"kind": "wecom", "url": paging.pop("wecom_webhooks")}]
        own = {**paging, "wecom_webhooks": f"{address}?key=one", "crisis_channels": channels}
        async with stack("crisis", start=START, crisis=own) as system:
            await system.publish(crisis_flagged())
            assert (limited.attempts, len(limited.pages), len(bot.pages)) == (1, 0, 1)


async def test_with_every_channel_refusing_the_chain_goes_on_at_once_and_says_so(
    system: System, bot: FakeWeCom
) -> None:
    bot.mood = "busy"
    await system.publish(crisis_flagged())
    changes = [change for change, _ in await told(system)]
    assert changes.count("page-failed") == 4
    bot.mood = "well"
    await system.until(at("2026-04-01 10:01"))
    assert len(bot.pages) == 1


@pytest.mark.clause("F59")
async def test_f59_the_head_is_told_within_ten_minutes_though_somebody_acknowledged(
    system: System, bot: FakeWeCom
) -> None:
    await system.publish(crisis_flagged())
    async with system.client("crisis") as phone:
        await phone.post(path(bot))
    await system.until(at("2026-04-01 10:10"))
    assert ("paged", "head") in await told(system)
    assert "已有人接手" in bot.pages[-1].text


@pytest.mark.clause("A30")
async def test_a30_acknowledged_without_intervention_pages_again_and_is_escalated(
    system: System, bot: FakeWeCom
) -> None:
    await system.publish(crisis_flagged())
    async with system.client("crisis") as phone:
        await phone.post(path(bot))
    await system.until(at("2026-04-01 10:30"))
    assert (await told(system))[-2:] == [("escalated", "no-intervention"), ("paged", "on-call")]
    escalated = await system.events("escalation-required")
    assert [(event.data.clause, event.data.urgency) for event in escalated] == [("A30", "page")]  # type: ignore[attr-defined]
    assert len(bot.pages) == 3, "it ignores the escalation that it published itself"


async def test_intervention_and_resolution_end_the_pages(system: System) -> None:
    await system.publish(crisis_flagged())
    async with system.client("crisis", "supervisor", subject="wang@company.example") as client:
        incident = (await client.get("/v1/incidents?state=opened")).json()["items"][0]["incident_id"]
        for verb in ("intervene", "intervene", "resolve", "resolve"):
            body = {"outcome": "safe"} if verb == "resolve" else None
            answer = await client.post(f"/v1/incidents/{incident}/{verb}", json=body)
            assert answer.status_code == 200
        seen = (await client.get(f"/v1/incidents/{incident}")).json()
        assert seen["state"] == "resolved"
        assert [line["what"] for line in seen["timeline"]][:2] == ["flagged", "paged"]
        assert (await client.post("/v1/incidents/none/resolve")).status_code == 404
    await system.until(at("2026-04-03 10:00"))
    assert [step for change, step in await told(system) if change == "paged"] == ["on-call", "head"]
    subject = "staff-" + hashlib.sha256(b"wang@company.example").hexdigest()[:24]
    by = {event.data.by for event in await system.events("incident-changed")}  # type: ignore[attr-defined]
    assert by == {None, subject}


@pytest.mark.clause("A29", "A31")
async def test_the_three_steps_of_an_assessment_and_a_referral_reach_the_bus(system: System) -> None:
    await system.publish(crisis_flagged())
    async with system.client("crisis", "supervisor") as client:
        incident = (await client.get("/v1/incidents?state=opened")).json()["items"][0]["incident_id"]
        path = f"/v1/incidents/{incident}"
        early = await client.post(f"{path}/responses", json={"agency": "hospital"})
        assert (early.status_code, early.json()["reason"]) == (409, "not-possible")
        unknown = await client.post(f"{path}/assessments", json={"step": "guess"})
        assert (unknown.status_code, unknown.json()["field"]) == (422, "body.step")
        for step in ("first-assessment", "in-depth-interview", "risk-assessment"):
            assert (await client.post(f"{path}/assessments", json={"step": step})).status_code == 200
        for what in ("referrals", "responses"):
            assert (await client.post(f"{path}/{what}", json={"agency": "hospital"})).status_code == 200
        lines = [line["what"] for line in (await client.get(path)).json()["timeline"]]
    assert lines[-5:] == ["assessed"] * 3 + ["referred", "responded"]
    assert [step for change, step in await told(system) if change == "acknowledged"] == [
        None, "first-assessment", "in-depth-interview", "risk-assessment", "referred-hospital", "responded-hospital",
    ]  # fmt: skip


async def test_a_drill_pages_and_tells_the_bus_nothing(system: System, bot: FakeWeCom) -> None:
    await system.publish(crisis_flagged(level="drill"))
    assert "演练" in bot.pages[0].text
    async with system.client("crisis") as phone:
        await phone.post(path(bot))
    await system.until(at("2026-04-01 12:00"))
    assert await told(system) == []
    assert len(bot.pages) == 1


async def test_a_roster_pages_each_person_over_their_own_channel(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any], tmp_path: Any
) -> None:
    url = paging["wecom_webhooks"]
    people = [
        {"id": f"staff-{n}", "roles": [role], "channels": [{"kind": "wecom", "url": f"{url}-{n}"}]}
        for n, role in enumerate(["on-call", "on-call-second", "head-of-psychology"])
    ]
    roster = tmp_path / "roster.yaml"
    roster.write_text(json.dumps({"people": people}))
    async with stack("crisis", start=START, crisis={**paging, "roster_file": roster}) as system:
        await system.publish(crisis_flagged())
        await system.until(at("2026-04-01 10:15"))
        keys = [page.key for page in bot.pages]
        assert keys[:3] == ["one-0", "one-1", "one-2"]
        assert sorted(keys[3:]) == ["one-0", "one-1", "one-2"], "everyone"
        async with system.client("crisis", "supervisor") as client:
            await client.post(path(bot, 1))
            seen = (await client.get("/v1/incidents")).json()["items"][0]
        assert seen["acknowledged_by"] == "staff-1"
