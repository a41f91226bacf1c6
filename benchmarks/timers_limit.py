"""The limit: a bare loop that claims what is due, publishes it and marks it, a batch at a time. It decides nothing.

GIVEN=given.json python -m benchmarks.timers_limit
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from aiokafka import AIOKafkaProducer
from motor.motor_asyncio import AsyncIOMotorClient

from benchmarks.timer_rivals.given import Given, Lot, told
from shared.contracts.types import write_time
from shared.mongo.client import Database, database

BATCH = 500
LOOKS_EVERY_SECONDS = 0.01


async def store(db: Database, lots: Sequence[Lot]) -> None:
    """Store timers with what they publish."""
    await db.timers.create_index("next_at", partialFilterExpression={"next_at": {"$type": "date"}})
    documents = ({"_id": timer, "next_at": at} for lot in lots for timer, at in lot.timers())
    while some := list(islice(documents, 5_000)):
        await db.timers.insert_many(some, ordered=False)


async def _fire(db: Database, producer: AIOKafkaProducer, given: Given, due: list[dict[str, Any]]) -> None:
    these = {"_id": {"$in": [timer["_id"] for timer in due]}}
    await db.timers.update_many(these, {"$set": {"claimed": True}}, hint="_id_")
    sent = [await producer.send(**given.record(timer["_id"], write_time(timer["next_at"]))) for timer in due]
    await asyncio.gather(*sent)
    await db.timers.update_many(these, {"$set": {"fired": True}, "$unset": {"next_at": 1}}, hint="_id_")


async def main() -> None:
    given = told()
    db = database(AsyncIOMotorClient(given.mongo, tz_aware=True), given.database)
    producer = AIOKafkaProducer(
        bootstrap_servers=given.kafka, acks="all", enable_idempotence=True, linger_ms=0
    )
    await producer.start()
    while True:
        time_has_come = {"next_at": {"$lte": datetime.now(UTC), "$type": "date"}}
        found = db.timers.find(time_has_come).sort("next_at", 1).limit(BATCH)
        if due := await found.to_list(None):
            await _fire(db, producer, given, due)
        else:
            await asyncio.sleep(LOOKS_EVERY_SECONDS)


if __name__ == "__main__":
    asyncio.run(main())
