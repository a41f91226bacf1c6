"""DingTalk group bot. Success is `errcode` 0 in the answer: its HTTP status is 200 for nearly everything.

Source: open.dingtalk.com, custom robot: 20 messages a minute a bot, and who sends more is blocked for 10 minutes
(130101; older bots say 410100). 310000: signature, keyword or address not as the bot's security setting wants it. Not
on that page, but told of by its users: 90030, "webhook over limit", of a quota for longer than a minute.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import httpx

from services.crisis.addresses import DingTalkAddress
from services.crisis.channels import Accepted, Limit, Message, Rejected
from services.crisis.channels.posting import cut, post, read_errcode

LIMITS = {130101: 600.0, 410100: 600.0, 90030: 3600.0}
MAX_BYTES = 20_000


class DingTalk:
    """Sends to one bot."""

    kind = "dingtalk"
    limits: tuple[Limit, ...] = (Limit(18, 60),)

    def __init__(self, address: DingTalkAddress, client: httpx.AsyncClient) -> None:
        self._address = address
        self._client = client
        self.key = address.url.get_secret_value()

    async def send(self, message: Message) -> Accepted | Rejected:
        mobiles = [mobile.get_secret_value() for mobile in self._address.mobiles]
        body = {
            "msgtype": "text",
            "text": {"content": cut(message.text, MAX_BYTES)},
            "at": {"atMobiles": mobiles, "isAtAll": self._address.mention_all},
        }
        url = httpx.URL(self._address.url.get_secret_value())
        if self._address.secret is not None:
            timestamp = str(int(message.at.timestamp() * 1000))
            signed = sign(self._address.secret.get_secret_value(), timestamp)
            url = url.copy_merge_params({"timestamp": timestamp, "sign": signed})
        answer = await post(self._client, str(url), json=body)
        return answer if isinstance(answer, Rejected) else read_errcode(answer, LIMITS)


def sign(secret: str, timestamp: str) -> str:
    """The signature for a time in milliseconds, which DingTalk takes for an hour; not yet URL-encoded."""
    signed = hmac.new(secret.encode(), f"{timestamp}\n{secret}".encode(), hashlib.sha256)
    return base64.b64encode(signed.digest()).decode()
