"""The journal: what was handled, and what is to be published of it, written with the effect in one transaction.

Each entry leaves a seen-mark in `journal`, whose id says what it stands for: `in <source> <id>` an event taken from
the bus, `out ...` anything else that published (a timer, a command, an accepted event). What all entries of a
transaction publish lies in `outbox`, a parcel or a few for the whole batch. A parcel is published after the commit
and then marked dispatched; `run_relay` publishes what a crash left. Seen-marks are kept longer than the topics and
any replay of dead letters, so that a repetition is always recognised.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from bson import ObjectId
from motor.motor_asyncio import AsyncIOMotorClientSession
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError

from shared.messaging.bus import Outgoing, Publisher
from shared.messaging.progress import Progress
from shared.mongo.client import Database
from shared.mongo.documents import View
from shared.observability import metrics

log = structlog.get_logger(__name__)

KEEP = timedelta(days=400)
"""How long a seen-mark is kept: longer than any topic (30 days) and any dead letter (90 days, replays included)."""

RETAIN = timedelta(days=30)
"""How long a dispatched parcel is kept: as long as the topics, for a bus that has forgotten."""

LARGEST_PARCEL = 4 * 2**20
"""Bytes of records after which another parcel begins: MongoDB takes 16 MiB as one document, a record is 1 at most."""

LEFT_BEHIND = timedelta(seconds=10)
"""An undispatched parcel older than this was left by a crash, and not by a publisher that is still at it."""

MARK_AFTER_SECONDS = 0.2
"""How long a published parcel may stay unmarked. Much less than `LEFT_BEHIND`, or the relay would publish it too."""

Transaction = Callable[[AsyncIOMotorClientSession], Awaitable["Outcome"]]


@dataclass(frozen=True)
class Entry:
    """One thing that was handled, and what it publishes."""

    id: str
    records: Sequence[Outgoing] = ()
    digest: str = ""


@dataclass(frozen=True)
class Parcel:
    """Records that are published together, in their order."""

    id: ObjectId
    records: Sequence[Outgoing]


@dataclass
class Outcome:
    """What one transaction writes: changed documents, journal entries, and documents that are only ever added."""

    entries: list[Entry] = field(default_factory=list)
    view: View = field(default_factory=View)
    additions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    clients: set[str] = field(default_factory=set)
    """Of whom everything that is stored was decided upon, such as at a withdrawal of consent or an erasure."""
    counted: list[Callable[[], None]] = field(default_factory=list)
    """Metrics to be moved once the transaction stands: it may be tried several times."""
    parcels: list[Parcel] = field(default_factory=list)
    """What lies in the outbox once the transaction stands: filled in by the journal."""


def is_transient(error: Exception) -> bool:
    """Whether trying again can help: the database or the bus is away, or another writer was faster."""
    return isinstance(error, PyMongoError | KafkaError | OSError | TimeoutError)


def _is_duplicate(error: OperationFailure) -> bool:
    if isinstance(error, BulkWriteError):
        return all(failed["code"] == 11000 for failed in error.details["writeErrors"])
    return isinstance(error, DuplicateKeyError)


class Journal:
    """Commits outcomes to a service's database and publishes what they say."""

    def __init__(self, service: str, db: Database, publisher: Publisher, progress: Progress) -> None:
        self.db = db
        self._service = service
        self._publisher = publisher
        self._progress = progress
        self._marks = db.get_collection("journal")
        self._outbox = db.get_collection("outbox")
        self._guards = db.get_collection("guards")
        self._turn = asyncio.Lock()
        self._publishing: set[asyncio.Task[None]] = set()
        self._last: asyncio.Task[None] | None = None
        """Publishes what was committed last in turn."""
        self._sessions: list[AsyncIOMotorClientSession] = []
        """Those that no transaction uses now: starting and ending one for each costs two round trips to a thread."""
        self._published: list[ObjectId] = []
        self._marking: asyncio.Task[None] | None = None

    async def ensure_indexes(self) -> None:
        """Create the indexes; harmless when they exist."""
        await self._marks.create_index("expire_at", expireAfterSeconds=0)
        await self._outbox.create_index("expire_at", expireAfterSeconds=0)
        await self._outbox.create_index(
            [("at", 1), ("_id", 1)], partialFilterExpression={"dispatched": False}, name="undispatched"
        )

    async def seen(self, session: AsyncIOMotorClientSession, ids: Sequence[str]) -> dict[str, str]:
        """Which entries exist already: id to digest."""
        found = self._marks.find({"_id": {"$in": list(ids)}}, {"digest": 1}, session=session)
        return {record["_id"]: record["digest"] for record in await found.to_list(None)}

    async def transact(self, work: Transaction) -> Outcome:
        """Run `work` in a majority transaction, again where another writer was faster, then publish.

        `work` reads through the session it is given and returns what to write; it may run several times. Raises
        PyMongoError when the database is away. Once the transaction stands, publishing is tried until it succeeds.
        """
        with self._progress.busy(self._service):
            outcome = await self._until_it_stands(work)
            await self._dispatch(outcome.parcels)
        return outcome

    async def transact_then_publish(self, work: Transaction) -> tuple[Outcome, asyncio.Task[None]]:
        """As `transact`, but returns as soon as the transaction stands; the task ends when all is published."""
        with self._progress.busy(self._service):
            outcome = await self._until_it_stands(work)
            return outcome, await self._publish_soon(outcome.parcels)

    async def transact_in_turn(self, *works: Transaction) -> tuple[list[Outcome], asyncio.Task[None]]:
        """As `transact_then_publish`, one after the other: for the loop and the timers of a process, which write the
        same documents. So they never get in each other's way, and what they say goes out in the order of the
        commits, while the next transaction is already under way.

        Several works are for what concerns different subjects: they are under way together, in one turn. Where one
        fails, what the others say is published all the same before its error is raised.
        """
        async with self._turn:
            with self._progress.busy(self._service):
                ended = await asyncio.gather(
                    *(self._until_it_stands(work) for work in works), return_exceptions=True
                )
                outcomes = [outcome for outcome in ended if isinstance(outcome, Outcome)]
                parcels = [parcel for outcome in outcomes for parcel in outcome.parcels]
                self._last = await self._publish_soon(parcels, self._last)
                for failure in ended:
                    if isinstance(failure, BaseException):
                        raise failure
                return outcomes, self._last

    async def _publish_soon(
        self, parcels: Sequence[Parcel], after: asyncio.Task[None] | None = None
    ) -> asyncio.Task[None]:
        async def publish() -> None:
            with self._progress.busy(self._service):
                if after:
                    await asyncio.wait([after])
                await self._dispatch(parcels)

        publishing = asyncio.create_task(publish())
        self._publishing.add(publishing)
        publishing.add_done_callback(self._publishing.discard)
        await asyncio.sleep(0)  # the task counts as under way from here on
        return publishing

    async def commit(self, work: Transaction) -> Outcome:
        """As `transact`, without publishing: for whoever publishes in an order of its own, with `publish`."""
        with self._progress.busy(self._service):
            return await self._until_it_stands(work)

    async def publish(self, parcels: Sequence[Parcel]) -> None:
        """Publish committed parcels and mark them; tried until it succeeds."""
        with self._progress.busy(self._service):
            await self._dispatch(parcels)

    async def drain(self) -> None:
        """Wait for what is being published."""
        while self._publishing:
            await asyncio.wait(self._publishing)

    async def close(self) -> None:
        """Leave what is still being published to the relay of the next start."""
        under_way = [*self._publishing, *([self._marking] if self._marking else [])]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._mark()
        for session in self._sessions:
            await session.end_session()
        self._sessions.clear()

    async def _until_it_stands(self, work: Transaction) -> Outcome:
        while True:
            try:
                outcome = await self._commit(work)
            except OperationFailure as error:
                # A duplicate: the entry was written meanwhile, and the next reading finds it.
                if not (_is_duplicate(error) or error.has_error_label("TransientTransactionError")):
                    raise
            else:
                for count in outcome.counted:
                    count()
                return outcome
            await asyncio.sleep(random.uniform(0, 0.02))  # whoever was faster may need the moment

    async def _commit(self, work: Transaction) -> Outcome:
        session = self._sessions.pop() if self._sessions else await self.db.client.start_session()
        try:
            async with session.start_transaction():
                outcome = await work(session)
                await self._write(outcome, session)
        except BaseException:
            await session.end_session()
            raise
        self._sessions.append(session)
        return outcome

    async def _write(self, outcome: Outcome, session: AsyncIOMotorClientSession) -> None:
        now = datetime.now(UTC)
        if outcome.entries:
            marks = [
                {"_id": entry.id, "digest": entry.digest, "expire_at": now + KEEP}
                for entry in outcome.entries
            ]
            await self._marks.insert_many(marks, ordered=False, session=session)
        outcome.parcels = _parcels(outcome.entries)
        if outcome.parcels:
            await self._outbox.insert_many(
                [_stored(parcel, now) for parcel in outcome.parcels], session=session
            )
        await self._guard(outcome, session)
        for collection, documents in outcome.view.changed().items():
            operations = [
                DeleteOne({"_id": key})
                if document is None
                else ReplaceOne({"_id": key}, document.to_mongo(), upsert=True)
                for key, document in documents.items()
            ]
            await self.db.get_collection(collection).bulk_write(operations, ordered=False, session=session)
        for collection, added in outcome.additions.items():
            inserts = [InsertOne(document) for document in added]
            await self.db.get_collection(collection).bulk_write(inserts, ordered=False, session=session)

    async def _guard(self, outcome: Outcome, session: AsyncIOMotorClientSession) -> None:
        """Let those collide who add something about a client, and who at the same time decide on all there is.

        Neither writes what the other has read, so that a snapshot would let both pass: a case that is opened while
        its client is erased would stay.
        """
        clients = sorted(outcome.clients | outcome.view.clients_of_added())
        if clients:
            names = [hashlib.sha256(client.encode()).hexdigest()[:32] for client in clients]
            touches = [UpdateOne({"_id": name}, {"$inc": {"touched": 1}}, upsert=True) for name in names]
            await self._guards.bulk_write(touches, ordered=False, session=session)

    async def _dispatch(self, parcels: Sequence[Parcel]) -> None:
        """Publish in the order of the entries, hence in the order of each key, and mark as dispatched."""
        records = [record for parcel in parcels for record in parcel.records]
        if not records:
            return
        delay = 0.1
        while True:
            try:
                await self._publisher.publish(records)
                break
            except (KafkaError, OSError) as error:
                # Nothing later may overtake these records, so nothing else is handled until they are out.
                log.warning("publishing waits for the bus", service=self._service, error=type(error).__name__)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)
        for topic, count in Counter(record.topic for record in records).items():
            metrics.EVENTS_PUBLISHED.labels(self._service, topic).inc(count)
        self._published += [parcel.id for parcel in parcels]
        if self._marking is None or self._marking.done():
            self._marking = asyncio.create_task(self._mark_soon())

    async def _mark_soon(self) -> None:
        """Mark what was published, a moment later and all at once: nobody waits for the marks."""
        await asyncio.sleep(MARK_AFTER_SECONDS)
        await self._mark()

    async def _mark(self) -> None:
        ids, self._published = self._published, []
        if not ids:
            return
        try:
            # Without the hint the planner takes another index for the update and is 60 times slower.
            await self._outbox.update_many(
                {"_id": {"$in": ids}},
                {"$set": {"dispatched": True, "expire_at": datetime.now(UTC) + RETAIN}},
                hint="_id_",
            )
        except PyMongoError as error:
            # Safe because the relay publishes them once more and every consumer recognises a repetition.
            log.warning("marking as dispatched failed", service=self._service, error=type(error).__name__)

    async def relay(self, older_than: timedelta = LEFT_BEHIND) -> int:
        """Publish what a crash left undispatched, oldest first; returns the number of records."""
        await self._mark()
        now = datetime.now(UTC)
        # What lies ahead of us was left as well, by a replica whose clock ran ahead: it would wait for that time.
        due = [{"at": {"$lte": now - older_than}}, {"at": {"$gt": now + LEFT_BEHIND}}]
        left = self._outbox.find({"dispatched": False, "$or": due}).sort(_IN_ORDER).limit(10)
        parcels = [_read(stored) for stored in await left.to_list(None)]
        with self._progress.busy(self._service):
            await self._dispatch(parcels)
        count = sum(len(parcel.records) for parcel in parcels)
        if count:
            metrics.EVENTS_RELAYED.labels(self._service).inc(count)
            log.info("relayed what was left undispatched", service=self._service, records=count)
        return count

    async def publish_again(self) -> int:
        """Publish every retained record once more, for a bus that has forgotten (an empty broker)."""
        count = 0
        async for stored in self._outbox.find({"at": {"$gte": datetime.now(UTC) - RETAIN}}).sort(_IN_ORDER):
            records = _read(stored).records
            await self._publisher.publish(records)
            count += len(records)
        return count


