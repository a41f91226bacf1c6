"""The life of a service: it starts at once, brings its connections up in the background, and drains at the end.

A service answers `/healthz` from its first moment, and says in `/readyz` what it still waits for. It never needs
its dependencies to start: the ones that are away are waited for (design: a loop that waits is alive).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pymongo.errors import PyMongoError

from shared.clock import Clock, DatabaseClock
from shared.contracts.asyncapi import asyncapi_document
from shared.contracts.topics import consumed_by
from shared.messaging.bus import Publisher, build_broker, subscribe
from shared.messaging.dead_letters import DeadLetters
from shared.messaging.loop import AfterBatch, ReactionLoop, Reactions
from shared.messaging.progress import Progress
from shared.mongo.access_log import AccessLog
from shared.mongo.client import connect, database
from shared.mongo.encryption import Vault, master_key
from shared.mongo.journal import Journal, run_relay
from shared.mongo.time import follow_server_time, set_clock
from shared.settings import Settings
from shared.web import access_log, problems
from shared.web.auth import Authenticator

log = structlog.get_logger(__name__)

STUCK_SECONDS = 300.0
"""A batch that takes longer than this without waiting for a dependency means that the loop is stuck."""

DRAIN_SECONDS = 5.0


class Runtime:
    """Everything a service is wired from: connections, journal, loop, background tasks."""

    def __init__(self, service: str, settings: Settings, clock: Clock, progress: Progress) -> None:
        self.service = service
        self.settings = settings
        self.clock = clock
        self.progress = progress
        self.client = connect(settings)
        self.db = database(self.client, settings.database(service))
        self.publisher = Publisher(settings, progress)
        self.journal = Journal(service, self.db, self.publisher, progress)
        key = settings.master_key.get_secret_value() if settings.master_key else None
        self.vault = Vault(self.db, master_key(key))
        self.dead_letters = DeadLetters(service, self.vault)
        self.access_log = AccessLog(self.db)
        self.broker = build_broker(settings)
        self.loop: ReactionLoop | None = None
        self.connected = asyncio.Event()
        """Set once database and bus have been reached and events are read."""
        self.draining = asyncio.Event()
        """Set once the service is told to stop: answers that would go on for ever end."""
        self.preparations: list[Callable[[], Awaitable[None]]] = [
            self.journal.ensure_indexes,
            self.vault.ensure_indexes,
            self.access_log.ensure_indexes,
        ]
        """Run once, as soon as the database answers: indexes, first documents."""
        self._ending = {f"{service} bring-up"}
        """The tasks that end once their work is done."""
        self._later: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._at_once: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        if isinstance(clock, DatabaseClock):
            self.preparations.append(partial(set_clock, clock, self.db))
            self.run("clock", partial(follow_server_time, clock, self.db), at_once=True)
        self._tasks: list[asyncio.Task[None]] = []
        self._http: list[httpx.AsyncClient] = []
        self._subscribers: list[tuple[str, Any]] = []

    def react(
        self,
        reactions: Reactions,
        topics: Sequence[str] | None = None,
        after_batch: AfterBatch | None = None,
    ) -> ReactionLoop:
        """Handle the topics that the service reads (or those named) with the event loop."""
        self.loop = ReactionLoop(
            self.service,
            self.settings,
            reactions,
            self.journal,
            self.dead_letters,
            self.clock,
            self.progress,
            after_batch,
        )
        self.consume(self.loop.group, topics or consumed_by(self.service), self.loop.on_batch)
        return self.loop

    def consume(
        self,
        group: str,
        topics: Sequence[str],
        handler: Callable[[Any], Awaitable[None]],
        max_wait_ms: int | None = None,
    ) -> None:
        """Read topics with a handler of one's own."""
        subscriber = subscribe(self.broker, self.settings, group, topics, handler, max_wait_ms=max_wait_ms)
        self._subscribers.append((group, subscriber))
        self.progress.reads(group, [self.settings.topic(topic) for topic in topics])

    def run(
        self, name: str, task: Callable[[], Awaitable[None]], *, at_once: bool = False, ends: bool = False
    ) -> None:
        """Keep a task running for as long as the service lives, or until its work is done (`ends`): from when the
        service is connected, or `at_once`."""
        if ends:
            self._ending.add(f"{self.service} {name}")
        (self._at_once if at_once else self._later).append((name, task))

    def closes(self, http: httpx.AsyncClient) -> None:
        """Close this client when the service ends."""
        self._http.append(http)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        self._start([*self._at_once, ("bring-up", self._bring_up)])
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._drain()
            await self.broker.stop()
            await self.journal.close()
            await self.publisher.stop()
            await self.vault.close()
            for http in self._http:
                await http.aclose()
            self.client.close()

    async def _drain(self) -> None:
        """Let what is under way be published and committed; a bus that is away is not waited for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                if self.loop:
                    await self.loop.drain()
                await self.journal.drain()

    def _start(self, tasks: Sequence[tuple[str, Callable[[], Awaitable[None]]]]) -> None:
        for name, work in tasks:
            keep = self._once(work) if name == "bring-up" else self._forever(name, work)
            self._tasks.append(asyncio.create_task(keep, name=f"{self.service} {name}"))

    @staticmethod
    async def _once(work: Callable[[], Awaitable[None]]) -> None:
        await work()

    async def _forever(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        delay = 0.1
        while True:
            began = time.monotonic()
            try:
                await work()
                return
            except (PyMongoError, KafkaError, OSError) as error:
                log.warning("a task waits for a dependency", task=name, error=type(error).__name__)
            except Exception:
                log.exception("a task failed and is started again", task=name)
            delay = 0.1 if time.monotonic() - began > 60 else min(delay * 2, 10.0)
            await asyncio.sleep(delay)

    async def _bring_up(self) -> None:
        for prepare in self.preparations:
            await self._until_it_works("database", prepare)
        await self._until_it_works("bus", self._connect_bus)
        self._start([("relay", lambda: run_relay(self.journal)), *self._later])
        self.connected.set()
        log.info("connected", service=self.service)

    async def _connect_bus(self) -> None:
        if not self.publisher.connected:
            await self.publisher.start()
        # What a crash left goes out before anything new of the same key does.
        while await self.journal.relay(timedelta()):
            pass
        try:
            await self.broker.start()
        except BaseException:
            await self.broker.stop()
            raise

    async def _until_it_works(self, what: str, step: Callable[[], Awaitable[None]]) -> None:
        delay = 0.1
        while True:
            try:
                await step()
                return
            except (PyMongoError, KafkaError, OSError) as error:
                log.warning(f"waiting for the {what}", service=self.service, error=type(error).__name__)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)

    def consumers(self) -> list[tuple[str, AIOKafkaConsumer | None]]:
        """Each consumer group's own consumer; None while it is not connected."""
        return [(group, subscriber.consumer) for group, subscriber in self._subscribers]

    def alive(self) -> dict[str, bool]:
        """Whether each background task runs, or has done its work, and the loop moves or waits for a dependency."""
        checks = {
            task.get_name(): not task.done()
            for task in self._tasks
            if task.get_name() not in self._ending or not self.connected.is_set()
        }
        if self.loop and self.loop.started_at is not None and not self.loop.waiting:
            checks["loop moves"] = time.monotonic() - self.loop.started_at < STUCK_SECONDS
        return checks

    async def reachable(self) -> dict[str, bool]:
        """Whether the bus, the database and a share of the partitions are there."""
        consumers = [consumer for _, consumer in self.consumers()]
        return {
            "database": await self._database_answers(),
            "bus": self.connected.is_set() and await self._bus_answers(consumers),
            "assignment": all(consumer is not None and consumer.assignment() for consumer in consumers),
            "not halted": not (self.loop and self.loop.halted),
        }

    @staticmethod
    async def _bus_answers(consumers: Sequence[AIOKafkaConsumer | None]) -> bool:
        """Whether the broker that leads a partition of ours answers now, and not only once at the start."""
        for consumer in consumers:
            if consumer is None:
                return False
            places = sorted(consumer.assignment())[:1]
            try:
                async with asyncio.timeout(2):
                    await consumer.end_offsets(places)
            except (KafkaError, OSError, TimeoutError):
                return False
        return True

    async def _database_answers(self) -> bool:
        try:
            async with asyncio.timeout(2):
                await self.db.command("ping")
        except (PyMongoError, TimeoutError):
            return False
        return True


