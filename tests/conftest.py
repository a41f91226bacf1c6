"""What the tests share: one pair of engines for the whole run, a namespace for each test, running services.

A test that needs engines asks for `stack` (services on them) or `engines` (their addresses). Where the engines
cannot run, those tests are skipped with the reason; a run with skipped tests ends with a line that says so, since a
skipped test proves nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from tests.builders import When, at

if TYPE_CHECKING:  # the fixtures import them when asked for: unit tests load neither drivers nor services
    from aftercare.engines import Engines
    from tests.system import System

Start = Callable[..., AbstractAsyncContextManager["System"]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kafka",
        type=int,
        default=0,
        metavar="BROKERS",
        help="run on Apache Kafka with so many brokers and as many MongoDB members, not on the embedded engines",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`tests/failure` takes a cluster and a quarter of an hour: it runs only where it is named."""
    failure = Path(__file__).parent / "failure"
    named = any(
        failure in (path, *path.parents)
        for path in (Path(arg.split("::")[0]).resolve() for arg in config.args)
    )
    return True if collection_path == failure and not named else None


@pytest.fixture(scope="session")
async def engines(request: pytest.FixtureRequest) -> AsyncIterator[Engines]:
    """A broker and a database, started once. They forget everything at the end."""
    from aftercare.engines import EngineMissing, embedded_engines
    from tests.engines.clusters import real_engines

    brokers = request.config.getoption("--kafka")
    try:
        context = real_engines(brokers) if brokers else embedded_engines()
        running = await context.__aenter__()
    except EngineMissing as error:
        if brokers:
            raise
        pytest.skip(str(error))
    try:
        yield running
    finally:
        await context.__aexit__(None, None, None)


@pytest.fixture
def namespace() -> str:
    """Topics, groups and databases under this name belong to one test alone."""
    return f"t-{uuid.uuid4().hex[:12]}"


@pytest.fixture
async def settings(
    request: pytest.FixtureRequest, engines: Engines, namespace: str
) -> AsyncIterator[dict[str, Any]]:
    """The settings that all services of a test share. Its topics are gone afterwards where the broker can do that."""
    from aftercare.stack import embedded_settings
    from tests.engines.kafka import delete_topics

    yield embedded_settings(engines, "tests", namespace)
    if request.config.getoption("--kafka"):
        await delete_topics(engines.kafka, namespace)


@pytest.fixture
def stack(settings: dict[str, Any]) -> Start:
    """`async with stack("intake", "scheduler", start="2026-03-02 09:00") as system:` runs those services.

    Keywords by the name of a service are settings of it alone: `stack("intake", intake={"crisis_url": ...})`.
    Entered again in the same test, it finds what the first one left in the engines, as after a restart.
    """
    from tests.system import running_system

    def start(
        *services: str, start: When = "2026-05-06 09:00", **own: dict[str, Any]
    ) -> AbstractAsyncContextManager[System]:
        return running_system(settings, services, at(start), own)

    return start


@pytest.fixture(autouse=True)
def _logs_stay() -> Iterator[None]:
    """A command that a test runs sets the logs up for itself: the next test gets its own again."""
    yield
    pytest_configure()


def pytest_configure() -> None:
    """Log lines as in production, one JSON object each: a test that searches them searches what would be shipped."""
    structlog.reset_defaults()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        cache_logger_on_first_use=False,
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.write_line(
            f"{len(skipped)} skipped: they prove nothing. The reasons are in the lines above that begin with SKIPPED.",
            yellow=True,
        )
