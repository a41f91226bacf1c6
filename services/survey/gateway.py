"""Handing messages to the company's gateway: at least once, which is once for whoever reads `message_id`.

2xx: taken. 4xx: refused, never tried again. Anything else, or no answer: tried again after a growing pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Literal

import httpx
import structlog

from services.survey.domain import messages
from services.survey.domain.clients import Client
from services.survey.domain.follow_ups import FollowUp
from services.survey.domain.messages import WITH_LINK, Message
from services.survey.settings import SurveySettings
from services.survey.store import Store
from shared.clock import Clock
from shared.messaging.progress import Progress
from shared.observability import metrics

log = structlog.get_logger(__name__)

CLAIM = timedelta(seconds=90)
"""Longer than a call may take: then another replica tries the message of one that has died."""

AT_ONCE = 8
"""So many messages are handed over at the same time."""

SWEEP_SECONDS = 15.0
"""How often a replica looks for what another one has left. Not a time of the regime, hence on the wall clock."""

Answer = Literal["taken", "refused", "unclear"]


class Gateway:
    """The company's message gateway (`POST /v1/messages`)."""

    def __init__(self, settings: SurveySettings) -> None:
        token = settings.gateway_token
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        self._url = f"{str(settings.gateway_url).rstrip('/')}/v1/messages"
        self._http = httpx.AsyncClient(headers=headers, timeout=settings.gateway_timeout_seconds)

    async def hand_over(self, message: Message, params: dict[str, str]) -> Answer:
        """Hand a message over once."""
        body = {
            "message_id": message.id,
            "client_id": message.client_id,
            "template": message.template,
            "params": params,
        }
        try:
            answer = await self._http.post(self._url, json=body)
        except httpx.HTTPError as error:
            log.warning("the message gateway did not answer", error=type(error).__name__)
            return "unclear"
        if answer.is_success:
            return "taken"
        log.warning("the message gateway said no", status=answer.status_code, template=message.template)
        return "refused" if answer.is_client_error else "unclear"

    async def close(self) -> None:
        await self._http.aclose()


class Sender:
    """Sends what is pending, as soon as it may go out."""

    def __init__(
        self,
        settings: SurveySettings,
        store: Store,
        clock: Clock,
        progress: Progress,
        link: Callable[[str], str],
        minutes: Callable[[FollowUp], int],
    ) -> None:
        self.wake = asyncio.Event()
        self._settings = settings
        self._store = store
        self._clock = clock
        self._progress = progress
        self._link = link
        self._minutes = minutes

    async def run(self) -> None:
        """Send for ever. Without a gateway, say so once: messages stay pending."""
        if not self._settings.gateway_url:
            await self._warn()
            await asyncio.Event().wait()  # the task lives on: one that ends counts as dead
        gateway = Gateway(self._settings)
        sweeping = asyncio.create_task(self._sweep())
        try:
            while True:
                self.wake.clear()
                with self._progress.busy("survey"):
                    upcoming = await self._store.next_try()
                    while upcoming and upcoming <= self._clock.now():
                        await asyncio.gather(*(self._send_due(gateway) for _ in range(AT_ONCE)))
                        upcoming = await self._store.next_try()
                await self._clock.wait_until(upcoming, self.wake)
        finally:
            sweeping.cancel()
            await gateway.close()

    async def _warn(self) -> None:
        log.warning(
            "no message gateway: messages to clients stay pending until AFTERCARE_GATEWAY_URL is set",
            pending=await self._store.pending_messages(),
        )

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.wake.set()

    async def _send_due(self, gateway: Gateway) -> None:
        while message := await self._store.claim(self._clock.now(), self._clock.now() + CLAIM):
            await self._store.settle(message, await self._send(gateway, message))

    async def _send(self, gateway: Gateway, message: Message) -> Message:
        follow_up = await self._store.one(FollowUp, message.subject)
        client = await self._store.one(Client, message.client_id)
        now = self._clock.now()
        if messages.verdict(message, client, follow_up, now).step != "send":
            return messages.judged(message, client, follow_up, now)
        link = self._link(message.subject) if message.template in WITH_LINK else None
        minutes = self._minutes(follow_up) if follow_up else 0
        answer = await gateway.hand_over(message, messages.params(message, follow_up, link, minutes))
        metrics.MESSAGES.labels(message.template, answer).inc()
        return messages.handed_over(message, answer, self._clock.now())
