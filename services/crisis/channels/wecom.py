"""WeCom group bot. Success is `errcode` 0 in the answer: its HTTP status is 200 for nearly everything.

Source: developer.work.weixin.qq.com, group robot: text message, at most 2,048 bytes, 20 messages a minute a bot.
"""

from __future__ import annotations

import httpx

from services.crisis.channels import Accepted, Message, Rejected
from services.crisis.roster import WeComAddress

RATE_LIMITED = 45009
MAX_BYTES = 2048


class WeCom:
    """Sends to one bot."""

    kind = "wecom"

    def __init__(self, address: WeComAddress, client: httpx.AsyncClient) -> None:
        self._address = address
        self._client = client

    async def send(self, message: Message) -> Accepted | Rejected:
        body = {
            "msgtype": "text",
            "text": {
                "content": _cut(message.text),
                "mentioned_list": list(self._address.mention),
                "mentioned_mobile_list": [],
            },
        }
        try:
            answer = await self._client.post(self._address.url.get_secret_value(), json=body)
        except httpx.TimeoutException:
            return Rejected("timeout")
        except (httpx.HTTPError, httpx.InvalidURL):
            return Rejected("unreachable")
        return _read(answer)


def _read(answer: httpx.Response) -> Accepted | Rejected:
    if answer.status_code != 200:
        return Rejected(f"http-{answer.status_code}")
    try:
        code = answer.json().get("errcode")
    except (ValueError, AttributeError):
        return Rejected("no-errcode")
    if code == 0 and not isinstance(code, bool):
        return Accepted()
    if code == RATE_LIMITED:
        return Rejected("rate-limited", retry_after=60.0)
    return Rejected(f"errcode-{abs(code)}" if isinstance(code, int) else "no-errcode")


def _cut(text: str) -> str:
    return text.encode()[:MAX_BYTES].decode(errors="ignore")
