"""Aliyun text messages (Dysmsapi `SendSms`) and calls (Dyvmsapi `SingleCallByTts`), version 2017-05-25.

Success is `Code` "OK"; errors come with HTTP 400 to 500 and a `Code` of their own, "isv.BUSINESS_LIMIT_CONTROL" for
all limits: text messages 50 a day for a number and template, calls 1 a minute, 5 an hour, 20 a day for a number. Two
requests for one number within a second block each other. Values of templates have at most 35 characters and no links.

Source: help.aliyun.com, "V3 request structure and signature" (ACS3-HMAC-SHA256), `SendSms`, `SingleCallByTts`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import httpx

from services.crisis.addresses import AliyunAccount, Template
from services.crisis.channels import Accepted, Limit, Message, Rejected
from services.crisis.channels.phones import Carrier
from services.crisis.channels.posting import A_MINUTE, coded, document, post

VERSION = "2017-05-25"
MAX_WORD = 35
LIMITED = "isv.BUSINESS_LIMIT_CONTROL"
AN_HOUR = 3600.0


class AliyunSms(Carrier[AliyunAccount]):
    """Sends text messages to one number."""

    kind = "sms-aliyun"
    limits: tuple[Limit, ...] = (Limit(1, 1.2), Limit(48, 86_400))

    async def send(self, message: Message) -> Accepted | Rejected:
        query = {
            "PhoneNumbers": _dialled(self._number),
            "SignName": self._account.sign_name,
            "TemplateCode": self._template.id,
            "TemplateParam": _filled(self._template, message),
        }
        return await _call(self._client, self._account, self._account.sms_url, "SendSms", query, "BizId")


class AliyunVoice(Carrier[AliyunAccount]):
    """Calls one number."""

    kind = "voice-aliyun"
    limits: tuple[Limit, ...] = (Limit(1, 61), Limit(5, 3_660), Limit(20, 87_000))

    async def send(self, message: Message) -> Accepted | Rejected:
        query = {
            "CalledNumber": _dialled(self._number),
            "TtsCode": self._template.id,
            "TtsParam": _filled(self._template, message),
            "PlayTimes": "3",
        }
        if self._account.show_number is not None:
            query["CalledShowNumber"] = self._account.show_number
        url = self._account.voice_url
        return await _call(self._client, self._account, url, "SingleCallByTts", query, "CallId")


async def _call(
    client: httpx.AsyncClient,
    account: AliyunAccount,
    url: str,
    action: str,
    query: Mapping[str, str],
    reference: str,
) -> Accepted | Rejected:
    # Signed with the machine's own time: the provider compares it with its own, in time-lapse as well.
    headers = signed(account, httpx.URL(url).netloc.decode(), action, VERSION, query, datetime.now(UTC))
    answer = await post(client, f"{url}?{canonical(query)}", headers=headers)
    return answer if isinstance(answer, Rejected) else _read(answer, reference)


def _read(answer: httpx.Response, reference: str) -> Accepted | Rejected:
    said = document(answer)
    code = said.get("Code")
    if code == "OK":
        return Accepted(f"aliyun:{said[reference]}" if said.get(reference) else None)
    if code == LIMITED:
        return Rejected("rate-limited", retry_after=_patience(str(said.get("Message", ""))))
    return Rejected(coded(code)) if isinstance(code, str) else Rejected(f"http-{answer.status_code}")


def _patience(words: str) -> float:
    """Which limit was hit is told in words alone, as "触发小时级流控Permits:5"."""
    if "天级" in words or "小时级" in words:
        return AN_HOUR
    return A_MINUTE if "分钟级" in words else 2.0


def signed(
    account: AliyunAccount,
    host: str,
    action: str,
    version: str,
    query: Mapping[str, str],
    at: datetime,
    nonce: str | None = None,
) -> dict[str, str]:
    """The headers of a request without a body, its signature among them."""
    headers = {
        "host": host,
        "x-acs-action": action,
        "x-acs-content-sha256": hashlib.sha256(b"").hexdigest(),
        "x-acs-date": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "x-acs-signature-nonce": nonce or secrets.token_hex(16),
        "x-acs-version": version,
    }
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"POST\n/\n{canonical(query)}\n{lines}\n{names}\n{headers['x-acs-content-sha256']}"
    to_sign = f"ACS3-HMAC-SHA256\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = account.key_secret.get_secret_value().encode()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    credential = account.key_id.get_secret_value()
    return headers | {
        "authorization": f"ACS3-HMAC-SHA256 Credential={credential},SignedHeaders={names},Signature={signature}"
    }


def canonical(query: Mapping[str, str]) -> str:
    """A query in the order and the encoding that are signed."""
    return "&".join(f"{quote(name, safe='~')}={quote(query[name], safe='~')}" for name in sorted(query))


def _filled(template: Template, message: Message) -> str:
    words = {name: message.words.get(name, "-")[:MAX_WORD] for name in template.words}
    return json.dumps(words, ensure_ascii=False)


def _dialled(number: str) -> str:
    """Chinese numbers without their country, others without the plus."""
    return number.removeprefix("+86").removeprefix("+")
