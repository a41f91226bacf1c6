"""Fetch only where there is something to fetch.

In time-lapse every record is published by this process, so a consumer need not ask the broker again and again
whether something has come: its partitions are paused, and one is resumed when a record was published to it. That
spares nine tenths of the time, which went into empty fetches.

Not everyone needs to be let in at every step: what is only taken note of can be taken later, and all at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.messaging.progress import Place, Progress


class FetchGate:
    """Pauses and resumes partitions of consumers; hears of movements as the `Follower` of a `Progress`."""

    def __init__(self, progress: Progress, consumers: Iterable[tuple[str, AIOKafkaConsumer]]) -> None:
        self._consumers = dict(consumers)
        self.groups = frozenset(self._consumers)
        self._waiting: dict[str, set[Place]] = {group: set() for group in self.groups}
        self._let_in: frozenset[str] = frozenset()
        self._readers: dict[Place, list[str]] = defaultdict(list)
        self._ends = progress.ends()
        for group, consumer in self._consumers.items():
            for partition in consumer.assignment():
                self._readers[partition.topic, partition.partition].append(group)
            self._waiting[group] = {place for place in consumer.assignment() if tuple(place) in self._ends}
            consumer.pause(*consumer.assignment())

    def produced(self, place: Place, end: int) -> None:
        self._ends[place] = end
        for group in self._readers[place]:
            if group in self._let_in:
                self._consumers[group].resume(TopicPartition(*place))
            else:
                self._waiting[group].add(place)

    @contextmanager
    def letting_in(self, groups: Collection[str]) -> Iterator[None]:
        """Let these groups fetch what was published since the last time, and what is published meanwhile."""
        self._let_in = self.groups.intersection(groups)
        for group in self._let_in:
            for place in self._waiting[group]:
                self._consumers[group].resume(TopicPartition(*place))
            self._waiting[group].clear()
        try:
            yield
        finally:
            self._let_in = frozenset()

    def taken(self, group: str, place: Place, position: int) -> None:
        consumer = self._consumers.get(group)
        if consumer and position >= self._ends.get(place, 0):
            consumer.pause(TopicPartition(*place))

    def put_back(self, group: str, place: Place) -> None:
        if group in self._consumers:
            self._consumers[group].resume(TopicPartition(*place))
