"""What is asked all the time is found by an index, and not by reading the agenda."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pymongo import InsertOne

from services.scheduler.domain.agenda import SLOTS, Duty, Item
from services.scheduler.store import Store
from shared.mongo.client import Database
from tests.builders import at
from tests.conftest import Start


def duty(number: int, role: str, *published: str) -> dict[str, Any]:
    what = {"rule": "handle-5wd", "clause": "F65", "subject": f"follow-up-{number}"}
    waits = {"next_at": at("2026-03-10")} if published == ("opened",) else {}
    return Duty(id=f"duty-{number}", role=role, published=published, **what, **waits).to_mongo()


async def agenda_of(db: Database) -> Store:
    """2,000 duties of which ten are late, those of another role, and facts that nobody was told of."""
    store = Store(db)
    await store.ensure_indexes()
    done = [duty(n, "psychology", "opened", "fulfilled") for n in range(2_000)]
    late = [duty(n, "psychology", "opened", "late") for n in range(2_000, 2_010)]
    others = [duty(n, "finance", "opened", "late") for n in range(3_000, 3_500)]
    waiting = [duty(n, "operations", "opened") for n in range(4_000, 4_500)]
    unknown = [duty(n, "psychology") for n in range(5_000, 5_010)]
    await db.get_collection(Item.collection).bulk_write(
        [InsertOne(one) for one in (*done, *late, *others, *waiting, *unknown)]
    )
    return store


async def explained(store: Store, query: dict[str, Any], sort: str) -> tuple[set[str], int]:
    """The indexes that a query goes by, and how many documents it reads."""
    plan = await store.agenda.find(query).sort(sort, 1).limit(100).explain()
    return set(indexes(plan["queryPlanner"]["winningPlan"])), plan["executionStats"]["totalDocsExamined"]


def indexes(stage: dict[str, Any]) -> Iterator[str]:
    if "indexName" in stage:
        yield stage["indexName"]
    for inner in (stage.get("queryPlan"), stage.get("inputStage"), *stage.get("inputStages", ())):
        if inner:
            yield from indexes(inner)


async def test_the_late_duties_of_a_role_are_found_among_all_that_were_done(stack: Start) -> None:
    async with stack("intake") as system:
        store = await agenda_of(system.db("intake"))

        found = await store.page("duty", {"role": "psychology", "state": "late"}, None, 100)
        asked = {"kind": "duty", "role": "psychology", "state": "late"}

        assert [item.id for item in found] == [f"duty-{number}" for number in range(2_000, 2_010)]
        assert await explained(store, asked, "_id") == ({"duties"}, 10)


async def test_what_is_due_is_found_by_the_index_of_the_timers(stack: Start) -> None:
    async with stack("intake") as system:
        store = await agenda_of(system.db("intake"))

        asked = {"slot": {"$in": list(range(SLOTS))}, "next_at": {"$lte": at("2026-03-10"), "$type": "date"}}

        assert await explained(store, asked, "next_at") == ({"timers"}, 100)
        assert len(await store.due(range(SLOTS), at("2026-03-10"), 100)) == 100
