"""The failure suite: a cluster for the whole session, and runs on it. `--events` and `--seed` say which runs.

`make test` leaves this folder out, `make test-kafka` runs it: `.venv/bin/python -m pytest tests/failure`.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from shared.clock import SystemClock
from shared.contracts.envelope import Event
from tests.builders import at
from tests.engines.kafka import KafkaCluster
from tests.engines.mongo import ReplicaSet
from tests.failure.run import Cluster, Run, running
from tests.failure.stories import Ends, as_told, expected, stories

SAID: list[str] = []
"""What happened in each run, for the end of the output: with seed and events it can be repeated."""

ONLY = ("intake", "scheduler")

Begin = Callable[..., AbstractAsyncContextManager[Run]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--events", type=int, default=20_000, help="how many input events a run of failures has")
    parser.addoption("--seed", type=int, default=1, help="of the input and of the moments of the faults")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
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


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="aftercare-failures-") as name:
        folder = Path(name)
        cluster = Cluster(KafkaCluster(folder / "kafka", 3), ReplicaSet(folder / "mongo", 3), folder)
        try:
            cluster.kafka.start()
            cluster.mongo.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def begin(cluster: Cluster, seed: int, request: pytest.FixtureRequest) -> Begin:
    """`async with begin() as run:` has intake and scheduler running, or the services named."""

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
