"""The offsets of flags: what a consumer had taken that was stopped since is left to the one after it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from services.crisis.flags import FlagReader
from services.crisis.pager import Raised
from shared.clock import VirtualClock
from shared.messaging.progress import Progress
from shared.settings import Settings
from tests.unit.crisis.stories import FLAGGED

PLACE = TopicPartition("crisis-flagged", 0)


class Consumer:
    """Gives one record, then fails (the first one) or waits."""

    def __init__(self, fails: bool) -> None:
        self.fails, self.given, self.stopped = fails, False, False
        self.committed: list[int] = []

    async def start(self) -> None: ...

    async def stop(self) -> None:
        self.stopped = True

    async def getmany(self, timeout_ms: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        if not self.given:
            self.given = True
            record: Any = SimpleNamespace(topic="crisis-flagged", partition=0, offset=7)
            return {PLACE: [record]}
        if self.fails:
            raise KafkaError
        await asyncio.Event().wait()
        raise AssertionError

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        if self.stopped:  # as aiokafka does: what it takes for a passing fault is tried for ever
            await asyncio.Event().wait()
        self.committed += offsets.values()


async def test_a_flag_that_is_written_down_after_its_consumer_was_stopped_is_committed_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    consumers = [Consumer(fails=True), Consumer(fails=False)]
    coming = iter(consumers)
    pager: Any = None
    reader = FlagReader(Settings(), pager, VirtualClock(FLAGGED), Progress())
    monkeypatch.setattr(reader, "_consumer", lambda: next(coming))
    monkeypatch.setattr(reader, "_raise", lambda record: Raised("incident", None, stored))

    async def loaded() -> None: ...

    with pytest.raises(ExceptionGroup):
        await reader.run(loaded)
    stored.set_result(None)
    await asyncio.sleep(0)
    running = asyncio.create_task(reader.run(loaded))
    await asyncio.sleep(0.05)
    assert [consumer.committed for consumer in consumers] == [[], [8]]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
