"""Missed deadlines that do not page: one message for each role, at a full hour within working hours, with all of them.

What gathers overnight or over a holiday is one message in the morning. A message that no provider takes is tried
again, with what has come meanwhile. A process that dies between sending and marking it sends it once more, with the
same id: better twice than never.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from datetime import UTC, datetime, timedelta

import structlog

from services.crisis.channels import Message
from services.crisis.dispatch import Dispatcher
from services.crisis.keeper import SERVICE
from services.crisis.roster import Recipient
from services.crisis.store import Store
from services.crisis.working_hours import WorkingHours
from shared.clock import Clock
from shared.messaging.progress import Progress
from shared.web.texts import Language, text

log = structlog.get_logger(__name__)

MOST_RULES = 20
"""So many rules are named in one message; the count names the rest."""
AGAIN_AFTER = timedelta(minutes=10)
"""When a message that reached nobody is tried again."""

Counts = Counter[tuple[str, str]]
"""How many deadlines of each (rule, clause) were missed."""


class Notices:
    """Tells roles what they missed."""

    def __init__(
        self, store: Store, dispatcher: Dispatcher, hours: WorkingHours, clock: Clock, progress: Progress
    ) -> None:
        self.wake = asyncio.Event()
        self._store = store
        self._dispatcher = dispatcher
        self._hours = hours
        self._clock = clock
        self._progress = progress
        self._name = secrets.token_hex(8)
        self._sent: dict[str, datetime] = {}
        """Messages that went out and are not marked yet: the database was away."""

    async def run(self) -> None:
        """Tell what has gathered when its time comes, for ever."""
        while True:
            with self._progress.busy(SERVICE):
                self.wake.clear()
                next_at = await self._tell(self._clock.now())
            await self._clock.wait_until(next_at, self.wake)

    async def _tell(self, now: datetime) -> datetime | None:
        """Tell every role whose time has come; returns when to look again."""
        await self._mark_sent()
        waiting: list[datetime] = []
        for role, since in (await self._store.untold()).items():
            at = self._hours.at(max(self._hours.full_hour_after(since), now))
            again = at if at > now else await self._tell_role(role, now)
            if again is not None:
                waiting.append(again)
        return min(waiting, default=None)

    async def _tell_role(self, role: str, now: datetime) -> datetime | None:
        """Send one message; None once it is told, else when to look again."""
        message = f"{role}:{now.astimezone(UTC):%Y-%m-%dT%H}"
        claim = await self._store.claim(f"notices {message}", self._name, now)
        if claim.held_until is not None:
            return max(claim.held_until, now + timedelta(milliseconds=1))
        counts = await self._store.gather(role, message)
        if counts and not await self._send(role, message, counts, now):
            return self._hours.at(now + AGAIN_AFTER)
        self._sent[message] = now
        await self._mark_sent()
        return None

    async def _send(self, role: str, message: str, counts: Counts, now: datetime) -> bool:
        def compose(recipient: Recipient) -> Message:
            return Message(
                id=f"notices:{message}:{recipient.id}",
                text="\n".join([_said(counts, "zh"), "--", _said(counts, "en")]),
                data={"what": "notices", "role": role, "count": counts.total(), "recipient": recipient.id},
                at=now,
                title=_said(counts, "zh"),
                urgent=False,
                danger=False,
            )

        reach = await self._dispatcher.send([role], compose, pages=False)
        if not reach.reached:
            log.warning("notices reached nobody", role=role, reason=reach.channel, count=counts.total())
        return bool(reach.reached)

    async def _mark_sent(self) -> None:
        for message, at in list(self._sent.items()):
            await self._store.told(message, at)
            del self._sent[message]


def _said(counts: Counts, language: Language) -> str:
    named = ", ".join(f"{rule} ({clause}) × {n}" for (rule, clause), n in counts.most_common(MOST_RULES))
    return text("crisis.page.notices", language, count=counts.total(), list=named)
