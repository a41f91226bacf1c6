"""Apache Kafka in KRaft mode from its own jars: one broker or several, each of which can be killed and started again.

`make kafka` fetches the jars with Maven into `.kafka/`; Java 17 or later runs them.
"""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from aftercare.engines import EngineMissing, free_port
from tests.engines.process import Process

JARS = Path(__file__).parents[2] / ".kafka"
STARTS_WITHIN_SECONDS = 90.0

_HEAP = "-Xmx384m"
_JAVA = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")

Address = Callable[[int], tuple[str, int]]


class KafkaCluster:
    """Brokers that are controllers as well. With three, a record is there once two of them hold it."""

    def __init__(
        self,
        folder: Path,
        brokers: int = 1,
        *,
        folders: Sequence[Path] | None = None,
        advertised: Sequence[int] | None = None,
        ports: Sequence[int] | None = None,
        lost_after_seconds: int = 6,
    ) -> None:
        """`folders`: where each broker keeps its data; `advertised`: the ports that clients are told to call.

        A broker that is silent for `lost_after_seconds` counts as lost, and others lead its partitions.

        Raises EngineMissing when Java or the jars are not there.
        """
        if shutil.which("java") is None:
            raise EngineMissing("Apache Kafka needs Java 17 or later: install a JRE")
        if not any(JARS.glob("kafka_*.jar")):
            raise EngineMissing("Apache Kafka's jars are not there: run `make kafka`")
        folder.mkdir(parents=True, exist_ok=True)
        self.count = brokers
        self.ports = list(ports or (free_port() for _ in range(brokers)))
        self._controllers = [free_port() for _ in range(brokers)]
        self._among_themselves = [free_port() for _ in range(brokers)]
        self._advertised = list(advertised or self.ports)
        self._lost_after_seconds = lost_after_seconds
        self._folder = folder
        self._data = list(folders or (folder / f"data-{n}" for n in range(brokers)))
        self._id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self.brokers = [self._broker(n) for n in range(brokers)]

    @property
    def bootstrap(self) -> str:
        """Where clients begin: `host:port`, several separated by commas."""
        return ",".join(f"127.0.0.1:{port}" for port in self._advertised)

    def start(self) -> None:
        """Format what is new, start every broker, and wait until all of them take calls."""
        for n in range(self.count):
            self._format(n)
        for broker in self.brokers:
            broker.start()
        for n in range(self.count):
            self.wait_for(n)

    def wait_for(self, n: int) -> None:
        """Wait until a broker takes calls. Raises EngineMissing when it ends or does not in time."""
        deadline = time.monotonic() + STARTS_WITHIN_SECONDS
        while time.monotonic() < deadline:
            if not self.brokers[n].running:
                raise EngineMissing(f"a Kafka broker ended at once: {self.brokers[n].last_words(3)}")
            try:
                socket.create_connection(("127.0.0.1", self.ports[n]), 0.5).close()
                return
            except OSError:
                time.sleep(0.1)
        raise EngineMissing(f"a Kafka broker did not listen in time: {self.brokers[n].last_words(3)}")

    def stop(self) -> None:
        for broker in self.brokers:
            broker.kill()

    def _broker(self, n: int) -> Process:
        command = [
            *("java", _HEAP, *_JAVA, "-cp", f"{JARS}/*"),
            *("kafka.Kafka", str(self._folder / f"broker-{n}.properties")),
        ]
        return Process(f"broker {n}", command, self._folder / f"broker-{n}.log")

    def _format(self, n: int) -> None:
        copies, needed = min(self.count, 3), min(self.count, 2)
        voters = ",".join(f"{i}@127.0.0.1:{port}" for i, port in enumerate(self._controllers))
        # A listener of the brokers' own: what stands between them and their clients does not stand between them.
        told = {"CLIENTS": self._advertised[n], "BROKERS": self._among_themselves[n]}
        listeners = {**told, "CLIENTS": self.ports[n], "CONTROLLERS": self._controllers[n]}
        properties = {
            "process.roles": "broker,controller",
            "node.id": n,
            "controller.quorum.voters": voters,
            "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in listeners.items()),
            "advertised.listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in told.items()),
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in listeners),
            "inter.broker.listener.name": "BROKERS",
            "controller.listener.names": "CONTROLLERS",
            "log.dirs": self._data[n],
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": needed,
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 5,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": needed,
            "group.initial.rebalance.delay.ms": 0,
            "broker.session.timeout.ms": self._lost_after_seconds * 1_000,
            "replica.lag.time.max.ms": 10000,
        }
        path = self._folder / f"broker-{n}.properties"
        path.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        if (self._data[n] / "meta.properties").exists():
            return
        command = ["java", *_JAVA, "-cp", f"{JARS}/*", "kafka.tools.StorageTool", "format"]
        done = subprocess.run(
            [*command, f"--cluster-id={self._id}", "--config", str(path)], capture_output=True, timeout=60
        )
        if done.returncode:
            raise EngineMissing(f"Kafka could not format its folder: {done.stderr.decode()[-300:]}")


async def delete_topics(bootstrap: str, prefix: str) -> None:
    """Delete every topic whose name begins so: each one that stays takes some 30 KiB of a broker's heap."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([name for name in await admin.list_topics() if name.startswith(prefix)])
    finally:
        await admin.close()
