"""Each provider's shape, signature and codes, against a fake that checks them as the real one does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from pydantic import SecretStr

from services.crisis.addresses import (
    AlertmanagerAddress,
    AliyunAccount,
    DingTalkAddress,
    EmailAddress,
    FeishuAddress,
    GoAlertAddress,
    PagerDutyAddress,
    Template,
    TencentAccount,
)
from services.crisis.channels import (
    Accepted,
    Channel,
    Following,
    Message,
    Rejected,
    aliyun,
    dingtalk,
    feishu,
    tencent,
)
from services.crisis.channels.alertmanager import Alertmanager
from services.crisis.channels.aliyun import AliyunSms, AliyunVoice
from services.crisis.channels.dingtalk import DingTalk
from services.crisis.channels.email import Email
from services.crisis.channels.feishu import Feishu
from services.crisis.channels.goalert import GoAlert
from services.crisis.channels.pagerduty import PagerDuty
from services.crisis.channels.tencent import TencentSms, TencentVoice
from tests.fakes.alerting import FakeAlertmanager, FakeGoAlert, FakePagerDuty
from tests.fakes.bots import FakeDingTalk, FakeFeishu
from tests.fakes.mail import FakeMail, MailMood, certify
from tests.fakes.phones import KEY_ID, KEY_SECRET, FakeAliyun, FakeTencent
from tests.fakes.provider import FAILING, Mood, Provider
from tests.unit.crisis.stories import FLAGGED

PHONE = "+8613800000000"
WORDS = {"what": "心理危机（高）", "subject": "client-0017", "until": "04-01 10:30"}


def page(text: str = "有人需要帮助", at: datetime = FLAGGED, **more: Any) -> Message:
    return Message(
        "incident:1.0.0:staff-1", text, {"incident_id": "incident"}, at,
        **({"title": "有人需要帮助", "words": WORDS, "topic": "incident"} | more),
    )  # fmt: skip


def aliyun_account(base: str) -> AliyunAccount:
    return AliyunAccount(
        key_id=KEY_ID, key_secret=KEY_SECRET, sign_name="心理", sms=Template(id="SMS_1"),
        voice=Template(id="TTS_1"), sms_url=f"{base}/", voice_url=f"{base}/",
    )  # fmt: skip


def tencent_account(base: str) -> TencentAccount:
    return TencentAccount(
        key_id=KEY_ID, key_secret=KEY_SECRET, sign_name="心理", sms_app="1400", sms=Template(id="1"),
        voice_app="1401", voice=Template(id="2"), sms_url=f"{base}/", voice_url=f"{base}/",
    )  # fmt: skip


@dataclass
class Case:
    """One adapter, the fake that it talks to, and what it makes of the provider's own refusals."""

    fake: Callable[[], Provider]
    adapter: Callable[[str, httpx.AsyncClient], Channel]
    limited: float
    """Seconds for which it is then left alone."""
    refused: str


CASES = {
    "dingtalk": Case(
        lambda: FakeDingTalk(secret="SEC", clock=FLAGGED.timestamp),
        lambda base, client: DingTalk(
            DingTalkAddress(url=f"{base}/robot/send?access_token=T", secret="SEC"), client
        ),
        600, "errcode-310000",
    ),
    "feishu": Case(
        lambda: FakeFeishu(secret="S", clock=FLAGGED.timestamp),
        lambda base, client: Feishu(
            FeishuAddress(url=f"{base}/open-apis/bot/v2/hook/T", secret="S"), client
        ),
        60, "code-19024",
    ),
    "pagerduty": Case(
        FakePagerDuty,
        lambda base, client: PagerDuty(
            PagerDutyAddress(routing_key="k" * 32, url=f"{base}/v2/enqueue"), client
        ),
        60, "invalid-event",
    ),
    "goalert": Case(
        FakeGoAlert,
        lambda base, client: GoAlert(GoAlertAddress(url=base, token="key"), client),
        60, "http-401",
    ),
    "alertmanager": Case(
        FakeAlertmanager,
        lambda base, client: Alertmanager(AlertmanagerAddress(url=base), client),
        60, "http-400",
    ),
    "sms-aliyun": Case(
        FakeAliyun,
        lambda base, client: AliyunSms(aliyun_account(base), Template(id="SMS_1"), PHONE, client),
        3600, "isv-out-of-service",
    ),
    "voice-aliyun": Case(
        FakeAliyun,
        lambda base, client: AliyunVoice(aliyun_account(base), Template(id="TTS_1"), PHONE, client),
        3600, "isv-out-of-service",
    ),
    "sms-tencent": Case(
        FakeTencent,
        lambda base, client: TencentSms(tencent_account(base), Template(id="1"), PHONE, client),
        3600, "failedoperation-insufficientbalanceinsmspackage",
    ),
    "voice-tencent": Case(
        lambda: FakeTencent(calls=True),
        lambda base, client: TencentVoice(tencent_account(base), Template(id="2"), PHONE, client),
        2, "failedoperation-insufficientbalanceinsmspackage",
    ),
}  # fmt: skip


