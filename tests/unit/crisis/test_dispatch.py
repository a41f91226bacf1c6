"""From one page to everyone it is for: stages, providers in order, budgets, and each way to reach nobody."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx
import pytest
import structlog

from aftercare.fake_wecom import FakeWeCom
from services.crisis import dispatch
from services.crisis.addresses import (
    AliyunAccount,
    DingTalkAddress,
    PagerDutyAddress,
    SmsAddress,
    Template,
    TencentAccount,
    VoiceAddress,
    WebhookAddress,
    WeComAddress,
)
from services.crisis.channels import Accepted, Message
from services.crisis.channels.pagerduty import PagerDuty
from services.crisis.dispatch import Dispatcher
from services.crisis.domain import Contact
from services.crisis.roster import Person, Recipient, Roster
from shared.clock import VirtualClock
from shared.observability import metrics
from tests.fakes.bots import FakeDingTalk
from tests.fakes.phones import KEY_ID, KEY_SECRET, FakeAliyun, FakeTencent
from tests.fakes.provider import Provider
from tests.unit.crisis.stories import FLAGGED

PHONE = "+8613800000000"
BOT = WeComAddress(url="https://wecom.example/cgi-bin/webhook/send?key=one")
OTHER_BOT = DingTalkAddress(url="https://dingtalk.example/robot/send?access_token=T")
TEXT = SmsAddress(number=PHONE, after=timedelta(minutes=1))
CALL = VoiceAddress(number=PHONE, after=timedelta(minutes=3))
SPARE = WebhookAddress(url="https://spare.example/")


class World:
    """All providers behind one client, and a roster of one person with these channels."""

    def __init__(self, *channels: object, fallback: tuple[WebhookAddress, ...] = ()) -> None:
        self.clock = VirtualClock(FLAGGED)
        self.wecom = FakeWeCom(clock=lambda: self.clock.now().timestamp())
        self.dingtalk = FakeDingTalk(clock=lambda: self.clock.now().timestamp())
        self.aliyun, self.tencent = FakeAliyun(), FakeTencent()
        self.asked: list[str] = []
        self.unanswering = ""
        accounts = (
            AliyunAccount(
                key_id=KEY_ID, key_secret=KEY_SECRET, sign_name="心理", sms=Template(id="SMS_1"),
                voice=Template(id="TTS_1"),
            ),
            TencentAccount(
                key_id=KEY_ID, key_secret=KEY_SECRET, sign_name="心理", sms_app="1400", sms=Template(id="1"),
                voice_app="1401", voice=Template(id="2"),
            ),
        )  # fmt: skip
        person = Person(id="staff-1", roles=("on-call",), channels=channels)
        self.client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self.dispatcher = Dispatcher(
            Roster(people=(person,), providers=accounts), fallback, self.client, clock=self.clock
        )

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.host.split(".")[0])
        if request.url.host == self.unanswering:
            raise httpx.ReadTimeout("no answer")
        apps = {
            "wecom.example": self.wecom, "dingtalk.example": self.dingtalk,
            "dysmsapi.aliyuncs.com": self.aliyun, "dyvmsapi.aliyuncs.com": self.aliyun,
            "sms.tencentcloudapi.com": self.tencent, "vms.tencentcloudapi.com": self.tencent,
        }  # fmt: skip
        app = apps.get(request.url.host)
        if app is None:
            return httpx.Response(204)
        return await httpx.ASGITransport(app).handle_async_request(request)

    async def page(self, *, danger: bool = True, words: bool = True) -> dispatch.Reach:
        return await self.dispatcher.send(["on-call"], lambda who: message(who, danger=danger, words=words))

    async def page_later(self, stage: float, seconds: float = 45.0) -> dispatch.Reach:
        return await self.dispatcher.send_later(["staff-1"], stage, message, seconds)


def message(who: Recipient, *, danger: bool = True, words: bool = True) -> Message:
    said = {"what": "心理危机（高）", "subject": "client-1", "until": "04-01 10:30"} if words else {}
    return Message(
        f"incident:{who.id}",
        "页",
        {"incident_id": "incident"},
        FLAGGED,
        "页",
        said,
        topic="incident",
        danger=danger,
    )


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "AGAIN_AFTER_SECONDS", 0)
    monkeypatch.setattr(dispatch, "PHONE_AGAIN_AFTER_SECONDS", 0)


async def test_a_system_that_hangs_or_fails_does_not_keep_the_others_from_being_told_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "ATTEMPT_SECONDS", 0.01)
    told: list[str] = []

    async def end(self: PagerDuty, topic: str, how: str, at: object) -> Accepted:
        told.append(self.key)
        if self.key == "hangs":
            await asyncio.Event().wait()
        if self.key == "fails":
            raise RuntimeError("a defect")
        return Accepted()

    monkeypatch.setattr(PagerDuty, "end", end)
    world = World(*(PagerDutyAddress(routing_key=key) for key in ("hangs", "fails", "well")))
    await world.dispatcher.end(
        [Contact(person="staff-1", channel="pagerduty")], "incident", "resolved", FLAGGED
    )
    assert told == ["hangs", "hangs", "fails", "fails", "well"]


async def test_the_first_stage_alone_goes_out_at_once() -> None:
    world = World(BOT, TEXT, CALL)
    reach = await world.page()
    (contact,) = reach.contacts
    assert (reach.reached, reach.channel, world.asked) == (1, "wecom", ["wecom"])
    assert (contact.person, contact.after, contact.later) == ("staff-1", 0, (60, 180))


async def test_where_the_first_stage_reaches_nobody_the_next_goes_out_at_once() -> None:
    world = World(BOT, TEXT, CALL)
    world.wecom.mood = "broken"
    (contact,) = (await world.page()).contacts
    assert (contact.channel, contact.after, contact.later) == ("sms-aliyun", 60, (180,))
    assert world.asked == ["wecom", "wecom", "dysmsapi"]


async def test_who_may_have_the_page_already_is_known() -> None:
    """No answer is no refusal: the provider may have taken it."""
    world = World(BOT, OTHER_BOT)
    assert not (await world.page()).doubtful
    world.wecom.mood = "broken"
    assert not (await world.page()).doubtful
    world.unanswering = "wecom.example"
    assert (await world.page()).doubtful


async def test_a_later_stage_goes_over_its_own_channels_and_then_over_later_ones() -> None:
    world = World(BOT, TEXT, CALL, fallback=(SPARE,))
    assert (await world.page_later(60)).channel == "sms-aliyun"
    world.aliyun.mood = world.tencent.mood = "broken"
    reach = await world.page_later(60)
    assert (reach.reached, reach.channel) == (0, "http-500")
    assert "spare" not in world.asked, "the bot has the page: the channels for everybody are not for this"


async def test_the_next_provider_carries_what_the_first_does_not() -> None:
    world = World(BOT, TEXT, CALL)
    world.aliyun.mood = "refuses"
    reach = await world.page_later(180)
    assert (reach.channel, world.tencent.taken[0].action) == ("voice-tencent", "SendTtsVoice")


async def test_providers_are_tried_in_the_order_of_the_channel() -> None:
    world = World(BOT, SmsAddress(number=PHONE, providers=("tencent", "aliyun")))
    world.wecom.mood = "broken"
    assert (await world.page()).channel == "sms-tencent"


async def test_who_has_no_channel_is_told_over_those_for_everybody() -> None:
    assert (await World(fallback=(SPARE,)).page()).channel == "webhook"
    reach = await World().page()
    assert (reach.reached, reach.channel) == (0, "no-channel")


async def test_with_every_provider_down_the_channels_for_everybody_get_it_and_the_phones_another_try() -> (
    None
):
    world = World(BOT, TEXT, CALL, fallback=(SPARE,))
    world.wecom.mood = "broken"
    world.aliyun.mood = world.tencent.mood = "broken"
    (contact,) = (await world.page()).contacts
    assert (contact.channel, contact.later) == ("webhook", (60, 180))


async def test_over_budget_means_the_next_channel_and_the_provider_is_not_asked() -> None:
    world = World(BOT, OTHER_BOT)
    channels = [(await world.page()).channel for _ in range(37)]
    assert channels == ["wecom"] * 18 + ["dingtalk"] * 18 + ["over-budget"]
    assert (world.wecom.attempts, world.dingtalk.attempts) == (18, 18)
    world.clock.advance(FLAGGED + timedelta(minutes=1))
    assert (await world.page()).channel == "wecom"


async def test_drills_leave_half_of_the_budget_for_crises() -> None:
    world = World(BOT)
    drills = [(await world.page(danger=False)).reached for _ in range(10)]
    assert drills == [1] * 9 + [0]
    assert [(await world.page()).reached for _ in range(9)] == [1] * 9


async def test_a_bot_that_is_blocked_is_passed_over_until_it_is_free() -> None:
    """130101: it takes nothing for ten minutes."""
    world = World(OTHER_BOT, BOT)
    world.dingtalk.mood = "limited"
    assert [(await world.page()).channel for _ in range(3)] == ["wecom"] * 3
    assert world.dingtalk.attempts == 1
    world.dingtalk.mood = "well"
    world.clock.advance(FLAGGED + timedelta(minutes=9, seconds=59))
    assert (await world.page()).channel == "wecom"
    world.clock.advance(FLAGGED + timedelta(minutes=10))
    assert (await world.page()).channel == "dingtalk"


async def test_one_call_a_minute_for_a_number_and_the_next_over_the_next_provider() -> None:
    world = World(BOT, CALL)
    assert [(await world.page_later(180)).channel for _ in range(3)] == [
        "voice-aliyun", "voice-tencent", "over-budget",
    ]  # fmt: skip


async def test_notices_ring_no_phone() -> None:
    world = World(BOT, TEXT, CALL)
    world.wecom.mood = "broken"
    assert (await world.page(words=False)).reached == 0
    assert set(world.asked) == {"wecom"}


async def test_the_providers_id_leads_to_the_person() -> None:
    world = World(BOT, CALL)
    (contact,) = (await world.page_later(180)).contacts
    assert contact.reference is not None
    assert world.dispatcher.referred(contact.reference) == (
        "incident",
        contact.model_copy(update={"after": 0.0}),
    )
    assert world.dispatcher.referred("aliyun:another") is None


async def test_a_provider_that_answers_without_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "ATTEMPT_SECONDS", 0.2)
    fake = Dripping()
    async with fake.serve() as base, httpx.AsyncClient(timeout=5) as client:
        channels = (WebhookAddress(url=base), WebhookAddress(url=base))
        reach = await Dispatcher(Roster(), channels, client).send(["on-call"], message)
    assert (reach.reached, reach.channel, fake.attempts) == (0, "timeout", 4)


async def test_a_stage_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(BOT, CALL)

    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(world, "_answer", hang)
    world.client._transport = httpx.MockTransport(hang)
    reach = await world.page_later(180, seconds=0.05)
    assert (reach.reached, reach.channel) == (0, "timeout")


async def test_no_key_and_no_number_stands_in_a_log() -> None:
    world = World(BOT, OTHER_BOT, TEXT, CALL)
    world.wecom.mood = "broken"
    world.dingtalk.mood = "limited"
    world.aliyun.mood = world.tencent.mood = "nonsense"
    with structlog.testing.capture_logs() as logs:
        await world.page()
        await world.page()
    assert len(logs) > 8
    for secret in ("key=one", "access_token", PHONE[3:], KEY_ID, KEY_SECRET, "client-1"):
        assert secret not in str(logs)


class Dripping(Provider):
    def __init__(self) -> None:
        super().__init__(mood="drips")


async def test_a_defect_about_one_person_keeps_the_page_from_nobody_else() -> None:
    def compose(who: Recipient) -> Message:
        if who.id == "staff-1":
            raise KeyError("a text that is missing")
        return message(who)

    people = tuple(Person(id=f"staff-{n}", roles=("on-call",), channels=(SPARE,)) for n in (1, 2))
    async with httpx.AsyncClient(
        transport=httpx.MockTransport(lambda request: httpx.Response(204))
    ) as client:
        reach = await Dispatcher(Roster(people=people), (), client).send(["on-call"], compose)
    assert [contact.person for contact in reach.contacts] == ["staff-2"]


async def test_a_notice_to_a_role_that_nobody_has_is_no_page_into_a_gap() -> None:
    world = World(BOT, fallback=(SPARE,))
    before = metrics.PAGES_INTO_A_GAP._value.get()
    reach = await world.dispatcher.send(["finance"], message, pages=False)
    assert (reach.reached, metrics.PAGES_INTO_A_GAP._value.get()) == (1, before)
    await world.dispatcher.send(["finance"], message)
    assert metrics.PAGES_INTO_A_GAP._value.get() == before + 1
