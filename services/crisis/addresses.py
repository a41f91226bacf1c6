"""Where a page can go: one model for each kind of channel of the roster. What is secret or leads to a person is a
`SecretStr`, so that no error, log or printed model shows it. Limits, codes and examples: `docs/channels.md`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from services.crisis.parts import Part
from shared.contracts.types import Code
from shared.policy.model import Duration

LATEST_STAGE = timedelta(minutes=30)
"""A channel that waits longer would come after the chain has begun again."""


class Channelled(Part):
    """What every channel can be told."""

    after: Annotated[Duration, Field(ge=timedelta(), le=LATEST_STAGE)] = timedelta()
    """How long after the person's first page this channel is used, while nobody has acknowledged: `1 min`."""


class WeComAddress(Channelled):
    """A WeCom bot. The address holds the bot's key."""

    kind: Literal["wecom"] = "wecom"
    url: SecretStr
    mention: tuple[str, ...] = ()
    """User ids to mention; `@all` for everyone in the group."""


class DingTalkAddress(Channelled):
    """A DingTalk bot. The address holds the bot's token."""

    kind: Literal["dingtalk"] = "dingtalk"
    url: SecretStr
    secret: SecretStr | None = None
    """The bot's signing secret (`SEC...`), where its security setting is a signature."""
    mobiles: tuple[SecretStr, ...] = ()
    """Numbers of members to mention, as DingTalk knows them."""
    mention_all: bool = False


class FeishuAddress(Channelled):
    """A Feishu (Lark) bot. The address holds the bot's token."""

    kind: Literal["feishu"] = "feishu"
    url: SecretStr
    secret: SecretStr | None = None
    """The bot's signing secret, where its security setting is a signature."""
    mention: tuple[str, ...] = ()
    """Open ids (`ou_...`) of members to mention; `all` for everyone in the group."""


class EmailAddress(Channelled):
    """A mailbox, by way of a mail server that takes mail for it."""

    kind: Literal["email"] = "email"
    to: SecretStr
    sender: str
    host: str
    port: Annotated[int, Field(ge=1, le=65535)] = 465
    security: Literal["tls", "starttls", "none"] = "tls"
    username: str | None = None
    password: SecretStr | None = None


class WebhookAddress(Channelled):
    """Any URL that takes a CloudEvent."""

    kind: Literal["webhook"] = "webhook"
    url: SecretStr
    secret: SecretStr | None = None
    """With it each request is signed, so that the receiver can tell ours from others."""


class PagerDutyAddress(Channelled):
    """A PagerDuty service with an Events API v2 integration."""

    kind: Literal["pagerduty"] = "pagerduty"
    routing_key: SecretStr
    url: str = "https://events.pagerduty.com/v2/enqueue"
    """Another region's, or that of a server with the same interface."""


class GoAlertAddress(Channelled):
    """A GoAlert service with a generic API key."""

    kind: Literal["goalert"] = "goalert"
    url: str
    """GoAlert's own address, without a path."""
    token: SecretStr


class AlertmanagerAddress(Channelled):
    """A Prometheus Alertmanager: its routes decide who is told."""

    kind: Literal["alertmanager"] = "alertmanager"
    url: str
    """Alertmanager's own address, without a path."""
    token: SecretStr | None = None
    """A bearer token, where something in front of it asks for one."""


class Phone(Channelled):
    """A telephone number, by way of one of the roster's `providers`."""

    number: SecretStr
    """In international form: `+8613800000000`."""
    providers: tuple[Code, ...] = ()
    """Which providers to try, first choice first; all of the roster in its order, if none is named."""

    @field_validator("number")
    @classmethod
    def _is_international(cls, number: SecretStr) -> SecretStr:
        digits = number.get_secret_value().removeprefix("+")
        if digits == number.get_secret_value() or not (digits.isascii() and digits.isdigit()):
            raise ValueError("write the number with its country, as +86 and the digits, without spaces")
        return number


class SmsAddress(Phone):
    """A text message."""

    kind: Literal["sms"] = "sms"


class VoiceAddress(Phone):
    """A call that reads the page out; pressing 1 acknowledges."""

    kind: Literal["voice"] = "voice"


Address = Annotated[
    WeComAddress
    | DingTalkAddress
    | FeishuAddress
    | EmailAddress
    | WebhookAddress
    | PagerDutyAddress
    | GoAlertAddress
    | AlertmanagerAddress
    | SmsAddress
    | VoiceAddress,
    Field(discriminator="kind"),
]


class Template(Part):
    """A text that the provider has approved, and what its gaps are filled with."""

    id: str
    words: tuple[Literal["what", "subject", "until"], ...] = ("what", "subject", "until")
    """Which words fill it: for Aliyun the names of its variables, for Tencent their order (`{1}`, `{2}` ...)."""


class AliyunAccount(Part):
    """An account with Aliyun's SMS and voice services."""

    kind: Literal["aliyun"] = "aliyun"
    name: Code = "aliyun"
    """By this the channels name it."""
    key_id: SecretStr
    key_secret: SecretStr
    sign_name: str = ""
    """The approved signature of text messages."""
    sms: Template | None = None
    voice: Template | None = None
    show_number: str | None = None
    """The number that calls show; unset: one of the provider's."""
    sms_url: str = "https://dysmsapi.aliyuncs.com/"
    voice_url: str = "https://dyvmsapi.aliyuncs.com/"


class TencentAccount(Part):
    """An account with Tencent Cloud's SMS and voice services."""

    kind: Literal["tencent"] = "tencent"
    name: Code = "tencent"
    """By this the channels name it."""
    key_id: SecretStr
    key_secret: SecretStr
    region: str = "ap-guangzhou"
    sms_app: str = ""
    """The SdkAppId of the SMS application."""
    sign_name: str = ""
    """The approved signature of text messages."""
    sms: Template | None = None
    voice_app: str = ""
    """The SdkAppid of the voice application."""
    voice: Template | None = None
    sms_url: str = "https://sms.tencentcloudapi.com/"
    voice_url: str = "https://vms.tencentcloudapi.com/"


Account = Annotated[AliyunAccount | TencentAccount, Field(discriminator="kind")]
