"""What counts as sent: the provider's own word, not the HTTP status."""

from __future__ import annotations

import hashlib
import hmac
import json

import httpx
import pytest

from aftercare.fake_wecom import FakeWeCom, Mood
from services.crisis.addresses import WebhookAddress, WeComAddress
from services.crisis.channels import Accepted, Message, Rejected
from services.crisis.channels.webhook import Webhook
from services.crisis.channels.wecom import WeCom
from services.crisis.dispatch import Dispatcher
from services.crisis.roster import Person, Recipient, Roster, recipients
from tests.unit.crisis.stories import FLAGGED

BOT = WeComAddress(url="https://bot.example/cgi-bin/webhook/send?key=one", mention=("duty",))


def page(text: str = "有人需要帮助") -> Message:
    return Message("incident:1.0.0:staff-1", text, {"incident_id": "incident"}, FLAGGED)


async def send(fake: FakeWeCom, message: Message | None = None) -> Accepted | Rejected:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(fake), timeout=0.2) as client:
        return await WeCom(BOT, client).send(message or page())


async def test_a_page_that_the_bot_takes() -> None:
    fake = FakeWeCom()
    assert await send(fake) == Accepted()
    assert [(taken.text, taken.mentioned) for taken in fake.pages] == [("有人需要帮助", ("duty",))]


@pytest.mark.parametrize(
    ("mood", "reason"),
    [("busy", "errcode-1"), ("limited", "rate-limited"), ("broken", "http-500"), ("nonsense", "no-errcode")],
)
async def test_what_the_bot_does_not_take_is_not_sent(mood: Mood, reason: str) -> None:
    answer = await send(FakeWeCom(mood=mood))
    assert isinstance(answer, Rejected)
    assert answer.reason == reason


async def test_an_unknown_key_answers_200_and_is_a_failure() -> None:
    assert await send(FakeWeCom(keys=frozenset({"another"}))) == Rejected("errcode-93000")


async def test_the_twenty_first_page_of_a_minute_is_refused() -> None:
    minute = [0.0]
    fake = FakeWeCom(clock=lambda: minute[0])
    for _ in range(20):
        assert await send(fake) == Accepted()
    assert await send(fake) == Rejected("rate-limited", retry_after=60.0)
    minute[0] = 61.0
    assert await send(fake) == Accepted()


async def test_a_long_page_is_cut_between_characters() -> None:
    fake = FakeWeCom()
    assert await send(fake, page("危" * 1000)) == Accepted()
    assert set(fake.pages[0].text) == {"危"}


@pytest.mark.parametrize("mood", ["silent", "accepts-silently"])
async def test_a_bot_that_never_answers_has_not_taken_the_page(mood: Mood) -> None:
    fake = FakeWeCom(mood=mood)
    async with fake.serve() as url, httpx.AsyncClient(timeout=0.2) as client:
        answer = await WeCom(WeComAddress(url=f"{url}?key=one"), client).send(page())
    assert answer == Rejected("timeout")


async def test_a_webhook_is_signed_over_time_and_body() -> None:
    seen: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(204)

    address = WebhookAddress(url="https://pager.example/hook", secret="between-us")
    async with httpx.AsyncClient(transport=httpx.MockTransport(take)) as client:
        assert await Webhook(address, client).send(page()) == Accepted()
    signed = seen[0].headers["X-Aftercare-Timestamp"].encode() + b"." + seen[0].content
    expected = hmac.new(b"between-us", signed, hashlib.sha256).hexdigest()
    assert seen[0].headers["X-Aftercare-Signature"] == f"sha256={expected}"
    assert json.loads(seen[0].content)["type"] == "aftercare.crisis-page.v1"


async def test_retry_then_the_next_channel() -> None:
    tried: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        tried.append(request.url.host)
        return httpx.Response(500 if request.url.host == "first.example" else 200)

    addresses = tuple(WebhookAddress(url=f"https://{name}.example/") for name in ("first", "second"))
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        reach = await Dispatcher(Roster(), addresses, client).send(["on-call"], lambda _: page())
    assert tried == ["first.example", "first.example", "second.example"]
    assert (reach.reached, reach.channel) == (1, "webhook")


async def test_a_rate_limited_channel_is_not_tried_twice() -> None:
    fake = FakeWeCom(mood="limited")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(fake)) as client:
        reach = await Dispatcher(Roster(), (BOT,), client).send(["on-call"], lambda _: page())
    assert (reach.reached, reach.channel, fake.attempts) == (0, "rate-limited", 1)


async def test_without_any_channel_nobody_is_reached() -> None:
    async with httpx.AsyncClient() as client:
        reach = await Dispatcher(Roster(), (), client).send(["on-call"], lambda _: page())
    assert (reach.reached, reach.channel) == (0, "no-channel")


def test_the_roster_names_who_gets_a_page() -> None:
    one = Person(id="staff-1", roles=("on-call",), channels=(BOT,))
    two = Person(id="staff-2", roles=("head-of-psychology",), channels=(BOT,))
    roster = Roster(people=(one, two))
    assert [who.id for who in recipients(roster, "on-call", ())] == ["staff-1"]
    assert [who.id for who in recipients(roster, "everyone-on-call", ())] == ["staff-1", "staff-2"]
    assert recipients(roster, "on-call-second", (BOT,)) == (Recipient("default", (BOT,)),)
    assert recipients(roster, "on-call-second", ()) == ()
