"""Any URL that takes a CloudEvent over HTTP (structured mode). Success is a 2xx status.

With a secret, `X-Aftercare-Signature: sha256=HEX` is HMAC-SHA256 over `TIMESTAMP.BODY`, where TIMESTAMP is the
header `X-Aftercare-Timestamp` in Unix seconds: the receiver should refuse old ones.
"""

from __future__ import annotations

import hashlib
import hmac
import json

import httpx

from services.crisis.channels import Accepted, Message, Rejected
from services.crisis.roster import WebhookAddress
from shared.contracts.types import write_time


class Webhook:
    """Sends to one URL."""

    kind = "webhook"

    def __init__(self, address: WebhookAddress, client: httpx.AsyncClient) -> None:
        self._address = address
        self._client = client

    async def send(self, message: Message) -> Accepted | Rejected:
        body = json.dumps(_event(message), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/cloudevents+json"}
        if self._address.secret is not None:
            headers |= signature(self._address.secret.get_secret_value(), message, body)
        try:
            answer = await self._client.post(
                self._address.url.get_secret_value(), content=body, headers=headers
            )
        except httpx.TimeoutException:
            return Rejected("timeout")
        except (httpx.HTTPError, httpx.InvalidURL):
            return Rejected("unreachable")
        if answer.is_success:
            return Accepted()
        limited = answer.status_code == 429
        return Rejected(f"http-{answer.status_code}", retry_after=60.0 if limited else None)


def signature(secret: str, message: Message, body: bytes) -> dict[str, str]:
    """The headers by which the receiver knows that we sent this body."""
    timestamp = str(int(message.at.timestamp()))
    signed = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return {"X-Aftercare-Timestamp": timestamp, "X-Aftercare-Signature": f"sha256={signed.hexdigest()}"}


def _event(message: Message) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": message.id,
        "source": "/aftercare/crisis",
        "type": "aftercare.crisis-page.v1",
        "time": write_time(message.at),
        "datacontenttype": "application/json",
        "data": {**message.data, "text": message.text},
    }
