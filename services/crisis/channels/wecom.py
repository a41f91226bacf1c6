"""WeCom group bot. Success is `errcode` 0 in the answer: its HTTP status is 200 for nearly everything.

Source: developer.work.weixin.qq.com, group robot: text message, at most 2,048 bytes, 20 messages a minute a bot.
"""

from __future__ import annotations

import httpx

from services.crisis.addresses import WeComAddress
from services.crisis.channels import Accepted, Limit, Message, Rejected
from services.crisis.channels.posting import A_MINUTE, cut, post, read_errcode

LIMITS = {45009: A_MINUTE}
MAX_BYTES = 2048


class WeCom:
    """Sends to one bot."""

    kind = "wecom"
    limits: tuple[Limit, ...] = (Limit(18, 60),)

    def __init__(self, address: WeComAddress, client: httpx.AsyncClient) -> None:
        self._address = address
        self._client = client
        self.key = address.url.get_secret_value()

    async def send(self, message: Message) -> Accepted | Rejected:
        body = {
            "msgtype": "text",
            "text": {
                "content": cut(message.text, MAX_BYTES),
                "mentioned_list": list(self._address.mention),
                "mentioned_mobile_list": [],
            },
        }
        answer = await post(self._client, self._address.url.get_secret_value(), json=body)
        return answer if isinstance(answer, Rejected) else read_errcode(answer, LIMITS)