Readiness = Callable[[Runtime], Awaitable[dict[str, bool]]]


async def _all_reachable(runtime: Runtime) -> dict[str, bool]:
    return {"connected": runtime.connected.is_set()} | await runtime.reachable()


def create_app(
    runtime: Runtime,
    title: str,
    *,
    required: Readiness = _all_reachable,
    large_bodies: frozenset[str] = frozenset(),
) -> FastAPI:
    """An application with health, metrics, documentation, problem documents and the access log. `required` decides
    readiness; the routes at `large_bodies` limit what they read by themselves (bodies.py)."""
    app = FastAPI(
        title=title,
        version="1",
        lifespan=runtime.lifespan,
        docs_url="/docs",
        redoc_url=None,
    )
    app.state.runtime = runtime
    app.state.authenticator = Authenticator(runtime.settings)
    app.add_middleware(problems.BodyLimit, aside=large_bodies)
    problems.install(app)
    app.include_router(access_log.routes(runtime.access_log))
    FastAPIInstrumentor.instrument_app(app, excluded_urls="healthz,readyz,metrics,/stream$")

    @app.get("/healthz", tags=["operation"], summary="Alive: the loops move")
    async def healthz() -> Response:
        checks = runtime.alive()
        return JSONResponse({"checks": checks}, 200 if all(checks.values()) else 503)

    @app.get("/readyz", tags=["operation"], summary="Ready: what the service needs is there")
    async def readyz() -> Response:
        needed = await required(runtime)
        reported = await runtime.reachable()
        return JSONResponse(
            {"required": needed, "dependencies": reported}, 200 if all(needed.values()) else 503
        )

    @app.get("/metrics", tags=["operation"], summary="Prometheus metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/asyncapi", tags=["operation"], summary="The events of the bus, as AsyncAPI 3.0")
    async def asyncapi() -> Response:
        return JSONResponse(asyncapi_document())

    return app
