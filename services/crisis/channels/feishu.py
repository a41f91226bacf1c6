"""Feishu (Lark) group bot. Success is `code` 0 in the answer; a refusal comes with HTTP 200 or 400.

Source: open.feishu.cn, custom bot: 100 messages a minute and 5 a second a bot (11232; 99991400 of its gateway), a
body of at most 20 KB. 19021: signature wrong or older than an hour; 19022: address not allowed; 19024: keyword missing.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import httpx

from services.crisis.addresses import FeishuAddress
from services.crisis.channels import Accepted, Limit, Message, Rejected
from services.crisis.channels.posting import A_MINUTE, coded, cut, document, is_zero, post

RATE_LIMITED = (11232, 99991400)
MAX_BYTES = 18_000


class Feishu:
    """Sends to one bot."""

    kind = "feishu"
    limits: tuple[Limit, ...] = (Limit(4, 1), Limit(90, 60))

    def __init__(self, address: FeishuAddress, client: httpx.AsyncClient) -> None:
        self._address = address
        self._client = client
        self.key = address.url.get_secret_value()

    async def send(self, message: Message) -> Accepted | Rejected:
        mentions = "".join(f'<at user_id="{who}"></at>' for who in self._address.mention)
        body: dict[str, object] = {
            "msg_type": "text",
            "content": {"text": mentions + cut(message.text, MAX_BYTES)},
        }
        if self._address.secret is not None:
            timestamp = str(int(message.at.timestamp()))
            signed = sign(self._address.secret.get_secret_value(), timestamp)
            body |= {"timestamp": timestamp, "sign": signed}
        answer = await post(self._client, self._address.url.get_secret_value(), json=body)
        return answer if isinstance(answer, Rejected) else _read(answer)


def sign(secret: str, timestamp: str) -> str:
    """The signature for a time in seconds: time and secret are the key, and nothing is signed with it."""
    signed = hmac.new(f"{timestamp}\n{secret}".encode(), b"", hashlib.sha256)
    return base64.b64encode(signed.digest()).decode()


def _read(answer: httpx.Response) -> Accepted | Rejected:
    code = document(answer).get("code")
    if code in RATE_LIMITED:
        return Rejected("rate-limited", retry_after=A_MINUTE)
    if isinstance(code, int) and not is_zero(code):
        return Rejected(coded("code", code))
    if answer.status_code != httpx.codes.OK:
        return Rejected(f"http-{answer.status_code}")
    return Accepted() if is_zero(code) else Rejected("no-code")
