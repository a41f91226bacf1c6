"""Delivery is at least once; the effect is exactly once, also with replicas side by side."""

from __future__ import annotations

import asyncio
from collections import Counter

from aiokafka import ConsumerRecord

from services.intake.main import build
from shared.messaging.bus import Outgoing
from shared.messaging.progress import Progress
from tests.builders import Timeline, case_closed, case_opened
from tests.conftest import Start
from tests.system import System


async def classifications(system: System) -> list[str]:
    return [event.id for event in await system.events("case-classified")]


async def test_a_repetition_changes_nothing(stack: Start) -> None:
    async with stack("intake") as system:
        await system.publish(case_opened())
        await system.publish(case_opened(), case_opened())

        assert len(await classifications(system)) == 1
        assert await system.records("intake.dead-letter") == []


async def test_a_repetition_within_one_batch_changes_nothing(stack: Start) -> None:
    async with stack("intake") as system:
        await system.publish(case_opened(), case_opened())

        assert len(await classifications(system)) == 1


async def test_replicas_that_read_the_same_records_settle_them_once(stack: Start) -> None:
    """As in a rebalance: two loops work at the same records at the same time."""
    story = Timeline().opened("2026-02-02").sessions(6, "2026-02-04", every=2).closed("2026-03-01").events
    async with stack("intake") as system:
        other = build(system.stack.settings["intake"], system.clock, Progress())  # type: ignore[arg-type]
        loops = [system.runtime("intake").loop, other.state.runtime.loop]
        records = tuple(
            record_of(system, event_no, Outgoing.of(event)) for event_no, event in enumerate(story)
        )

        await asyncio.gather(*(loop.settle(records) for loop in loops for _ in range(3) if loop))

        told = Counter(await classifications(system))
        stored = await system.db("intake").get_collection("cases").find_one({"_id": "case-1"})
        other.state.runtime.client.close()
        await other.state.runtime.publisher.stop()

    assert len(told) == len(story)
    assert set(told.values()) == {1}
    assert stored
    assert stored["revision"] == len(story)


def record_of(system: System, offset: int, outgoing: Outgoing) -> ConsumerRecord:
    return ConsumerRecord(
        topic=system.settings.topic(outgoing.topic),
        partition=0,
        offset=offset,
        timestamp=0,
        timestamp_type=0,
        key=outgoing.key,
        value=outgoing.value,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        headers=outgoing.headers,
    )


async def test_a_case_classified_comes_once_for_each_fact_and_counts_up(stack: Start) -> None:
    async with stack("intake") as system:
        await system.publish(*Timeline().opened("2026-02-02").sessions(2, "2026-02-04").events)
        await system.publish(case_closed(closed_at="2026-02-28"), case_closed(closed_at="2026-02-27"))

        revisions = [getattr(event.data, "revision", 0) for event in await system.events("case-classified")]

    # The second closing happened earlier than the first: within one batch facts are taken in the order of their time.
    assert revisions == [1, 2, 3, 4, 5]
