"""Missed deadlines that do not page: one message an hour to each role, with all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta

import structlog

from services.crisis.channels import Message
from services.crisis.dispatch import Dispatcher
from services.crisis.keeper import SERVICE
from services.crisis.roster import Recipient
from services.crisis.store import Notice, Store
from shared.clock import Clock
from shared.messaging.progress import Progress
from shared.web.texts import Language, text

log = structlog.get_logger(__name__)

MOST_RULES = 20
"""So many rules are named in one message; the count names the rest."""


class Notices:
    """Tells roles what they missed."""

    def __init__(self, store: Store, dispatcher: Dispatcher, clock: Clock, progress: Progress) -> None:
        self.wake = asyncio.Event()
        self._store = store
        self._dispatcher = dispatcher
        self._clock = clock
        self._progress = progress

    async def run(self) -> None:
        """Tell at each full hour what has gathered, for ever."""
        while True:
            with self._progress.busy(SERVICE):
                self.wake.clear()
                next_at = await self._tell(self._clock.now())
            await self._clock.wait_until(next_at, self.wake)

    async def _tell(self, now: datetime) -> datetime | None:
        by_role: dict[str, list[Notice]] = {}
        for notice in await self._store.untold():
            by_role.setdefault(notice.role, []).append(notice)
        waiting: list[datetime] = []
        for role, notices in by_role.items():
            due_at = _full_hour(notices[0].at)
            if due_at > now:
                waiting.append(due_at)
            elif not await self._send(role, notices, now):
                waiting.append(_full_hour(now))
        return min(waiting, default=None)

    async def _send(self, role: str, notices: list[Notice], now: datetime) -> bool:
        def compose(recipient: Recipient) -> Message:
            return Message(
                id=f"notices:{role}:{int(now.timestamp())}:{recipient.id}",
                text="\n".join([_said(notices, "zh"), "--", _said(notices, "en")]),
                data={"what": "notices", "role": role, "count": len(notices), "recipient": recipient.id},
                at=now,
                title=_said(notices, "zh"),
                urgent=False,
            )

        reach = await self._dispatcher.send([role], compose)
        if not reach.reached:
            log.warning("notices reached nobody", role=role, reason=reach.channel, count=len(notices))
            return False
        await self._store.told([notice.id for notice in notices], now)
        return True


def _full_hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _said(notices: list[Notice], language: Language) -> str:
    rules = Counter(f"{notice.rule} ({notice.clause})" for notice in notices)
    named = ", ".join(f"{rule} × {count}" for rule, count in rules.most_common(MOST_RULES))
    return text("crisis.page.notices", language, count=len(notices), list=named)
