"""Crisis flags from the bus, by a consumer of their own: each record pages at once, readable or not.

The consumer runs without the database and goes on whatever comes. A record's offset is committed once its flag is
written down, so a crash brings the flag again and never loses it; whatever was paged twice joins the same incident.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from services.crisis import domain
from services.crisis.domain import Flag
from services.crisis.keeper import SERVICE, Letter
from services.crisis.pager import Pager, Raised
from shared.clock import Clock
from shared.contracts.envelope import Refused, parse_record
from shared.contracts.events import CrisisFlagged
from shared.contracts.topics import TOPICS
from shared.messaging.bus import PATIENCE_MS, connection
from shared.messaging.progress import Progress
from shared.observability import metrics
from shared.settings import Settings

log = structlog.get_logger(__name__)

TOPIC = "crisis-flagged"
MAX_WAIT_MS = 10
"""How long the broker may hold back a fetch: this alone is half of the time from flag to page."""
LOADED_WITHIN_SECONDS = 3.0
"""So long the stored incidents are waited for at the start, or old flags of an emptied bus would page again."""


class Offsets:
    """Which offset of a partition may be committed: the first that is not settled."""

    def __init__(self) -> None:
        self._pending: dict[TopicPartition, dict[int, bool]] = {}

    def begin(self, place: TopicPartition, offset: int) -> None:
        self._pending.setdefault(place, {})[offset] = False

    def settle(self, place: TopicPartition, offset: int) -> int | None:
        """Mark as settled. Returns the offset to commit if it moved on."""
        pending = self._pending[place]
        pending[offset] = True
        commit = None
        while pending and pending[first := next(iter(pending))]:  # they began in their order
            del pending[first]
            commit = first + 1
        return commit


class FlagReader:
    """Reads `crisis-flagged`."""

    def __init__(self, settings: Settings, pager: Pager, clock: Clock, progress: Progress) -> None:
        self.group = f"{settings.group(SERVICE)}-flags"
        self.reading = False
        self.started = asyncio.Event()
        """Set once the consumer has been connected for the first time."""
        self._settings = settings
        self._pager = pager
        self._clock = clock
        self._progress = progress
        self._offsets = Offsets()
        self._commits: dict[TopicPartition, int] = {}
        """The offset to be committed next, for each partition."""
        self._to_commit = asyncio.Event()
        self._reader: AIOKafkaConsumer | None = None
        """The consumer that reads now: one before it may have been stopped, and would try for ever to commit."""
        progress.reads(self.group, [settings.topic(TOPIC)])

    async def run(self, loaded: Callable[[], Awaitable[object]]) -> None:
        """Read until cancelled. Raises KafkaError when no broker answers at the start."""
        try:
            async with asyncio.timeout(LOADED_WITHIN_SECONDS):
                await loaded()
        except TimeoutError:
            log.warning("reading flags without the stored incidents: the database does not answer")
        consumer = self._reader = self._consumer()
        # What another consumer had taken and not committed comes again to this one.
        self._offsets, self._commits = Offsets(), {}
        try:
            await consumer.start()
            self.reading = True
            self.started.set()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._commit_for_ever(consumer))
                while True:
                    self.take(consumer, await consumer.getmany(timeout_ms=PATIENCE_MS))
        finally:
            self.reading = False
            await consumer.stop()

    def _consumer(self) -> AIOKafkaConsumer:
        # Bare: what a framework does around each batch costs as much as all that we do before a page leaves.
        topic = self._settings.topic(TOPIC)
        consumer = AIOKafkaConsumer(
            **connection(self._settings),
            group_id=self.group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=MAX_WAIT_MS,
        )
        if self._settings.kafka_assigned:
            partitions = self._settings.kafka_partitions or TOPICS[TOPIC].partitions
            consumer.assign([TopicPartition(topic, number) for number in range(partitions)])
        else:
            consumer.subscribe([topic])
        return consumer

    async def wait_started(self) -> None:
        """Wait until flags are read."""
        await self.started.wait()

    def take(
        self, consumer: AIOKafkaConsumer, batch: Mapping[TopicPartition, Sequence[ConsumerRecord]]
    ) -> None:
        """Page for each record and return: the next batch waits for nothing."""
        with self._progress.busy(SERVICE):
            for place, records in batch.items():
                for record in records:
                    self._offsets.begin(place, record.offset)
                    stored = self._raise(record).stored
                    # No task and no record is kept for each: without the database very many may wait.
                    settle = partial(self._settle, consumer, place, record.offset)
                    if stored is None:
                        settle()
                    else:
                        stored.add_done_callback(settle)

    def _raise(self, record: ConsumerRecord) -> Raised:
        now = self._clock.now()
        try:
            event = parse_record(TOPIC, record.headers, record.value, now)
            assert isinstance(event.data, CrisisFlagged)
            flag = domain.read_flag(event, event.data, now)
            if self._pager.board.is_reused(flag):
                raise Refused("id-reused", "id", "a flag with this source and id said something else before")
        except Refused as refusal:
            return self._raise_unreadable(record, refusal)
        except Exception as error:  # whatever it is, somebody may be in danger
            log.error("reading a flag failed", error=type(error).__name__)
            return self._raise_unreadable(record, Refused("handler-error", "", "reading the flag failed"))
        metrics.FLAGS.labels("bus", "read").inc()
        return self._pager.raise_flag(flag)

    def _raise_unreadable(self, record: ConsumerRecord, refusal: Refused) -> Raised:
        origin = f"{record.topic}[{record.partition}]@{record.offset}"
        flag = domain.unreadable_flag(f"{origin} {record.timestamp}", origin, self._clock.now())
        metrics.FLAGS.labels("bus", "unreadable").inc()
        return self._pager.raise_flag(flag, (record, refusal))

    def _settle(
        self,
        consumer: AIOKafkaConsumer,
        place: TopicPartition,
        offset: int,
        _: asyncio.Future[None] | None = None,
    ) -> None:
        if consumer is not self._reader:
            return
        commit = self._offsets.settle(place, offset)
        if commit is not None:
            self._commits[place] = commit
            self._to_commit.set()

    async def _commit_for_ever(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await self._to_commit.wait()
            self._to_commit.clear()
            commits, self._commits = self._commits, {}
            for place, offset in commits.items():
                await self._commit(consumer, place, offset)

    async def _commit(self, consumer: AIOKafkaConsumer, place: TopicPartition, offset: int) -> None:
        try:
            await consumer.commit({place: offset})
        except (KafkaError, OSError) as error:
            # Safe because the records come again and their flags are known.
            log.warning("committing flags failed", error=type(error).__name__)
            return
        self._progress.committed(self.group, place.topic, place.partition, offset)


def unreadable_over_http(body: bytes, refusal: Refused, clock: Clock) -> tuple[Flag, Letter]:
    """The flag and the dead letter of a request body that could not be read.

    The same body within ten minutes is the same flag (a caller that tries again); later it may be about another person.
    """
    digest = hashlib.sha256(body).hexdigest()
    now = clock.now()
    record = ConsumerRecord(
        topic="http:/v1/crises", partition=0, offset=0, timestamp=int(digest[:12], 16), timestamp_type=0,
        key=None, value=body, checksum=None, serialized_key_size=-1, serialized_value_size=len(body), headers=(),
    )  # fmt: skip
    identity = f"http {digest} {int(now.timestamp()) // 600}"
    return domain.unreadable_flag(identity, "http", now), (record, refusal)
