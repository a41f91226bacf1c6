"""GoAlert, generic API. Success is HTTP 204.

Source: GoAlert's `genericapi` and its page on integration keys: `dedup` joins repetitions to one alert, `action`
"close" ends it; it has no "acknowledged" from outside. A summary is cut at 1,024 characters, details at 6,144.
"""

from __future__ import annotations

from datetime import datetime

import httpx

from services.crisis.addresses import GoAlertAddress
from services.crisis.channels import Accepted, Ending, Limit, Message, Rejected
from services.crisis.channels.posting import post

PATH = "/api/v2/generic/incoming"


class GoAlert:
    """Opens and closes one alert of theirs for each incident of ours."""

    kind = "goalert"
    limits: tuple[Limit, ...] = ()

    def __init__(self, address: GoAlertAddress, client: httpx.AsyncClient) -> None:
        self._address = address
        self._client = client
        self.key = address.token.get_secret_value()

    async def send(self, message: Message) -> Accepted | Rejected:
        summary = message.title or message.text.partition("\n")[0]
        return await self._tell(
            {"summary": summary, "details": message.text, "dedup": message.topic or message.id}
        )

    async def end(self, topic: str, how: Ending, at: datetime) -> Accepted | Rejected:
        # Whoever took it up stands behind it: GoAlert may stop as well, having no other word for it.
        return await self._tell({"summary": how, "dedup": topic, "action": "close"})

    async def _tell(self, body: dict[str, str]) -> Accepted | Rejected:
        answer = await post(
            self._client,
            self._address.url.rstrip("/") + PATH,
            params={"token": self._address.token.get_secret_value()},
            json=body,
        )
        if isinstance(answer, Rejected):
            return answer
        taken = answer.status_code == httpx.codes.NO_CONTENT
        return Accepted() if taken else Rejected(f"http-{answer.status_code}")
