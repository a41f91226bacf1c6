"""Reads everything that is on the bus of a time-lapse run, as it comes."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from shared.clock import Clock
from shared.contracts.envelope import Event, Refused, parse_record
from shared.contracts.topics import SERVICES, TOPICS, dead_letter_topic
from shared.messaging.progress import Progress
from shared.settings import Settings

GROUP = "recorder"

_ORDER = {name: position for position, name in enumerate(TOPICS)}


class Recorder:
    """Keeps every event that was on the bus, once, and hands each on to a listener."""

    def __init__(self, settings: Settings, clock: Clock, progress: Progress) -> None:
        self.events: dict[str, Event] = {}
        self.counts: Counter[str] = Counter()
        self.dead_letters = 0
        self.listeners: list[Callable[[Event], None]] = []
        self._settings = settings
        self._clock = clock
        self._progress = progress
        self.consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka_bootstrap_servers.split(","),
            fetch_max_wait_ms=settings.kafka_max_wait_ms,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Recorder:
        names = {self._settings.topic(name) for name in [*TOPICS, *map(dead_letter_topic, SERVICES)]}
        await self.consumer.start()
        await self.consumer._client.force_metadata_update()
        partitions = [
            TopicPartition(name, partition)
            for name in names
            for partition in self.consumer.partitions_for_topic(name) or {0}
        ]
        self.consumer.assign(partitions)
        await self.consumer.seek_to_beginning(*partitions)
        self._progress.reads(GROUP, names)
        self._task = asyncio.create_task(self._read(), name=GROUP)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._progress.gone(GROUP)
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.consumer.stop()

    async def _read(self) -> None:
        while True:
            batches = await self.consumer.getmany(timeout_ms=1_000, max_records=1_000)
            for place, records in batches.items():
                self._progress.taken(GROUP, place.topic, place.partition, records[-1].offset + 1)
                for record in records:
                    self._take(place.topic, record)
                self._progress.committed(GROUP, place.topic, place.partition, records[-1].offset + 1)

    def _take(self, name: str, record: Any) -> None:
        topic = name.removeprefix(self._settings.topic(""))
        if topic not in TOPICS:
            self.dead_letters += 1
            return
        try:
            event = parse_record(topic, record.headers, record.value, self._clock.now())
        except Refused:
            return  # it shows as a dead letter of whoever reads the topic
        if event.unique in self.events:
            return
        self.events[event.unique] = event
        self.counts[topic] += 1
        for listener in self.listeners:
            listener(event)

    def in_order(self) -> list[Event]:
        """The events by the virtual time at which they happened; within one instant by topic and subject, and those
        of one subject as they came."""
        return sorted(
            self.events.values(), key=lambda event: (event.time, _ORDER[event.topic], event.subject)
        )

    def lines(self, until: datetime) -> list[str]:
        """The events up to an instant as CloudEvents JSON, one a line."""
        return [
            json.dumps(event.structured(), ensure_ascii=False, sort_keys=True)
            for event in self.in_order()
            if event.time <= until
        ]
