"""The bus: producer, topic creation, and how a FastStream subscriber is set up so that it loses nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from aiokafka import TopicPartition as Place
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.helpers import create_ssl_context
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, TopicPartition
from faststream.kafka.annotations import KafkaMessage
from faststream.security import BaseSecurity, SASLScram512

from shared.contracts.envelope import Event
from shared.contracts.topics import SERVICES, TOPICS, dead_letter_topic
from shared.messaging.progress import Progress
from shared.messaging.turn import Turn
from shared.settings import Settings

log = structlog.get_logger(__name__)

PATIENCE_MS = 3_600_000
"""How long a read waits for records; it returns as soon as there are any. After an empty one FastStream sleeps for as
long again, deaf to what arrives: so none may come back empty in ordinary life."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be published: the declared topic's name (without namespace), key, value and headers."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    @classmethod
    def of(cls, event: Event, traceparent: str | None = None) -> Outgoing:
        """The event as a record, caused in the trace of `traceparent`."""
        headers = tuple(event.headers(traceparent))
        return cls(event.topic, event.subject.encode(), event.data.to_json(), headers)


def connection(settings: Settings) -> dict[str, Any]:
    """How a client of aiokafka reaches the bus, as keyword arguments."""
    options: dict[str, Any] = {"bootstrap_servers": settings.kafka_bootstrap_servers.split(",")}
    if settings.kafka_username and settings.kafka_password:
        options |= {
            "security_protocol": "SASL_SSL" if settings.kafka_tls else "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    elif settings.kafka_tls:
        options["security_protocol"] = "SSL"
    if settings.kafka_tls:
        options["ssl_context"] = create_ssl_context()
    return options


def _security(settings: Settings) -> BaseSecurity | None:
    ssl_context = create_ssl_context() if settings.kafka_tls else None
    if settings.kafka_username and settings.kafka_password:
        return SASLScram512(
            settings.kafka_username,
            settings.kafka_password.get_secret_value(),
            ssl_context=ssl_context,
            use_ssl=settings.kafka_tls,
        )
    return BaseSecurity(ssl_context=ssl_context, use_ssl=True) if settings.kafka_tls else None


class Publisher:
    """Publishes records, each to the partition of its key, and tells where they went.

    Records of one call keep their order within a key. Returns once every broker that must hold them does.
    """

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self._settings = settings
        self._progress = progress
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect. Raises aiokafka.errors.KafkaConnectionError when no broker answers."""
        producer = AIOKafkaProducer(
            **connection(self._settings),
            acks="all",
            enable_idempotence=self._settings.kafka_idempotence,
            linger_ms=0,
            request_timeout_ms=10_000,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer

    async def stop(self) -> None:
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    @property
    def connected(self) -> bool:
        return self._producer is not None

    async def publish(self, records: Sequence[Outgoing]) -> None:
        """Publish and wait for the brokers' word. Raises aiokafka.errors.KafkaError; repeating is harmless."""
        if not records:
            return
        if self._producer is None:
            await self.start()
        assert self._producer is not None
        futures = []
        turn = Turn()
        for record in records:
            await turn.share()
            topic = self._settings.topic(record.topic)
            sending = self._producer.send(topic, record.value, key=record.key, headers=list(record.headers))
            futures.append(await sending)
        for future in futures:
            metadata = await future
            self._progress.produced(metadata.topic, metadata.partition, metadata.offset)


async def create_topics(settings: Settings) -> list[str]:
    """Create the declared topics that do not exist yet; returns their names. Existing ones are left as they are."""
    wanted = {topic.name: topic for topic in TOPICS.values()}
    new = [
        NewTopic(
            settings.topic(topic.name),
            num_partitions=settings.kafka_partitions or topic.partitions,
            replication_factor=settings.kafka_replication,
            topic_configs=_topic_configs(topic.retention_days),
        )
        for topic in wanted.values()
    ] + [
        NewTopic(
            settings.topic(dead_letter_topic(service)),
            num_partitions=1,
            replication_factor=settings.kafka_replication,
            topic_configs=_topic_configs(90),
        )
        for service in SERVICES
    ]
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [topic for topic in new if topic.name not in existing]
        if missing:
            response = await admin.create_topics(missing)
            for answer in response.topic_errors:
                error = for_code(answer[1])
                if answer[1] and error is not TopicAlreadyExistsError:
                    raise error(answer[0])
        return [topic.name for topic in missing]
    finally:
        await admin.close()


def _topic_configs(retention_days: int) -> dict[str, str]:
    """Records carry the time at which the broker took them: it refuses what a clock stamped that is an hour ahead
    (`message.timestamp.after.max.ms`), and when something happened is said in the event itself."""
    return {"retention.ms": str(retention_days * 86_400_000), "message.timestamp.type": "LogAppendTime"}


def build_broker(settings: Settings) -> KafkaBroker:
    """A FastStream broker that only consumes: publishing goes through the journal and `Publisher`."""
    return KafkaBroker(
        settings.kafka_bootstrap_servers.split(","),
        consumer_only=True,
        allow_auto_create_topics=False,
        graceful_timeout=15.0,
        security=_security(settings),
        logger=None,
    )


async def commit(message: KafkaMessage, ends: Mapping[tuple[str, int], int]) -> None:
    """Commit the offsets of a batch, `(topic, partition)` to the offset after its last record.

    A commit that fails (the partition went to another replica) is harmless: whoever reads the records again
    recognises them.
    """
    consumer = message.consumer
    assert isinstance(consumer, AIOKafkaConsumer)
    try:
        await consumer.commit(
            {Place(topic, partition): offset for (topic, partition), offset in ends.items()}
        )
    except KafkaError as error:
        log.warning("offsets could not be committed", error=type(error).__name__)


async def _without_headers(
    records: tuple[ConsumerRecord, ...], original: Callable[..., Awaitable[KafkaMessage]]
) -> KafkaMessage:
    # FastStream decodes every header as UTF-8 and would skip a batch for one that is not. Ours are read leniently,
    # record by record, by `parse_record`.
    message = await original(tuple(dataclasses.replace(record, headers=()) for record in records))
    message.raw_message = records
    return message


async def _as_it_came(message: KafkaMessage) -> Any:
    return message.body


def subscribe(
    broker: KafkaBroker,
    settings: Settings,
    group: str,
    topics: Iterable[str],
    handler: Callable[[KafkaMessage], Awaitable[None]],
    *,
    max_wait_ms: int | None = None,
) -> Any:
    """Read topics in batches of raw records; the handler itself acknowledges or rewinds. Returns the subscriber.

    The defaults of the library lose data, hence every option is named: manual acknowledgement, from the earliest
    offset, no parsing of bodies before the handler sees them.
    """
    names = [settings.topic(topic) for topic in topics]
    where: dict[str, Any] = {}
    if settings.kafka_assigned:
        where["partitions"] = [
            TopicPartition(settings.topic(topic), partition, declare=False)
            for topic in topics
            for partition in range(settings.kafka_partitions or TOPICS[topic].partitions)
        ]
        names = []
    subscriber = broker.subscriber(
        *names,
        **where,
        group_id=group,
        batch=True,
        max_records=settings.batch_records,
        batch_timeout_ms=PATIENCE_MS,
        fetch_max_wait_ms=max_wait_ms or settings.kafka_max_wait_ms,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.MANUAL,
        parser=_without_headers,
        decoder=_as_it_came,
        no_reply=True,
    )
    subscriber(handler)
    return subscriber
