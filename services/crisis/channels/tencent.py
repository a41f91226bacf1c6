"""Tencent Cloud text messages (`SendSms`, 2021-01-11) and calls (`SendTtsVoice`, 2020-09-02).

Success of a text is `Code` "Ok" of its number; of a call, an answer without `Error`. Errors come with HTTP 200. A
number gets 1 text in 30 seconds, 5 an hour and 10 a day unless the console says otherwise, and calls at night once.

Source: cloud.tencent.com, "Signature v3" (TC3-HMAC-SHA256), `sms/SendSms`, `vms/SendTtsVoice`, and their error codes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from services.crisis.addresses import Template, TencentAccount
from services.crisis.channels import Accepted, Limit, Message, Rejected
from services.crisis.channels.phones import Carrier
from services.crisis.channels.posting import coded, document, post

CONTENT_TYPE = "application/json; charset=utf-8"
MAX_WORD = 35
PATIENCE = {
    "LimitExceeded.PhoneNumberThirtySecondLimit": 30.0,
    "LimitExceeded.PhoneNumberOneHourLimit": 3600.0,
    "LimitExceeded.PhoneNumberDailyLimit": 3600.0,
    "LimitExceeded.PhoneNumberSameContentDailyLimit": 3600.0,
    "LimitExceeded.DeliveryFrequencyLimit": 60.0,
    "RequestLimitExceeded": 2.0,
}
"""Seconds for which a number is left alone; another limit counts a minute."""


class TencentSms(Carrier[TencentAccount]):
    """Sends text messages to one number."""

    kind = "sms-tencent"
    limits: tuple[Limit, ...] = (Limit(1, 31),)

    async def send(self, message: Message) -> Accepted | Rejected:
        body = {
            "PhoneNumberSet": [self._number],
            "SmsSdkAppId": self._account.sms_app,
            "SignName": self._account.sign_name,
            "TemplateId": self._template.id,
            "TemplateParamSet": _filled(self._template, message),
        }
        url = self._account.sms_url
        said = await _call(self._client, self._account, url, "sms", "SendSms", "2021-01-11", body)
        if isinstance(said, Rejected):
            return said
        statuses = said.get("SendStatusSet")
        if not (isinstance(statuses, list) and statuses and isinstance(statuses[0], dict)):
            return Rejected("no-code")
        if statuses[0].get("Code") != "Ok":
            return _refused(str(statuses[0].get("Code")))
        return _accepted(statuses[0].get("SerialNo"))


class TencentVoice(Carrier[TencentAccount]):
    """Calls one number."""

    kind = "voice-tencent"
    limits: tuple[Limit, ...] = (Limit(1, 31),)

    async def send(self, message: Message) -> Accepted | Rejected:
        body = {
            "TemplateId": self._template.id,
            "TemplateParamSet": _filled(self._template, message),
            "CalledNumber": self._number,
            "VoiceSdkAppid": self._account.voice_app,
            "PlayTimes": 3,
        }
        url = self._account.voice_url
        said = await _call(self._client, self._account, url, "vms", "SendTtsVoice", "2020-09-02", body)
        if isinstance(said, Rejected):
            return said
        status = said.get("SendStatus")
        if not isinstance(status, dict) or not status.get("CallId"):
            return Rejected("no-code")
        return _accepted(status["CallId"])


async def _call(
    client: httpx.AsyncClient,
    account: TencentAccount,
    url: str,
    service: str,
    action: str,
    version: str,
    body: Mapping[str, Any],
) -> dict[str, Any] | Rejected:
    payload = json.dumps(body, ensure_ascii=False)
    host = httpx.URL(url).netloc.decode()
    # Signed with the machine's own time: the provider compares it with its own, in time-lapse as well.
    now = datetime.now(UTC)
    headers = {
        "Host": host,
        "Content-Type": CONTENT_TYPE,
        "Authorization": authorization(account, service, host, payload, now),
        "X-TC-Action": action,
        "X-TC-Version": version,
        "X-TC-Timestamp": str(int(now.timestamp())),
        "X-TC-Region": account.region,
    }
    answer = await post(client, url, content=payload.encode(), headers=headers)
    if isinstance(answer, Rejected):
        return answer
    said = document(answer).get("Response")
    if not isinstance(said, dict):
        return Rejected(f"http-{answer.status_code}" if answer.status_code != httpx.codes.OK else "no-code")
    error = said.get("Error")
    return _refused(str(error.get("Code"))) if isinstance(error, dict) else said


def authorization(account: TencentAccount, service: str, host: str, payload: str, at: datetime) -> str:
    """The header that signs a request at this time, to the second."""
    day = at.astimezone(UTC).strftime("%Y-%m-%d")
    scope = f"{day}/{service}/tc3_request"
    headers = f"content-type:{CONTENT_TYPE}\nhost:{host}\n"
    request = f"POST\n/\n\n{headers}\ncontent-type;host\n{_hash(payload)}"
    to_sign = f"TC3-HMAC-SHA256\n{int(at.timestamp())}\n{scope}\n{_hash(request)}"
    key = f"TC3{account.key_secret.get_secret_value()}".encode()
    for part in (day, service, "tc3_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    credential = f"{account.key_id.get_secret_value()}/{scope}"
    return f"TC3-HMAC-SHA256 Credential={credential}, SignedHeaders=content-type;host, Signature={signature}"


def _accepted(reference: object) -> Accepted:
    return Accepted(f"tencent:{reference}" if reference else None)


def _refused(code: str) -> Rejected:
    if code.startswith(("LimitExceeded.", "RequestLimitExceeded")):
        return Rejected("rate-limited", retry_after=PATIENCE.get(code, 60.0))
    return Rejected(coded(code))


def _filled(template: Template, message: Message) -> list[str]:
    return [message.words.get(name, "-")[:MAX_WORD] for name in template.words]


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
