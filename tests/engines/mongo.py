"""A MongoDB replica set of several members, each of which can be killed and started again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from aftercare.engines import EngineMissing, free_port, mongod
from tests.engines.process import Process

STARTS_WITHIN_SECONDS = 60.0
LIFETIME_SECONDS = 20
"""Of a transaction whose process was killed: so long nobody else can write what it wrote (deploy/k8s/README.md)."""


class ReplicaSet:
    """Members named `rs0`; an election takes a second or two."""

    def __init__(
        self,
        folder: Path,
        members: int = 3,
        *,
        advertised: Sequence[int] | None = None,
        cache_gb: float = 0.5,
    ) -> None:
        """`advertised`: the ports that clients (and the members) are told to call. Raises EngineMissing."""
        folder.mkdir(parents=True, exist_ok=True)
        self.ports = [free_port() for _ in range(members)]
        self._advertised = list(advertised or self.ports)
        self.members = [self._member(folder, n, cache_gb) for n in range(members)]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self._advertised)
        return f"mongodb://{hosts}/?replicaSet=rs0"

    def start(self) -> None:
        """Start every member, make them one set, and wait for its primary."""
        for member in self.members:
            member.start()
        for n in range(len(self.members)):
            with self._client(n) as client:
                client.admin.command("ping")
        hosts = [{"_id": n, "host": f"127.0.0.1:{port}"} for n, port in enumerate(self._advertised)]
        settings = {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 500}
        with self._client(0) as client:
            client.admin.command("replSetInitiate", {"_id": "rs0", "members": hosts, "settings": settings})
        self.primary()

    def primary(self) -> int:
        """Which member is the primary now; waits for one. Raises EngineMissing when there is none in time."""
        deadline = time.monotonic() + STARTS_WITHIN_SECONDS
        while time.monotonic() < deadline:
            for n, member in enumerate(self.members):
                if not member.running:
                    continue
                with contextlib.suppress(PyMongoError), self._client(n, 500) as client:
                    if client.admin.command("hello").get("isWritablePrimary"):
                        return n
            time.sleep(0.1)
        raise EngineMissing("the replica set has no primary: " + self.members[0].last_words(3))

    def stop(self) -> None:
        for member in self.members:
            member.kill()

    def _client(self, n: int, wait_ms: int = 30_000) -> MongoClient[dict[str, Any]]:
        return MongoClient(
            f"mongodb://127.0.0.1:{self.ports[n]}/", directConnection=True, serverSelectionTimeoutMS=wait_ms
        )

    def _member(self, folder: Path, n: int, cache_gb: float) -> Process:
        data = folder / f"member-{n}"
        data.mkdir(parents=True, exist_ok=True)
        command = [
            str(mongod()),
            *("--dbpath", str(data), "--port", str(self.ports[n]), "--bind_ip", "127.0.0.1"),
            *(
                "--replSet",
                "rs0",
                "--wiredTigerCacheSizeGB",
                str(cache_gb),
                "--oplogSize",
                "256",
                "--nounixsocket",
            ),
            *("--quiet", "--setParameter", "diagnosticDataCollectionEnabled=false"),
            *("--setParameter", f"transactionLifetimeLimitSeconds={LIFETIME_SECONDS}"),
        ]
        return Process(f"member {n}", command, folder / f"member-{n}.log")
