"""Which adapter stands for an address: one for each, and for a phone one for each of its providers."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from services.crisis.addresses import (
    Account,
    Address,
    AlertmanagerAddress,
    AliyunAccount,
    DingTalkAddress,
    EmailAddress,
    FeishuAddress,
    GoAlertAddress,
    PagerDutyAddress,
    Phone,
    SmsAddress,
    WebhookAddress,
    WeComAddress,
)
from services.crisis.channels import Channel
from services.crisis.channels.alertmanager import Alertmanager
from services.crisis.channels.aliyun import AliyunSms, AliyunVoice
from services.crisis.channels.dingtalk import DingTalk
from services.crisis.channels.email import Email
from services.crisis.channels.feishu import Feishu
from services.crisis.channels.goalert import GoAlert
from services.crisis.channels.pagerduty import PagerDuty
from services.crisis.channels.tencent import TencentSms, TencentVoice
from services.crisis.channels.webhook import Webhook
from services.crisis.channels.wecom import WeCom


class Channels:
    """Makes the adapters. `timeout`: seconds that a mail server has for each of its answers."""

    def __init__(self, accounts: Sequence[Account], client: httpx.AsyncClient, timeout: float) -> None:
        self._accounts = {account.name: account for account in accounts}
        self._client = client
        self._timeout = timeout

    def of(self, address: Address) -> list[Channel]:
        """The adapters to try, first choice first. Empty for a phone for which no provider has a template."""
        client = self._client
        match address:
            case WeComAddress():
                return [WeCom(address, client)]
            case DingTalkAddress():
                return [DingTalk(address, client)]
            case FeishuAddress():
                return [Feishu(address, client)]
            case EmailAddress():
                return [Email(address, self._timeout)]
            case WebhookAddress():
                return [Webhook(address, client)]
            case PagerDutyAddress():
                return [PagerDuty(address, client)]
            case GoAlertAddress():
                return [GoAlert(address, client)]
            case AlertmanagerAddress():
                return [Alertmanager(address, client)]
            case Phone():
                return self._over_phone(address)

    def _over_phone(self, address: Phone) -> list[Channel]:
        names = address.providers or tuple(self._accounts)
        accounts = [self._accounts[name] for name in names if name in self._accounts]
        number = address.number.get_secret_value()
        text = isinstance(address, SmsAddress)
        found = (_carrier(account, number, self._client, text=text) for account in accounts)
        return [channel for channel in found if channel is not None]


def _carrier(account: Account, number: str, client: httpx.AsyncClient, *, text: bool) -> Channel | None:
    template = account.sms if text else account.voice
    if template is None:
        return None
    if isinstance(account, AliyunAccount):
        return (AliyunSms if text else AliyunVoice)(account, template, number, client)
    return (TencentSms if text else TencentVoice)(account, template, number, client)
