"""What has been published, what has been settled, and what is under way: is a stack caught up?

Every producer and consumer of a process reports here. A stack that runs in one process (time-lapse, tests) is
caught up when each group has committed up to the end of what it reads and nothing is under way, two readings in a
row. The figures are the broker's own: offsets it gave for records and offsets it took as commits.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

Place = tuple[str, int]
"""Topic and partition."""


class Stuck(RuntimeError):
    """A stack did not catch up in time; the message names who is behind."""


class Follower(Protocol):
    """Hears of every movement: time-lapse uses it to fetch only where there is something to fetch."""

    def produced(self, place: Place, end: int) -> None: ...

    def taken(self, group: str, place: Place, position: int) -> None: ...

    def put_back(self, group: str, place: Place) -> None: ...


class Progress:
    """The offsets and the work under way of one process."""

    def __init__(self) -> None:
        self.follower: Follower | None = None
        self._ends: dict[Place, int] = {}
        self._committed: dict[str, dict[Place, int]] = {}
        self._reads: dict[str, frozenset[str]] = {}
        self._busy: Counter[str] = Counter()
        self._readings = 0
        self._moved = asyncio.Event()

    def reads(self, group: str, topics: Iterable[str]) -> None:
        """A group reads these topics from now on."""
        self._reads[group] = frozenset(topics)
        self._committed.setdefault(group, {})
        self._move()

    def gone(self, group: str) -> None:
        """A group reads no more."""
        self._reads.pop(group, None)
        self._move()

    def produced(self, topic: str, partition: int, offset: int) -> None:
        """The broker took a record at `offset`."""
        place = (topic, partition)
        self._ends[place] = max(self._ends.get(place, 0), offset + 1)
        if self.follower:
            self.follower.produced(place, self._ends[place])
        self._move()

    def taken(self, group: str, topic: str, partition: int, offset: int) -> None:
        """The group has fetched everything before `offset`."""
        if self.follower:
            self.follower.taken(group, (topic, partition), offset)

    def put_back(self, group: str, topic: str, partition: int) -> None:
        """The group will fetch again what it took from this partition."""
        if self.follower:
            self.follower.put_back(group, (topic, partition))

    def committed(self, group: str, topic: str, partition: int, offset: int) -> None:
        """The group has settled everything before `offset`."""
        self._committed.setdefault(group, {})[topic, partition] = offset
        self.taken(group, topic, partition, offset)
        self._move()

    @contextmanager
    def busy(self, who: str) -> Iterator[None]:
        """Something is under way: a transaction, a timer, an HTTP call."""
        self._busy[who] += 1
        self._move()
        try:
            yield
        finally:
            self._busy[who] -= 1
            self._move()

    def ends(self) -> dict[Place, int]:
        """The end offset of every partition that this process has published to."""
        return dict(self._ends)

    def behind(self, aside: Collection[str] = ()) -> list[str]:
        """Who is not caught up, and by how much; empty when all are but the groups left aside."""
        found = [f"{who} is at work" for who, count in self._busy.items() if count > 0]
        for group, topics in self._reads.items():
            if group in aside:
                continue
            for place, end in self._ends.items():
                done = self._committed[group].get(place, 0)
                if place[0] in topics and done < end:
                    found.append(f"{group} is {end - done} records behind on {place[0]}[{place[1]}]")
        return found

    async def settled(self, timeout: float, aside: Collection[str] = ()) -> None:
        """Wait until two readings in a row show all groups settled but those left aside.

        Raises `Stuck` after `timeout` wall seconds without any movement, naming who is behind.
        """
        while True:
            before = self._readings
            for _ in range(4):  # whoever was woken by the last movement starts its work now
                await asyncio.sleep(0)
            if not self.behind(aside) and self._readings == before:
                return
            self._moved.clear()
            if self._readings != before:
                continue
            try:
                # Not asyncio.wait_for: in Python 3.11 it loses a cancellation that comes together with the movement.
                async with asyncio.timeout(timeout):
                    await self._moved.wait()
            except TimeoutError:
                raise Stuck(f"no movement for {timeout:.0f} s: " + "; ".join(self.behind(aside))) from None

    def _move(self) -> None:
        self._readings += 1
        self._moved.set()
