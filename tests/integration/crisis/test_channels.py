"""A person's own rules from flag to phone: bot, text, call, and the key that acknowledges."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aftercare.fake_wecom import FakeWeCom
from tests.builders import at, crisis_flagged
from tests.conftest import Start
from tests.fakes.alerting import FakePagerDuty
from tests.fakes.phones import KEY_ID, KEY_SECRET, FakeAliyun, FakeTencent
from tests.integration.crisis.conftest import START
from tests.system import System

PHONE = "+8613800000000"


@pytest.fixture
def aliyun() -> FakeAliyun:
    return FakeAliyun()


@pytest.fixture
def tencent() -> FakeTencent:
    return FakeTencent()


@pytest.fixture
async def on_duty(
    stack: Start, paging: dict[str, Any], aliyun: FakeAliyun, tencent: FakeTencent, tmp_path: Path
) -> AsyncIterator[System]:
    """The crisis service with one person on call: now the bot, after a minute a text, after three a call."""
    async with aliyun.serve() as one, tencent.serve() as other:
        keys = {"key_id": KEY_ID, "key_secret": KEY_SECRET, "sign_name": "心理"}
        aliyun_urls = {"sms_url": f"{one}/", "voice_url": f"{one}/"}
        tencent_urls = {"sms_url": f"{other}/", "voice_url": f"{other}/"}
        roster = {
            "people": [
                {
                    "id": "staff-1",
                    "roles": ["on-call"],
                    "channels": [
                        {"kind": "wecom", "url": paging["wecom_webhooks"]},
                        {"kind": "sms", "number": PHONE, "after": "1 min"},
                        {"kind": "voice", "number": PHONE, "after": "3 min"},
                    ],
                }
            ],
            "providers": [
                {"kind": "aliyun", **keys, **aliyun_urls, "sms": {"id": "SMS_1"}},
                {"kind": "tencent", **keys, **tencent_urls, "voice_app": "1", "voice": {"id": "2"}},
            ],
        }
        file = tmp_path / "roster.yaml"
        file.write_text(json.dumps(roster))
        async with stack("crisis", start=START, crisis={**paging, "roster_file": file}) as system:
            yield system


async def receipts_path(system: System, provider: str) -> str:
    async with system.client("crisis", "engineer") as client:
        found = (await client.get("/v1/receipt-addresses")).json()
    urls = {one["provider"]: one["url"] for one in found}
    return str(urls[provider]).removeprefix("https://crisis.example")


async def timeline(system: System) -> list[tuple[str, str | None, str | None]]:
    async with system.client("crisis", "supervisor") as client:
        incident = (await client.get("/v1/incidents")).json()["items"][0]["incident_id"]
        lines = (await client.get(f"/v1/incidents/{incident}")).json()["timeline"]
    return [(line["what"], line["channel"], line["by"]) for line in lines]


async def test_bot_text_and_call_and_the_key_acknowledges_as_the_one_who_was_called(
    on_duty: System, bot: FakeWeCom, aliyun: FakeAliyun, tencent: FakeTencent
) -> None:
    await on_duty.publish(crisis_flagged(client_id="client-7"))
    assert (len(bot.pages), len(aliyun.taken), len(tencent.taken)) == (1, 0, 0)
    await on_duty.until(at("2026-04-01 10:01"))
    text = aliyun.taken[0]
    assert (text.action, text.words["subject"]) == ("SendSms", "client-7")
    await on_duty.until(at("2026-04-01 10:03"))
    call = tencent.taken[0]
    assert (call.action, call.number, len(bot.pages)) == ("SendTtsVoice", PHONE, 1)

    arrived = [{"biz_id": text.reference, "success": True, "err_code": "DELIVERED"}]
    pressed = {"voicekey_callback": {"callid": call.reference, "keypress": "1", "mobile": "13800000000"}}
    async with on_duty.client("crisis") as provider:
        delivered = await provider.post(await receipts_path(on_duty, "aliyun"), json=arrived)
        address = await receipts_path(on_duty, "tencent")
        answers = [await provider.post(address, json=pressed) for _ in range(3)]
    assert delivered.json() == {"code": 0, "msg": "OK"}
    assert [answer.json() for answer in answers] == [{"result": 0, "errmsg": "OK"}] * 3
    await on_duty.until(at("2026-04-01 10:08"))
    assert await timeline(on_duty) == [
        ("flagged", None, None), ("paged", "wecom", None), ("paged", "sms-aliyun", None),
        ("paged", "voice-tencent", None), ("delivered", "sms-aliyun", "staff-1"),
        ("answered", "voice-tencent", "staff-1"), ("key-pressed", "voice-tencent", "staff-1"),
        ("acknowledged", None, "staff-1"),
    ]  # fmt: skip
    told = [event.data.change for event in await on_duty.events("incident-changed")]  # type: ignore[attr-defined]
    assert told == ["opened", "paged", "paged", "paged", "acknowledged"]


async def test_a_forged_unknown_or_senseless_receipt_does_nothing(
    on_duty: System, tencent: FakeTencent
) -> None:
    await on_duty.publish(crisis_flagged())
    await on_duty.until(at("2026-04-01 10:03"))
    pressed = {"voicekey_callback": {"callid": tencent.taken[0].reference, "keypress": "1"}}
    address = await receipts_path(on_duty, "tencent")
    before = await timeline(on_duty)
    async with on_duty.client("crisis") as stranger:
        assert (await stranger.get("/v1/receipt-addresses")).status_code == 401
        for forged in (address[:-2], address.replace("tencent", "aliyun"), "/r/tencent.x", "/r/tencent"):
            assert (await stranger.post(forged, json=pressed)).status_code == 403
        other = {"voicekey_callback": {"callid": "another", "keypress": "1"}}
        assert (await stranger.post(address, json=other)).json()["result"] == 0
        assert (await stranger.post(address, content=b"{")).status_code == 422
        assert (await stranger.post(address, content=b" " * 1_100_000)).status_code == 413
    assert await timeline(on_duty) == before


async def test_a_text_that_no_provider_takes_is_a_call_at_once(
    on_duty: System, aliyun: FakeAliyun, tencent: FakeTencent
) -> None:
    aliyun.mood = "refuses"
    await on_duty.publish(crisis_flagged())
    await on_duty.until(at("2026-04-01 10:04"))
    assert [call.action for call in tencent.taken] == ["SendTtsVoice"], "and not once more at its own time"


async def test_pagerduty_is_told_what_is_taken_up_and_what_is_over(
    stack: Start, paging: dict[str, Any]
) -> None:
    duty = FakePagerDuty()
    async with duty.serve() as base:
        channel = {"kind": "pagerduty", "routing_key": "k" * 32, "url": f"{base}/v2/enqueue"}
        own = {**paging, "wecom_webhooks": "", "crisis_channels": [channel]}
        async with stack("crisis", start=START, crisis=own) as system:
            await system.publish(crisis_flagged())
            async with system.client("crisis", "supervisor") as client:
                incident = (await client.get("/v1/incidents")).json()["items"][0]["incident_id"]
                assert duty.states == {incident: "triggered"}
                await client.post(f"/v1/incidents/{incident}/acknowledge")
                await system.settled()
                assert duty.states == {incident: "acknowledged"}
                await client.post(f"/v1/incidents/{incident}/resolve")
                await system.settled()
    assert duty.states == {incident: "resolved"}


async def test_a_burst_of_crises_stays_within_what_a_bot_takes_and_goes_on_over_the_next(
    stack: Start, paging: dict[str, Any]
) -> None:
    """A real bot would refuse the 21st of a minute, and one of DingTalk's lose ten minutes for it."""
    first, second = FakeWeCom(), FakeWeCom()
    async with first.serve() as one, second.serve() as other:
        bots = {"wecom_webhooks": f"{one}?key=1,{other}?key=2", "page_budgets": True}
        async with stack("crisis", start=START, crisis={**paging, **bots}) as system:
            await system.publish(*(crisis_flagged(client_id=f"client-{n}") for n in range(30)))
            assert (len(first.pages), first.attempts) == (18, 18)
            assert len(second.pages) == 12