HANGING = ("silent", "accepts-silently", "drips")


@asynccontextmanager
async def reached(fake: Provider) -> AsyncIterator[tuple[str, httpx.AsyncClient]]:
    """The provider's address and a client for it; over a real connection where it matters that it hangs."""
    if fake.mood in HANGING:
        async with fake.serve() as base, httpx.AsyncClient(timeout=0.3) as client:
            yield base, client
    else:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(fake)) as client:
            yield "http://provider.example", client


@pytest.mark.parametrize("name", CASES)
async def test_a_page_that_the_provider_takes(name: str) -> None:
    case = CASES[name]
    fake = case.fake()
    async with reached(fake) as (base, client):
        channel = case.adapter(base, client)
        answer = await channel.send(page())
    assert isinstance(answer, Accepted)
    assert (channel.kind, len(fake.taken)) == (name, 1)


@pytest.mark.parametrize("mood", FAILING)
@pytest.mark.parametrize("name", CASES)
async def test_only_the_providers_own_word_counts(name: str, mood: Mood) -> None:
    case = CASES[name]
    fake = case.fake()
    fake.mood = mood
    async with reached(fake) as (base, client):
        channel = case.adapter(base, client)
        try:
            async with asyncio.timeout(0.6):  # the dispatcher's, for who drips
                answer = await channel.send(page())
        except TimeoutError:
            answer = Rejected("timeout")
    assert isinstance(answer, Rejected)
    expected = {
        "limited": "rate-limited", "refuses": case.refused, "broken": "http-500", "overloaded": "rate-limited",
        "silent": "timeout", "accepts-silently": "timeout", "drips": "timeout",
    }  # fmt: skip
    assert answer.reason == expected.get(mood, answer.reason)
    if mood == "limited":
        assert answer.retry_after == case.limited


# --- signatures -----------------------------------------------------------------------------------------------


def test_aliyuns_published_example_is_signed_as_published() -> None:
    """help.aliyun.com, "V3 request structure and signature", the example with fixed values."""
    account = AliyunAccount(key_id="YourAccessKeyId", key_secret="YourAccessKeySecret")
    query = {
        "ImageId": "win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd",
        "RegionId": "cn-shanghai",
    }
    headers = aliyun.signed(
        account, "ecs.cn-shanghai.aliyuncs.com", "RunInstances", "2014-05-26", query,
        datetime(2023, 10, 26, 10, 22, 32, tzinfo=UTC), nonce="3156853299f313e23d1673dc12e1703d",
    )  # fmt: skip
    assert headers["authorization"] == (
        "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;"
        "x-acs-signature-nonce;x-acs-version,"
        "Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
    )


def test_tencents_published_example_is_signed_as_published() -> None:
    """cloud.tencent.com, "Signature v3", the example `DescribeInstances`."""
    account = TencentAccount(key_id="AKIDEXAMPLE", key_secret="Gu5t9xGARNpq86cd98joQYCN3EXAMPLE")
    payload = '{"Limit": 1, "Filters": [{"Values": ["\\u672a\\u547d\\u540d"], "Name": "instance-name"}]}'
    at = datetime.fromtimestamp(1551113065, UTC)
    header = tencent.authorization(account, "cvm", "cvm.tencentcloudapi.com", payload, at)
    assert header == (
        "TC3-HMAC-SHA256 Credential=AKIDEXAMPLE/2019-02-25/cvm/tc3_request, SignedHeaders=content-type;host, "
        "Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"
    )


def test_the_day_in_tencents_signature_is_that_of_utc() -> None:
    early = datetime.fromisoformat("2026-04-01T07:59:59+08:00")
    account = TencentAccount(key_id="id", key_secret="key")
    assert "/2026-03-31/sms/" in tencent.authorization(account, "sms", "sms.tencentcloudapi.com", "{}", early)


