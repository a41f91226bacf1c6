"""How a contender publishes: every record by itself, acknowledged by all that must hold it."""

from __future__ import annotations

import threading

from aiokafka import AIOKafkaProducer
from confluent_kafka import KafkaError, Message, Producer
from given import Given


class Publishing:
    """Publishes one record at a time, for whatever runs a timer in a thread or process."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._producer = Producer(
            {
                "bootstrap.servers": given.kafka,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 0,
            }
        )
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        while True:
            self._producer.poll(1.0)

    def publish(self, timer: str, at: str) -> None:
        """Returns once the broker has the record. Raises RuntimeError where it has not."""
        answered = threading.Event()
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            failed.extend([error] if error else [])
            answered.set()

        self._producer.produce(on_delivery=delivered, **self._given.record(timer, at))
        answered.wait()
        if failed:
            raise RuntimeError(f"not published: {failed[0].str()}")


class AsyncPublishing:
    """The same for whatever runs timers as coroutines."""

    def __init__(self, given: Given) -> None:
        self._given = given
        self._producer: AIOKafkaProducer | None = None

    async def publish(self, timer: str, at: str) -> None:
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self._given.kafka, acks="all", enable_idempotence=True, linger_ms=0
            )
            await self._producer.start()
        await self._producer.send_and_wait(**self._given.record(timer, at))
