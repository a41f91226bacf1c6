"""Apache Kafka and a MongoDB replica set together, in place of the embedded engines."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aftercare.engines import Engines
from tests.engines.kafka import KafkaCluster
from tests.engines.mongo import ReplicaSet


@asynccontextmanager
async def real_engines(brokers: int) -> AsyncIterator[Engines]:
    """So many brokers and as many members of a replica set; all that they keep is removed at the end.

    Raises EngineMissing.
    """
    with tempfile.TemporaryDirectory(prefix="aftercare-clusters-") as folder:
        # Nobody kills these brokers: one that is silent for a while has to wait for a busy machine.
        kafka = KafkaCluster(Path(folder) / "kafka", brokers, lost_after_seconds=60)
        mongo = ReplicaSet(Path(folder) / "mongo", brokers)
        try:
            kafka.start()
            mongo.start()
            yield Engines(kafka.bootstrap, mongo.url, idempotence=True, replication=min(brokers, 3))
        finally:
            kafka.stop()
            mongo.stop()
