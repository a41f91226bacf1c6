"""WeCom group bot. Success is `errcode` 0 in the answer: its HTTP status is 200 for nearly everything.

Source: developer.work.weixin.qq.com, group robot: text message, at most 2,048 bytes, 20 messages a minute a bot.
"""

from __future__ import annotations

import httpx

from services.crisis.addresses import WeComAddress
from services.crisis.channels import Accepted, Limit, Message, Rejected
from services.crisis.channels.posting import A_MINUTE, coded, document, is_zero, post

RATE_LIMITED = 45009
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
        return answer if isinstance(answer, Rejected) else _read(answer)


def _read(answer: httpx.Response) -> Accepted | Rejected:
    if answer.status_code != httpx.codes.OK:
        return Rejected(f"http-{answer.status_code}")
    code = document(answer).get("errcode")
    if is_zero(code):
        return Accepted()
    if code == RATE_LIMITED:
        return Rejected("rate-limited", retry_after=A_MINUTE)
    return Rejected(coded("errcode", code) if isinstance(code, int) else "no-errcode")


def cut(text: str, most: int) -> str:
    """The text in so many bytes, cut between characters."""
    return text.encode()[:most].decode(errors="ignore")
