"""PagerDuty, Events API v2. Success is HTTP 202 with `status` "success".

Source: developer.pagerduty.com, events API v2: `dedup_key` of at most 255 characters joins repetitions to one
incident, `summary` of at most 1,024; 429 when sent too fast, and again after a minute at the latest.
"""

from __future__ import annotations

from datetime import datetime

import httpx

from services.crisis.addresses import PagerDutyAddress
from services.crisis.channels import Accepted, Ending, Limit, Message, Rejected
from services.crisis.channels.posting import coded, document, post
from shared.contracts.types import write_time

MAX_SUMMARY = 1024
ACTIONS: dict[Ending, str] = {"acknowledged": "acknowledge", "resolved": "resolve"}


class PagerDuty:
    """Triggers, acknowledges and resolves one incident of theirs for each of ours."""

    kind = "pagerduty"
    limits: tuple[Limit, ...] = (Limit(100, 60),)

    def __init__(self, address: PagerDutyAddress, client: httpx.AsyncClient) -> None:
        self._address = address
        self._client = client
        self.key = address.routing_key.get_secret_value()

    async def send(self, message: Message) -> Accepted | Rejected:
        payload = {
            "summary": (message.title or message.text)[:MAX_SUMMARY],
            "source": "aftercare",
            "severity": "critical" if message.urgent else "info",
            "timestamp": write_time(message.at),
            "component": "crisis",
            "custom_details": {**message.data, "text": message.text},
        }
        links = [
            {"href": message.data[name], "text": name.replace("_", " ")}
            for name in ("acknowledge_url", "client_url")
            if name in message.data
        ]
        return await self._tell(
            "trigger", message.topic or message.id, payload=payload, links=links, client="Aftercare"
        )

    async def end(self, topic: str, how: Ending, at: datetime) -> Accepted | Rejected:
        return await self._tell(ACTIONS[how], topic)

    async def _tell(self, action: str, topic: str, **more: object) -> Accepted | Rejected:
        key = self._address.routing_key.get_secret_value()
        body = {"routing_key": key, "event_action": action, "dedup_key": topic, **more}
        answer = await post(self._client, self._address.url, json=body)
        if isinstance(answer, Rejected):
            return answer
        status = document(answer).get("status")
        if answer.status_code == httpx.codes.ACCEPTED and status == "success":
            return Accepted()
        return Rejected(coded(status) if isinstance(status, str) else f"http-{answer.status_code}")