_IN_ORDER = [("at", 1), ("_id", 1)]
"""In which parcels were written: the ids of one process count up."""


def _parcels(entries: Sequence[Entry]) -> list[Parcel]:
    parcels: list[Parcel] = []
    records: list[Outgoing] = []
    size = 0
    for record in (record for entry in entries for record in entry.records):
        records.append(record)
        size += len(record.value)
        if size >= LARGEST_PARCEL:
            parcels.append(Parcel(ObjectId(), records))
            records, size = [], 0
    return [*parcels, Parcel(ObjectId(), records)] if records else parcels


def _stored(parcel: Parcel, now: datetime) -> dict[str, Any]:
    return {
        "_id": parcel.id,
        "at": now,
        "dispatched": False,
        "records": [
            {"topic": record.topic, "key": record.key, "value": record.value, "headers": dict(record.headers)}
            for record in parcel.records
        ],
    }


def _read(stored: dict[str, Any]) -> Parcel:
    records = [
        Outgoing(
            record["topic"],
            bytes(record["key"]),
            bytes(record["value"]),
            tuple((name, bytes(value)) for name, value in record["headers"].items()),
        )
        for record in stored["records"]
    ]
    return Parcel(stored["_id"], records)


async def run_relay(journal: Journal, every_seconds: float = 5.0) -> None:
    """Publish what was left behind, for ever. A database that is away is waited for."""
    while True:
        try:
            while await journal.relay():
                pass
        except PyMongoError as error:
            log.warning("the relay waits for the database", error=type(error).__name__)
        await asyncio.sleep(every_seconds)


__all__ = ["Entry", "Journal", "Outcome", "Parcel", "is_transient", "run_relay"]
