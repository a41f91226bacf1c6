"""Brings one page to everyone it is for: their first channel, once more, the next channel, the next provider."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import httpx
import structlog

from services.crisis.addresses import Address, Phone
from services.crisis.channels import Accepted, Channel, Ending, Following, Message, Rejected
from services.crisis.channels.budgets import Budgets
from services.crisis.channels.choosing import Channels
from services.crisis.domain import Contact
from services.crisis.roster import DEFAULT, Recipient, Roster, recipients, stages
from shared.clock import Clock, SystemClock
from shared.observability import metrics

log = structlog.get_logger(__name__)

AGAIN_AFTER_SECONDS = 0.2
"""Before the second attempt on a channel."""
PHONE_AGAIN_AFTER_SECONDS = 1.3
"""The same for a phone: two requests within a second block each other (Aliyun)."""
ATTEMPT_SECONDS = 10.0
"""One attempt: a provider that answers byte by byte keeps within the time for each of them, and never ends."""
PAGE_SECONDS = 45.0
"""All attempts for one page together: F59 must still be met when every provider hangs."""
REMEMBERED_REFERENCES = 10_000
NO_ANSWER = ("timeout", "unreachable")
"""The reasons after which the provider may have taken the page all the same."""

OVER_BUDGET = "over-budget"

Compose = Callable[[Recipient], Message]
Holders = Callable[[str], Sequence[str] | None]
"""Who has a role at this time; None: everybody who has it on the roster."""


@dataclass(frozen=True)
class Reach:
    """How far a page came: how many people a provider took it for, over which channel; or why nobody."""

    reached: int
    channel: str
    doubtful: bool = False
    """An earlier attempt got no answer: who is reached now may have the page already."""
    contacts: tuple[Contact, ...] = ()
    """Whom it reached, each over their own channel."""


@dataclass(frozen=True)
class _Outcome:
    """What became of one person's page: the contact, or the reason of the last refusal."""

    contact: Contact | None = None
    reason: str = "no-channel"
    doubtful: bool = False


