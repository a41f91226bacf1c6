"""Any URL that takes a CloudEvent over HTTP (structured mode). Success is a 2xx status.

With a secret, `X-Aftercare-Signature: sha256=HEX` is HMAC-SHA256 over `TIMESTAMP.BODY`, where TIMESTAMP is the
header `X-Aftercare-Timestamp` in Unix seconds: the receiver should refuse old ones.
"""

from __future__ import annotations

import hashlib
import hmac
import json

import httpx

from services.crisis.addresses import WebhookAddress
from services.crisis.channels import Accepted, Limit, Message, Rejected
from services.crisis.channels.posting import post
from shared.contracts.types import write_time


class Webhook:
    """Sends to one URL."""

    kind = "webhook"
    limits: tuple[Limit, ...] = ()

    def __init__(self, address: WebhookAddress, client: httpx.AsyncClient) -> None:
        self._address = address
        self._client = client
        self.key = address.url.get_secret_value()

    async def send(self, message: Message) -> Accepted | Rejected:
        body = json.dumps(_event(message), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/cloudevents+json"}
        if self._address.secret is not None:
            headers |= signature(self._address.secret.get_secret_value(), message, body)
        answer = await post(self._client, self._address.url.get_secret_value(), content=body, headers=headers)
        if isinstance(answer, Rejected):
            return answer
        return Accepted() if answer.is_success else Rejected(f"http-{answer.status_code}")


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