@pytest.mark.parametrize("minutes", [-61, 61])
async def test_a_bots_signature_is_good_for_an_hour(minutes: int) -> None:
    for name in ("dingtalk", "feishu"):
        fake = CASES[name].fake()
        async with reached(fake) as (base, client):
            answer = (
                await CASES[name].adapter(base, client).send(page(at=FLAGGED + timedelta(minutes=minutes)))
            )
        assert answer == Rejected({"dingtalk": "errcode-310000", "feishu": "code-19021"}[name])


async def test_another_key_is_refused_in_the_providers_words() -> None:
    for name, reason in (
        ("sms-aliyun", "signaturedoesnotmatch"),
        ("voice-tencent", "authfailure-signaturefailure"),
    ):
        fake = CASES[name].fake()
        async with reached(fake) as (base, client):
            channel: Any = CASES[name].adapter(base, client)
            channel._account = channel._account.model_copy(update={"key_secret": SecretStr("stolen")})
            assert await channel.send(page()) == Rejected(reason)


# --- what each asks for ---------------------------------------------------------------------------------------


async def test_the_twenty_first_message_would_block_a_dingtalk_bot_for_ten_minutes() -> None:
    fake = CASES["dingtalk"].fake()
    async with reached(fake) as (base, client):
        channel = CASES["dingtalk"].adapter(base, client)
        answers = [await channel.send(page()) for _ in range(21)]
    assert answers == [Accepted()] * 20 + [Rejected("rate-limited", retry_after=600)]
    assert channel.limits[0].count < 20


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({"errcode": 130101}, 600.0),
        ({"errcode": 90030}, 3600.0),  # what it may send in a day
        ({"code": 11232}, 60.0),
        ({"code": 99991400}, 60.0),
    ],
)
async def test_a_bot_that_was_sent_too_much_is_left_alone_for_so_long(
    said: dict[str, int], seconds: float
) -> None:
    async with httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, json=said))
    ) as client:
        bot = (
            DingTalk(DingTalkAddress(url="https://bot.example/?access_token=T"), client)
            if "errcode" in said
            else Feishu(FeishuAddress(url="https://bot.example/hook/T"), client)
        )
        assert await bot.send(page()) == Rejected("rate-limited", retry_after=seconds)


async def test_a_text_is_filled_with_short_words_in_the_templates_order() -> None:
    long = "client-" + "0" * 60
    words = {**WORDS, "subject": long}
    fakes = FakeAliyun(), FakeTencent()
    template = Template(id="1", words=("subject", "until"))
    async with reached(fakes[0]) as (base, client):
        await AliyunSms(aliyun_account(base), template, PHONE, client).send(page(words=words))
    async with reached(fakes[1]) as (base, client):
        await TencentSms(tencent_account(base), template, PHONE, client).send(page(words=words))
    assert fakes[0].taken[0].words == {"subject": long[:35], "until": "04-01 10:30"}
    assert fakes[0].taken[0].number == "13800000000"
    assert (fakes[1].taken[0].words, fakes[1].taken[0].number) == ([long[:35], "04-01 10:30"], PHONE)


@pytest.mark.parametrize("name", ["sms-aliyun", "voice-aliyun", "sms-tencent", "voice-tencent"])
async def test_the_providers_id_is_kept_for_its_receipts(name: str) -> None:
    fake = CASES[name].fake()
    async with reached(fake) as (base, client):
        answer = await CASES[name].adapter(base, client).send(page())
    provider = name.partition("-")[2]
    assert answer == Accepted(f"{provider}:{fake.taken[0].reference}")


async def test_two_texts_within_a_second_are_refused_for_the_moment() -> None:
    fake = FakeAliyun(clock=lambda clock=datetime.now(UTC).timestamp(): clock)  # type: ignore[misc]
    async with reached(fake) as (base, client):
        channel = AliyunSms(aliyun_account(base), Template(id="SMS_1"), PHONE, client)
        assert isinstance(await channel.send(page()), Accepted)
        assert await channel.send(page()) == Rejected("rate-limited", retry_after=2.0)


