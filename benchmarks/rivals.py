"""What Aftercare is measured against: the same hops and documents without its logic, in two ways.

`bulk`: bare aiokafka, and one bulk transaction for a batch. As fast as it gets with these libraries.
`single`: the straightforward way. FastStream hands over one message at a time, each with a transaction of its own.

Both write for each event what an exactly-once effect needs: a seen-mark, a state document and an outgoing record, and
mark that record once it is published. The first hop reads the company's topics and publishes one `case-classified`
for each event; the second reads these as well, keeps one follow-up for each of them, under the indexes that the
scheduler's agenda has, and publishes one `follow-up-planned`. (The scheduler keeps nearly two items for each event.)

    python -m benchmarks.rivals bulk 1 SETTINGS
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage
from pymongo import InsertOne, ReplaceOne

from benchmarks.load import TOPICS
from services.scheduler.store import Store
from shared.mongo.client import Database, connect, database
from shared.settings import Settings

READS = {1: TOPICS, 2: (*TOPICS, "case-classified")}
PUBLISHES = {1: "case-classified", 2: "follow-up-planned"}
BATCH = 500

_producer: AIOKafkaProducer
_db: Database
_settings: Settings
_hop: int


def _answers(record: ConsumerRecord) -> bool:
    """Whether something is published for it: the second hop only keeps what the company's systems said."""
    return _hop == 1 or bool(record.topic == _settings.topic("case-classified"))


def _seen(record: ConsumerRecord) -> dict[str, Any]:
    return {"_id": f"{record.topic} {record.partition} {record.offset}", "digest": "0" * 64}


def _state(record: ConsumerRecord) -> dict[str, Any]:
    return {"_id": record.key.decode(), **json.loads(record.value)}


def _outgoing(record: ConsumerRecord) -> dict[str, Any]:
    return {
        "_id": f"{record.topic} {record.partition} {record.offset}",
        "at": datetime.now(UTC),
        "dispatched": False,
        "key": record.key,
        "value": record.value,
        "headers": dict(record.headers),
    }


def _follow_up(record: ConsumerRecord) -> dict[str, Any]:
    name = f"{record.topic} {record.partition} {record.offset}"
    body = json.loads(record.value)
    timer = {"slot": record.offset % 64, "next_at": datetime.now(UTC), "kind": "follow-up", "subject": name}
    return {"_id": name, **timer, **body}


async def _publish(records: Sequence[ConsumerRecord]) -> None:
    topic = _settings.topic(PUBLISHES[_hop])
    sent = [
        await _producer.send(topic, record.value, key=record.key, headers=list(record.headers))
        for record in records
    ]
    await asyncio.gather(*sent)


async def _settle(records: Sequence[ConsumerRecord]) -> None:
    """The documents of some records in one transaction, then the records that follow from them."""
    answered = [record for record in records if _answers(record)]
    async with await _db.client.start_session() as session, session.start_transaction():
        await _db.seen.bulk_write([InsertOne(_seen(r)) for r in records], ordered=False, session=session)
        states = {
            state["_id"]: ReplaceOne({"_id": state["_id"]}, state, upsert=True)
            for state in map(_state, records)
        }
        await _db.state.bulk_write(list(states.values()), ordered=False, session=session)
        if answered and _hop == 2:
            follow_ups = [InsertOne(_follow_up(record)) for record in answered]
            await _db.agenda.bulk_write(follow_ups, ordered=False, session=session)
        if answered:
            await _db.outbox.bulk_write(
                [InsertOne(_outgoing(record)) for record in answered], ordered=False, session=session
            )
    if answered:
        await _publish(answered)
        ids = [_outgoing(record)["_id"] for record in answered]
        await _db.outbox.update_many({"_id": {"$in": ids}}, {"$set": {"dispatched": True}}, hint="_id_")


async def bulk() -> None:
    consumer = AIOKafkaConsumer(
        *(_settings.topic(name) for name in READS[_hop]),
        bootstrap_servers=_settings.kafka_bootstrap_servers,
        group_id=_settings.group(f"rival-{_hop}"),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=100,
    )
    await consumer.start()
    while True:
        taken = await consumer.getmany(timeout_ms=1000, max_records=BATCH)
        if not taken:
            continue
        await _settle([record for records in taken.values() for record in records])
        await consumer.commit({place: records[-1].offset + 1 for place, records in taken.items()})


async def single() -> None:
    broker = KafkaBroker(_settings.kafka_bootstrap_servers, logger=None)
    subscriber = broker.subscriber(
        *(_settings.topic(name) for name in READS[_hop]),
        group_id=_settings.group(f"rival-{_hop}"),
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
    )

    @subscriber
    async def handle(body: Any, message: KafkaMessage) -> None:
        await _settle([message.raw_message])

    await FastStream(broker).run()


async def main(way: str, hop: int, settings: Settings) -> None:
    global _producer, _db, _settings, _hop
    _settings, _hop = settings, hop
    _db = database(connect(settings), settings.database(f"rival-{hop}"))
    for name in ("seen", "state", "outbox", "agenda"):
        await _db.create_collection(name)
    await Store(_db).ensure_indexes()
    _producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap_servers, acks="all", enable_idempotence=True, linger_ms=0
    )
    await _producer.start()
    await {"bulk": bulk, "single": single}[way]()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Settings(**json.loads(sys.argv[3]))))
