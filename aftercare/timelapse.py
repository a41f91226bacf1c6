"""Time-lapse: the five real services under a virtual clock that moves as soon as everyone has caught up.

Half a year takes seconds, because nothing waits: the clock goes from one instant at which something is due to the
next. At each instant the timers fire first, then the events that happened then are published, then staff act.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any, Protocol

from aftercare.gate import FetchGate
from aftercare.recorder import GROUP, Recorder
from shared.clock import VirtualClock
from shared.contracts.envelope import parse_time
from shared.contracts.topics import TOPICS
from shared.contracts.types import write_time
from shared.messaging.bus import Outgoing, Publisher
from shared.messaging.progress import Progress

LARGEST_GROUP = 100
"""The most events that are delivered together."""

FURTHEST = timedelta(hours=12)
"""How far ahead of its instant an event may be delivered: well below what counts as a wrong clock."""

LONGEST_LAG = 50
"""After so many steps those who only observe catch up, too."""

ALONE = ("crisis-flagged", "client-erased")
"""What the pager itself acts upon: delivered at its own instant."""

PAGER = "crisis pager"
"""The task that pages again and again while nobody acknowledges."""

PATIENCE_SECONDS = 30.0
"""Wall seconds without any movement after which a service counts as stuck."""


@dataclass(order=True, frozen=True)
class Delivery:
    """An event of the input and the instant at which it reaches the bus."""

    at: datetime
    rank: tuple[int, str, str]
    record: Outgoing = field(compare=False)
    about: str = field(compare=False, default="")
    """The client whom it concerns."""
    alone: bool = field(compare=False, default=False)
    """Whether it has to be delivered at its own instant, with nothing else."""


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
    late = write_time(at) != write_time(parse_time(str(document["time"])))
    alone = late or topic in ALONE or not about or _opens_in_a_crisis(data)
    return Delivery(at, rank, record, str(about), alone)


def _opens_in_a_crisis(data: Any) -> bool:
    """Whether intake may page for what the event says (W26): that keeps to its instant as a flag does."""
    eligibility = data.get("eligibility") if isinstance(data, dict) else None
    return isinstance(eligibility, dict) and bool(eligibility.get("acute_crisis"))


class Staff(Protocol):
    """Who acts in a run: takes note of events, and says when it wants to act next."""

    @property
    def observing(self) -> tuple[str, ...]: ...

    def next_at(self) -> datetime | None: ...

    async def act(self, now: datetime) -> bool:
        """Do what is to be done by `now`; whether anything was."""
        ...


class Agenda:
    """Things to do at virtual instants, in the order in which they were put there."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Any]] = []
        self._order = count()

    def put(self, at: datetime, what: Any) -> None:
        heapq.heappush(self._heap, (at, next(self._order), what))

    def next_at(self) -> datetime | None:
        return self._heap[0][0] if self._heap else None

    def take(self, now: datetime) -> list[Any]:
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
        gate: FetchGate,
        observers: Collection[str],
    ) -> None:
        self.clock = clock
        self._gate = gate
        self._actors = gate.groups - {*observers, GROUP}
        self._lag = 0
        self._dates = 0
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
            others = [coming, self.clock.next_wakeup(aside=PAGER), self._staff.next_at()]
            other = _earliest(others)
            instant = _earliest([self.clock.next_wakeup(), other])
            if instant is None or (coming is None and instant > end()):
                await self._settled(everyone=True)
                return
            if instant > self.clock.now():
                self.clock.advance(instant)
                for tell in self.moved:
                    tell(instant)
                if instant != other:
                    await self._settle({GROUP})
                else:
                    await self._settled()
            position += await self._deliver(waiting[position : position + LARGEST_GROUP])
            while await self._staff.act(self.clock.now()):
                await self._settled()

    async def _deliver(self, coming: Sequence[Delivery]) -> int:
        """Publish what happens now, and with it what happens next, as long as it can make no difference.

        It can make none where nothing but pages is due in between and the events are about different clients: an
        event is decided upon as of its own time. A crisis, and what is delivered late, keeps to its instant.
        Returns how many were delivered.
        """
        now = self.clock.now()
        due = [self.clock.next_wakeup(aside=PAGER), self._staff.next_at()]
        horizon = min([now + FURTHEST, *(at for at in due if at is not None)])
        group: list[Delivery] = []
        about: set[str] = set()
        for item in coming:
            ahead = item.at > now
            if item.about in about or (ahead and (item.alone or item.at >= horizon)):
                break
            group.append(item)
            about.add(item.about)
            if item.alone:
                break
        if group:
            await self._publisher.publish([item.record for item in group])
            await self._settled()
        return len(group)

    async def _settled(self, *, everyone: bool = False) -> None:
        """Whoever acts has caught up, then the recorder, and now and then those who only observe.

        They are needed at the dates of the regime, where the report is made, and whenever `everyone` is asked for.
        """
        await self._settle(self._actors)
        await self._settle({GROUP} | self._actors)
        dates = self._recorder.counts["calendar-due"]
        self._lag += 1
        if everyone or dates != self._dates or self._lag >= LONGEST_LAG:
            self._dates, self._lag = dates, 0
            await self._settle(self._gate.groups)

    async def _settle(self, groups: Collection[str]) -> None:
        """These groups have caught up, and nothing is under way; the others wait before the gate."""
        with self._gate.letting_in(groups):
            await self._progress.settled(PATIENCE_SECONDS, aside=self._gate.groups.difference(groups))


def _earliest(instants: Iterable[datetime | None]) -> datetime | None:
    return min((at for at in instants if at is not None), default=None)
