"""Brings one page to everyone it is for: their first channel, once more, the next channel, the next provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx
import structlog

from services.crisis.channels import Accepted, Channel, Message, Rejected
from services.crisis.channels.webhook import Webhook
from services.crisis.channels.wecom import WeCom
from services.crisis.roster import Address, Recipient, Roster, WeComAddress, recipients
from shared.observability import metrics

log = structlog.get_logger(__name__)

AGAIN_AFTER_SECONDS = 0.2
"""Before the second attempt on a channel."""
PAGE_SECONDS = 45.0
"""All attempts for one page together: F59 must still be met when every provider hangs."""

Compose = Callable[[Recipient], Message]
Holders = Callable[[str], Sequence[str] | None]
"""Who has a role at this time; None: everybody who has it on the roster."""


@dataclass(frozen=True)
class Reach:
    """How far a page came: how many people a provider took it for, over which channel; or why nobody."""

    reached: int
    channel: str


class Dispatcher:
    """Sends pages over the roster's channels."""

    def __init__(
        self,
        roster: Roster,
        fallback: tuple[Address, ...],
        client: httpx.AsyncClient,
        *,
        holders: Holders = lambda role: None,
    ) -> None:
        self._roster = roster
        self._fallback = fallback
        self._client = client
        self._holders = holders

    async def send(self, roles: Sequence[str], compose: Compose) -> Reach:
        """Page everyone who has one of the roles at this time, each once."""
        found = {
            recipient.id: recipient
            for role in roles
            for recipient in recipients(self._roster, role, self._fallback, self._holders(role))
        }
        if not found:
            return Reach(0, "no-channel")
        results = await asyncio.gather(
            *(self._reach(recipient, compose(recipient)) for recipient in found.values())
        )
        channels = [result.channel for result in results if result.reached]
        if channels:
            return Reach(len(channels), channels[0])
        return results[0]

    async def _reach(self, recipient: Recipient, message: Message) -> Reach:
        try:
            async with asyncio.timeout(PAGE_SECONDS):
                return await self._over_channels(recipient, message)
        except TimeoutError:
            return Reach(0, "timeout")

    async def _over_channels(self, recipient: Recipient, message: Message) -> Reach:
        reason = "no-channel"
        for address in recipient.channels:
            channel = self._channel(address)
            for attempt in (1, 2):
                result = await self._attempt(channel, message)
                if isinstance(result, Accepted):
                    return Reach(1, channel.kind)
                reason = result.reason
                log.warning("a page was not accepted", channel=channel.kind, reason=reason)
                if result.retry_after is not None:
                    break  # this provider will not take it now: the next one
                if attempt == 1:
                    await asyncio.sleep(AGAIN_AFTER_SECONDS)
        return Reach(0, reason)

    async def _attempt(self, channel: Channel, message: Message) -> Accepted | Rejected:
        try:
            result = await channel.send(message)
        except Exception as error:  # a defect in one adapter must not keep the page from the next channel
            # The traceback would show the address, which holds the key.
            log.error("a channel failed", channel=channel.kind, error=type(error).__name__)
            result = Rejected("defect")
        accepted = isinstance(result, Accepted)
        metrics.PAGES.labels(channel.kind, "accepted" if accepted else "rejected").inc()
        return result

    def _channel(self, address: Address) -> Channel:
        if isinstance(address, WeComAddress):
            return WeCom(address, self._client)
        return Webhook(address, self._client)