class Dispatcher:
    """Sends pages over the roster's channels. `budgets`: false where no provider counts."""

    def __init__(
        self,
        roster: Roster,
        fallback: tuple[Address, ...],
        client: httpx.AsyncClient,
        *,
        clock: Clock | None = None,
        budgets: bool = True,
        timeout: float = 5.0,
        holders: Holders = lambda role: None,
    ) -> None:
        self._roster = roster
        self._fallback = fallback
        self._known = {person.id: person.channels for person in roster.people} | {DEFAULT: fallback}
        self._holders = holders
        self._channels = Channels(roster.providers, client, timeout)
        self._budgets = Budgets(clock or SystemClock())
        self._counts = budgets
        self._references: OrderedDict[str, tuple[str, Contact]] = OrderedDict()
        for address in (*fallback, *(address for person in roster.people for address in person.channels)):
            for channel in self._channels.of(address):
                for result in ("accepted", "rejected"):  # from 0 on, or the first increase is not seen
                    metrics.PAGES.labels(channel.kind, result)

    async def send(self, roles: Sequence[str], compose: Compose, *, pages: bool = True) -> Reach:
        """Page everyone who has one of the roles at this time, each once. `pages`: false for what only tells."""
        found: dict[str, Recipient] = {}
        for role in roles:
            having = recipients(self._roster, role, self._fallback, self._holders(role))
            if pages and all(recipient.id == DEFAULT for recipient in having):
                metrics.PAGES_INTO_A_GAP.inc()
            found |= {recipient.id: recipient for recipient in having}
        return await self._send_all(list(found.values()), compose, 0.0, PAGE_SECONDS)

    async def send_later(
        self, people: Sequence[str], stage: float, compose: Compose, seconds: float = PAGE_SECONDS
    ) -> Reach:
        """Page these people over their channels from this stage on, within so many seconds."""
        found = [Recipient(person, self._known[person]) for person in people if person in self._known]
        return await self._send_all(found, compose, stage, seconds)

    def referred(self, reference: str) -> tuple[str, Contact] | None:
        """Incident and person of the page that a provider gave this id: of the last ten thousand from here."""
        return self._references.get(reference)

    async def end(self, contacts: Sequence[Contact], topic: str, how: Ending, at: datetime) -> None:
        """Tell the systems that took these pages and page people themselves that they can stop."""
        told: set[str] = set()
        for contact in contacts:
            for address in (*self._known.get(contact.person, ()), *self._fallback):
                for channel in self._channels.of(address):
                    if channel.kind != contact.channel or channel.key in told:
                        continue
                    if isinstance(channel, Following):
                        told.add(channel.key)
                        await self._end(channel, topic, how, at)

    async def _end(self, channel: Following, topic: str, how: Ending, at: datetime) -> None:
        for attempt in (1, 2):
            try:
                async with asyncio.timeout(ATTEMPT_SECONDS):
                    result = await channel.end(topic, how, at)
            except Exception as error:  # the others must be told all the same
                result = Rejected("timeout" if isinstance(error, TimeoutError) else "defect")
            if isinstance(result, Accepted):
                return
            # Where both fail it goes on paging people about what was taken up: bad, but not silent.
            log.warning("a system that pages was not told to stop", reason=result.reason)
            if attempt == 1:
                await asyncio.sleep(AGAIN_AFTER_SECONDS)

    async def _send_all(
        self, found: Sequence[Recipient], compose: Compose, stage: float, seconds: float
    ) -> Reach:
        if not found:
            return Reach(0, "no-channel")
        results = await asyncio.gather(
            *(self._reach(recipient, compose, stage, seconds) for recipient in found)
        )
        contacts = tuple(result.contact for result in results if result.contact)
        doubtful = any(result.doubtful for result in results)
        if contacts:
            return Reach(len(contacts), contacts[0].channel, doubtful, contacts)
        return Reach(0, results[0].reason, doubtful)

    async def _reach(self, recipient: Recipient, compose: Compose, stage: float, seconds: float) -> _Outcome:
        try:
            async with asyncio.timeout(seconds):
                return await self._over_stages(recipient, compose(recipient), stage)
        except TimeoutError:
            return _Outcome(reason="timeout", doubtful=True)
        except Exception as error:  # a defect about one person must not keep the page from the others
            log.error("a person could not be paged", person=recipient.id, error=type(error).__name__)
            return _Outcome(reason="defect")

    async def _over_stages(self, recipient: Recipient, message: Message, stage: float) -> _Outcome:
        """Over this stage, and where it takes nothing over the next ones at once; for the first page over the
        channels for everybody as well."""
        known = stages(recipient.channels)
        reason, doubtful = "no-channel", False
        for one in known:
            if one.after < stage:
                continue
            result = await self._over_channels(one.channels, recipient.id, message)
            doubtful = doubtful or result.doubtful
            if result.contact:
                later = tuple(other.after for other in known if other.after > one.after)
                contact = result.contact.model_copy(update={"after": one.after, "later": later})
                return _Outcome(contact, doubtful=doubtful)
            reason = result.reason
        if stage or not recipient.fallback:
            return _Outcome(reason=reason, doubtful=doubtful)
        result = await self._over_channels(recipient.fallback, recipient.id, message)
        doubtful = doubtful or result.doubtful
        if result.contact:  # their own channels get another try, each in its time
            metrics.PAGES_OVER_FALLBACK.inc()
            later = tuple(one.after for one in known if one.after)
            return _Outcome(result.contact.model_copy(update={"later": later}), doubtful=doubtful)
        return _Outcome(reason=reason if result.reason == "no-channel" else result.reason, doubtful=doubtful)

    async def _over_channels(self, addresses: Sequence[Address], person: str, message: Message) -> _Outcome:
        reason, doubtful = "no-channel", False
        for address in addresses:
            if isinstance(address, Phone) and not message.words:
                continue  # what does not page rings nobody's phone
            for channel in self._channels.of(address):
                for attempt in (1, 2):
                    result = await self._attempt(channel, message)
                    if isinstance(result, Accepted):
                        contact = Contact(person=person, channel=channel.kind, reference=result.reference)
                        self._remember(message, contact)
                        return _Outcome(contact, doubtful=doubtful)
                    if attempt == 1 or result.reason != OVER_BUDGET:
                        reason = result.reason
                    doubtful = doubtful or result.reason in NO_ANSWER
                    if result.retry_after is not None:
                        break  # this provider will not take it now: the next one
                    if attempt == 1:
                        await asyncio.sleep(_again_after(channel))
        return _Outcome(reason=reason, doubtful=doubtful)

    async def _attempt(self, channel: Channel, message: Message) -> Accepted | Rejected:
        if self._counts and self._budgets.blocked(channel.key):
            return self._passed_over(channel, "rate-limited")
        if self._counts and not self._budgets.take(channel.key, channel.limits, danger=message.danger):
            return self._passed_over(channel, OVER_BUDGET)
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                result = await channel.send(message)
        except TimeoutError:
            result = Rejected("timeout")
        except Exception as error:  # a defect in one adapter must not keep the page from the next channel
            # The traceback would show the address, which holds the key.
            log.error("a channel failed", channel=channel.kind, error=type(error).__name__)
            result = Rejected("defect")
        accepted = isinstance(result, Accepted)
        metrics.PAGES.labels(channel.kind, "accepted" if accepted else "rejected").inc()
        if isinstance(result, Rejected):
            log.warning("a page was not accepted", channel=channel.kind, reason=result.reason)
            if result.retry_after is not None:
                self._budgets.block(channel.key, result.retry_after)
        return result

    def _passed_over(self, channel: Channel, reason: str) -> Rejected:
        metrics.PAGES.labels(channel.kind, "passed-over").inc()
        log.warning("a channel was passed over", channel=channel.kind, reason=reason)
        return Rejected(reason, retry_after=0.0)

    def _remember(self, message: Message, contact: Contact) -> None:
        if contact.reference is None:
            return
        self._references[contact.reference] = (str(message.data.get("incident_id")), contact)
        if len(self._references) > REMEMBERED_REFERENCES:
            self._references.popitem(last=False)


def _again_after(channel: Channel) -> float:
    by_phone = channel.kind.startswith(("sms-", "voice-"))
    return PHONE_AGAIN_AFTER_SECONDS if by_phone else AGAIN_AFTER_SECONDS