async def test_systems_that_page_are_told_what_is_taken_up_and_what_is_over() -> None:
    duty, alert, fire = FakePagerDuty(), FakeGoAlert(), FakeAlertmanager()
    async with (
        duty.serve() as one, alert.serve() as two, fire.serve() as three, httpx.AsyncClient() as client
    ):  # fmt: skip
        names = ("pagerduty", "goalert", "alertmanager")
        channels = [
            CASES[name].adapter(base, client) for name, base in zip(names, (one, two, three), strict=True)
        ]
        for channel in channels:
            assert isinstance(channel, Following)
            await channel.send(page())
        assert (duty.states, alert.open) == ({"incident": "triggered"}, {"incident"})
        assert fire.ends["incident"] > FLAGGED
        for channel in channels:
            assert isinstance(channel, Following)
            await channel.end("incident", "acknowledged", FLAGGED)
        assert (duty.states, alert.open) == ({"incident": "acknowledged"}, set())
        assert fire.ends["incident"] == FLAGGED
        assert isinstance(channels[0], Following)
        await channels[0].end("incident", "resolved", FLAGGED)
    assert duty.states == {"incident": "resolved"}


def test_signatures_differ_by_secret_and_time() -> None:
    signatures = {sign(secret, at) for sign in (dingtalk.sign, feishu.sign) for secret in "ab" for at in "12"}
    assert len(signatures) == 8


# --- e-mail ---------------------------------------------------------------------------------------------------


async def mailed(mood: MailMood) -> tuple[Accepted | Rejected, FakeMail]:
    fake = FakeMail(mood)
    async with fake.serve() as port:
        address = EmailAddress(
            to="staff-1@company.example", sender="aftercare@company.example", host="127.0.0.1",
            port=port, security="none",
        )  # fmt: skip
        return await Email(address, timeout=0.3).send(page("第一行\n第二行")), fake


async def test_a_mail_that_the_server_takes() -> None:
    answer, fake = await mailed("well")
    assert answer == Accepted()
    (mail,) = fake.taken
    assert (mail["Subject"], mail["To"]) == ("有人需要帮助", "staff-1@company.example")
    assert mail["Message-ID"] == "<incident.1.0.0.staff-1@aftercare>"
    assert mail.get_content().splitlines() == ["第一行", "第二行"]


@pytest.mark.parametrize(
    ("mood", "reason"),
    [
        ("greylists", "smtp-450"), ("no-such-mailbox", "smtp-550"), ("shutting-down", "smtp-421"),
        ("refuses-text", "smtp-554"), ("breaks-off", "unreachable"), ("silent", "timeout"),
    ],
)  # fmt: skip
async def test_a_mail_that_the_server_does_not_take(mood: MailMood, reason: str) -> None:
    answer, fake = await mailed(mood)
    assert isinstance(answer, Rejected)
    assert (answer.reason, fake.taken) == (reason, [])


async def mailed_over_tls(
    fake: FakeMail, security: Literal["tls", "starttls"], host: str = "127.0.0.1"
) -> Accepted | Rejected:
    async with fake.serve() as port:
        address = EmailAddress(
            to="staff-1@company.example", sender="aftercare@company.example", host=host,
            port=port, security=security, username="aftercare", password="secret",
        )  # fmt: skip
        return await Email(address, timeout=2).send(page())


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_mail_is_encrypted_to_a_server_whose_certificate_is_good(
    security: Literal["tls", "starttls"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = certify(tmp_path)
    fake = FakeMail(certificate=certificate, starttls=security == "starttls")
    assert await mailed_over_tls(fake, security) == Rejected("unreachable")  # nobody has vouched for it
    assert (fake.taken, fake.logins) == ([], [])
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert await mailed_over_tls(fake, security, "localhost") == Rejected("unreachable")  # of another name
    assert await mailed_over_tls(fake, security) == Accepted()
    assert (len(fake.taken), fake.logins) == (1, ["\0aftercare\0secret"])


async def test_a_mail_server_that_does_not_know_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certify(tmp_path)))
    fake = FakeMail("no-such-user", certificate=tmp_path / "mail.pem")
    assert await mailed_over_tls(fake, "tls") == Rejected("smtp-535")
    assert fake.taken == []


async def test_a_server_without_starttls_gets_no_mail_in_the_clear() -> None:
    fake = FakeMail()
    assert await mailed_over_tls(fake, "starttls") == Rejected("unreachable")
    assert (fake.taken, fake.logins) == ([], [])


async def test_nobody_listens_for_mail() -> None:
    address = EmailAddress(to="a@b.example", sender="c@d.example", host="127.0.0.1", port=1, security="none")
    assert await Email(address, timeout=0.3).send(page()) == Rejected("unreachable")
