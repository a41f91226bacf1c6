"""Prometheus Alertmanager, API v2. Success is HTTP 200 without a body.

Source: Alertmanager's `api/v2/openapi.yaml`: alerts with the same labels are one; without `endsAt` one ends by itself
after `resolve_timeout` (5 minutes), and one in the past ends it. It has no "acknowledged".
"""

from __future__ import annotations

from datetime import datetime, timedelta

import httpx

from services.crisis.addresses import AlertmanagerAddress
from services.crisis.channels import Accepted, Ending, Limit, Message, Rejected
from services.crisis.channels.posting import post
from shared.contracts.types import write_time

PATH = "/api/v2/alerts"
FIRING = timedelta(days=1)
"""It fires so long unless it is ended before: the chain, which repeats, keeps it alive."""


class Alertmanager:
    """Fires and ends one alert for each incident."""

    kind = "alertmanager"
    limits: tuple[Limit, ...] = ()

    def __init__(self, address: AlertmanagerAddress, client: httpx.AsyncClient) -> None:
        self._address = address
        self._client = client
        self.key = address.url

    async def send(self, message: Message) -> Accepted | Rejected:
        annotations = {"summary": message.title, "description": message.text}
        alert: dict[str, object] = {
            "startsAt": write_time(message.at),
            "endsAt": write_time(message.at + FIRING),
            "annotations": annotations,
        }
        if "acknowledge_url" in message.data:
            alert["generatorURL"] = message.data["acknowledge_url"]
        return await self._tell(message.topic or message.id, alert)

    async def end(self, topic: str, how: Ending, at: datetime) -> Accepted | Rejected:
        return await self._tell(topic, {"endsAt": write_time(at)})

    async def _tell(self, topic: str, alert: dict[str, object]) -> Accepted | Rejected:
        labels = {"alertname": "AftercareCrisis", "severity": "critical", "incident": topic}
        token = self._address.token
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        url = self._address.url.rstrip("/") + PATH
        answer = await post(self._client, url, json=[{"labels": labels, **alert}], headers=headers)
        if isinstance(answer, Rejected):
            return answer
        taken = answer.status_code == httpx.codes.OK and not answer.content
        return Accepted() if taken else Rejected(f"http-{answer.status_code}")
