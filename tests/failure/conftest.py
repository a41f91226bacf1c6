"""The failure suite: a cluster for the whole session, and runs on it. `--events` and `--seed` say which runs.

`make test` leaves this folder out, `make test-kafka` runs it: `.venv/bin/python -m pytest tests/failure`.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from shared.clock import SystemClock
from shared.contracts.envelope import Event
from tests.builders import at
from tests.engines.kafka import KafkaCluster
from tests.engines.mongo import ReplicaSet
from tests.engines.proxy import Proxy
from tests.failure.run import Cluster, Run, running
from tests.failure.stories import Ends, as_told, expected, stories

SAID: list[str] = []
"""What happened in each run, for the end of the output: with seed and events it can be repeated."""

DISK_BYTES = 1_500_000_000
ONLY = ("intake", "scheduler")

Begin = Callable[..., AbstractAsyncContextManager[Run]]


logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # brokers that are away are what we are here for


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--events", type=int, default=20_000, help="how many input events a run of failures has")
    parser.addoption(
        "--backlog", type=int, default=100_000, help="how many events wait on the bus before services start"
    )
    parser.addoption(
        "--engines", type=int, default=3, help="how many brokers and members of MongoDB the backlog runs on"
    )
    parser.addoption(
        "--rate", type=float, default=5.0, help="so many seconds of an hour of crises pass in one of ours"
    )
    parser.addoption("--seed", type=int, default=1, help="of the input and of the moments of the faults")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))


class Told:
    """The input of all runs, and what must come of it."""

    def __init__(self, seed: int, events: int) -> None:
        now = SystemClock().now()
        today: datetime = at(f"{now:%Y-%m-%d} 00:00")
        self.stories: Sequence[Sequence[Event]] = stories(seed, events, today)
        self.events = as_told(self.stories, seed)
        self.ends: Ends = expected(self.stories, now)


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--seed"))


@pytest.fixture(scope="session")
def told(request: pytest.FixtureRequest, seed: int) -> Told:
    return Told(seed, int(request.config.getoption("--events")))


@dataclass
class Disk:
    """The small disk of broker 2, or why there is none."""

    folder: Path | None = None
    why_not: str = ""


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="aftercare-failures-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def disk(folder: Path) -> Iterator[Disk]:
    small = folder / "small-disk"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(small)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except OSError as error:
        yield Disk(why_not=f"mount: {error.strerror}")
        return
    if done.returncode:
        yield Disk(why_not=done.stderr.strip())
        return
    try:
        yield Disk(small)
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


@pytest.fixture(scope="session")
def cluster(folder: Path, disk: Disk) -> Iterator[Cluster]:
    small = disk.folder or folder
    folders = [folder / "data-0", folder / "data-1", small / "data-2"]
    cluster = Cluster(
        KafkaCluster(folder / "kafka", 3, folders=folders), ReplicaSet(folder / "mongo", 3), folder
    )
    try:
        cluster.kafka.start()
        cluster.mongo.start()
        yield cluster
    finally:
        cluster.stop()


@dataclass
class Networked:
    """A cluster of its own behind proxies. Brokers reach each other past them, members through them."""

    cluster: Cluster
    kafka: Sequence[Proxy]
    mongo: Sequence[Proxy]


@pytest.fixture
async def networked(folder: Path) -> AsyncIterator[Networked]:
    kafka, mongo = [Proxy() for _ in range(3)], [Proxy() for _ in range(3)]
    mine = Path(tempfile.mkdtemp(dir=folder))  # members that were one set before cannot become one again
    brokers = KafkaCluster(mine / "kafka", 3, advertised=[proxy.port for proxy in kafka])
    members = ReplicaSet(mine / "mongo", 3, advertised=[proxy.port for proxy in mongo])
    for proxy, port in zip([*kafka, *mongo], [*brokers.ports, *members.ports], strict=True):
        proxy.target = port
        await proxy.start()
    cluster = Cluster(brokers, members, mine)
    try:
        await asyncio.to_thread(brokers.start)
        await asyncio.to_thread(members.start)
        yield Networked(cluster, kafka, mongo)
    finally:
        cluster.stop()
        for proxy in (*kafka, *mongo):
            await proxy.stop()


@pytest.fixture
def begin(cluster: Cluster, seed: int, request: pytest.FixtureRequest) -> Begin:
    """`async with begin() as run:` has intake and scheduler running, or the services named; `own` as in `running`."""

    @asynccontextmanager
    async def start(
        services: Sequence[str] = ONLY, on: Cluster | None = None, **own: Any
    ) -> AsyncIterator[Run]:
        name = request.node.name.removeprefix("test_")
        began = time.monotonic()
        async with running(name, on or cluster, f"f-{uuid.uuid4().hex[:8]}", seed, services, **own) as run:
            try:
                yield run
            finally:
                SAID.append(f"{name}: {len(run.input)} events, seed {seed}, {time.monotonic() - began:.0f} s")
                SAID.extend(f"  {line}" for line in run.said)

    return start


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for line in SAID:
        terminalreporter.write_line(line)
    events, seed = config.getoption("--events"), config.getoption("--seed")
    terminalreporter.write_line(f"each run: {events} input events (--events) from seed {seed} (--seed)")
