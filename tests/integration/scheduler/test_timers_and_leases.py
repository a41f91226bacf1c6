"""Timers on the real database: replicas share them by leases, and each fires once."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.scheduler.domain.agenda import SLOTS
from services.scheduler.leases import LEASE, SlotLeases
from services.scheduler.reactions import Decision
from services.scheduler.store import Store
from services.scheduler.timers import Timers
from shared.observability import metrics
from tests.builders import at, case_closed
from tests.conftest import Start
from tests.reference.fold import REGIME
from tests.system import System


def all_slots(*leases: SlotLeases) -> list[int]:
    return sorted(slot for one in leases for slot in one.mine)


async def test_one_replica_has_all_slots_two_share_them_and_none_is_held_twice(stack: Start) -> None:
    async with stack("intake") as system:
        first, second = SlotLeases(system.db("intake")), SlotLeases(system.db("intake"))
        await first.renew()
        assert all_slots(first) == list(range(SLOTS))

        await second.renew()  # nothing is free yet
        assert second.mine == []
        await first.renew()  # gives back what is above its share
        await second.renew()

        assert len(first.mine) == len(second.mine) == SLOTS // 2
        assert all_slots(first, second) == list(range(SLOTS))


async def test_what_a_replica_gives_back_at_its_end_is_taken_at_once(stack: Start) -> None:
    async with stack("intake") as system:
        first, second = SlotLeases(system.db("intake")), SlotLeases(system.db("intake"))
        await first.renew()
        await first.release()
        await second.renew()

        assert first.mine == []
        assert all_slots(second) == list(range(SLOTS))


async def test_what_a_dead_replica_held_is_taken_over_when_its_lease_ends(stack: Start) -> None:
    async with stack("intake") as system:
        db = system.db("intake")
        first, second = SlotLeases(db), SlotLeases(db)
        await first.renew()
        await second.renew()
        assert second.mine == []

        past = datetime.now(UTC) - LEASE - timedelta(seconds=1)
        await db.get_collection("leases").update_many({"owner": first.owner}, {"$set": {"until": past}})
        await db.get_collection("replicas").update_one({"_id": first.owner}, {"$set": {"seen_at": past}})
        await second.renew()

        assert all_slots(second) == list(range(SLOTS))


def another_replica(system: System) -> Timers:
    """Timers that believe in leases of all slots, as a replica does that was paused for too long."""
    runtime = system.runtime("scheduler")
    leases = SlotLeases(runtime.db)
    leases.mine = list(range(SLOTS))
    return Timers(Store(runtime.db), runtime.journal, leases, REGIME, system.clock, system.progress, 500)


async def test_replicas_that_fire_the_same_timers_tell_each_thing_once(stack: Start) -> None:
    async with stack("intake", "scheduler", start="2026-03-02 18:00") as system:
        cases = [
            case_closed(case_id=f"case-{n}", client_id=f"client-{n}", closed_at="2025-09-01")
            for n in range(20)
        ]
        others = [another_replica(system) for _ in range(3)]

        await system.publish(*cases)
        await asyncio.gather(*(other.fire_due() for other in others for _ in range(3)))
        system.clock.advance(at("2026-03-03 18:00"))
        await asyncio.gather(*(other.fire_due() for other in others for _ in range(3)))
        await system.settled()

        due = Counter(event.subject for event in await system.events("follow-up-due"))
        missed = Counter(
            event.data.escalation_id  # type: ignore[attr-defined]
            for event in await system.events("escalation-required")
        )

    assert len(due) == 40
    assert set(due.values()) == {1}
    assert set(missed.values()) == {1}


async def test_one_timer_that_fails_keeps_no_other_from_firing(
    stack: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    fire = Decision.fire
    broken: set[str] = set()

    def failing(self: Decision, item: Any) -> None:
        if item.id in broken:
            raise ValueError("a defect")
        fire(self, item)

    monkeypatch.setattr(Decision, "fire", failing)
    failures = metrics.TIMERS_FAILED.labels("follow-up")
    async with stack("intake", "scheduler", start="2026-03-02 18:00") as system:
        await system.publish(case_closed(closed_at="2026-03-02 17:00"))
        first, second = (
            await system.db("scheduler")
            .get_collection("agenda")
            .find({"kind": "follow-up"})
            .sort("scheduled_for", 1)
            .to_list(None)
        )
        broken.add(first["_id"])
        before = failures._value.get()

        await system.until(at("2026-03-15 10:30"))
        assert failures._value.get() == before + 1
        assert await system.events("follow-up-due") == []
        reminders = await system.events("reminder-due")
        broken.clear()
        await system.until(at("2026-03-15 11:00"))

        due = [event.subject for event in await system.events("follow-up-due")]

    assert [event.data.what for event in reminders] == ["follow-up-notice"]  # type: ignore[attr-defined]
    assert due == [first["_id"]] != [second["_id"]]


async def test_what_is_due_is_found_by_its_index(stack: Start) -> None:
    """However much lies on the agenda: the planner takes a partial index only where the query says its condition."""
    async with stack("intake") as system:
        db = system.db("intake")
        store = Store(db)
        await store.ensure_indexes()
        now = at("2026-05-06 09:00")
        far = [
            {"_id": str(n), "slot": n % SLOTS, "kind": "reminder", "next_at": now + timedelta(days=n - 5)}
            for n in range(1_000)
        ]
        await store.agenda.insert_many(far)
        await db.command("profile", 2)
        due = await store.due(range(SLOTS), now, 500)
        await db.command("profile", 0)
        looked = await db.get_collection("system.profile").find_one({"command.find": "agenda"})

    assert [one["_id"] for one in due] == ["0", "1", "2", "3", "4", "5"]
    assert looked
    assert looked["docsExamined"] == len(due)
