"""Time-lapse: the five real services under a virtual clock that moves as soon as everyone has caught up.

Half a year takes seconds, because nothing waits: the clock goes from one instant at which something is due to the
next. At each instant the timers fire first, then the events that happened then are published, then staff act.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any, Protocol

from aftercare.recorder import Recorder
from shared.clock import VirtualClock
from shared.contracts.topics import TOPICS
from shared.messaging.bus import Outgoing, Publisher
from shared.messaging.progress import Progress

PATIENCE_SECONDS = 30.0
"""Wall seconds without any movement after which a service counts as stuck."""


@dataclass(order=True, frozen=True)
class Delivery:
    """An event of the input and the instant at which it reaches the bus."""

    at: datetime
    rank: tuple[int, str, str]
    record: Outgoing = field(compare=False)
    about: str = field(compare=False, default="")


def delivery(document: dict[str, Any], topic: str, at: datetime) -> Delivery:
    """An event as it stands in a file, to be put on the bus as a company system would."""
    attributes = {
        name: value for name, value in document.items() if name != "data" and isinstance(value, str)
    }
    headers = [
        ("content-type" if name == "datacontenttype" else f"ce_{name}", value.encode())
        for name, value in attributes.items()
    ]
    data = document.get("data")
    about = data.get("client_id", "") if isinstance(data, dict) else ""
    record = Outgoing(
        topic, attributes.get("subject", "").encode(), json.dumps(data).encode(), tuple(headers)
    )
    rank = (list(TOPICS).index(topic), attributes.get("source", ""), attributes.get("id", ""))
    return Delivery(at, rank, record, str(about))


class Staff(Protocol):
    """Who acts in a run: takes note of events, and says when it wants to act next."""

    def next_at(self) -> datetime | None: ...

    async def act(self, now: datetime) -> bool:
        """Do what is to be done by `now`; whether anything was."""
        ...


class Agenda:
    """Things to do at virtual instants, in the order in which they were put there."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Callable[[], Any]]] = []
        self._order = count()

    def put(self, at: datetime, what: Callable[[], Any]) -> None:
        heapq.heappush(self._heap, (at, next(self._order), what))

    def next_at(self) -> datetime | None:
        return self._heap[0][0] if self._heap else None

    def take(self, now: datetime) -> list[Callable[[], Any]]:
        """What is due by `now`, removed from the agenda."""
        taken = []
        while self._heap and self._heap[0][0] <= now:
            taken.append(heapq.heappop(self._heap)[2])
        return taken


class TimeLapse:
    """Drives a stack from one instant to the next."""

    def __init__(
        self,
        clock: VirtualClock,
        progress: Progress,
        publisher: Publisher,
        recorder: Recorder,
        staff: Staff,
    ) -> None:
        self.clock = clock
        self._progress = progress
        self._publisher = publisher
        self._recorder = recorder
        self._staff = staff
        self.moved: list[Callable[[datetime], None]] = []
        """Called at each instant, for whoever shows the run."""

    async def run(self, deliveries: Sequence[Delivery], end: Callable[[], datetime]) -> None:
        """Go on until nothing is due up to `end()`, which is asked again at each instant.

        Raises `Stuck`, naming the service, when one does not catch up.
        """
        waiting = sorted(deliveries)
        position = 0
        await self._settled()
        while True:
            coming = waiting[position].at if position < len(waiting) else None
            instants = [coming, self.clock.next_wakeup(), self._staff.next_at()]
            instant = min((at for at in instants if at is not None), default=None)
            if instant is None or (coming is None and instant > end()):
                return
            if instant > self.clock.now():
                self.clock.advance(instant)
                for tell in self.moved:
                    tell(instant)
            await self._settled()
            due = position
            while due < len(waiting) and waiting[due].at <= self.clock.now():
                due += 1
            await self._deliver(waiting[position:due])
            position = due
            while await self._staff.act(self.clock.now()):
                await self._settled()

    async def _deliver(self, due: Sequence[Delivery]) -> None:
        """Publish what happens at one instant: all at once, but one after the other for each client."""
        left = list(due)
        while left:
            seen: set[str] = set()
            now: list[Delivery] = []
            later: list[Delivery] = []
            for item in left:
                (later if item.about in seen else now).append(item)
                seen.add(item.about)
            await self._publisher.publish([item.record for item in now])
            await self._settled()
            left = later

    async def _settled(self) -> None:
        await self._progress.settled(PATIENCE_SECONDS)
