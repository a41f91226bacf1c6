"""A reporting service on real engines, each test in a namespace of its own."""

from __future__ import annotations

import base64
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from aftercare.engines import Engines, embedded_engines
from services.reporting.main import build
from services.reporting.settings import ReportingSettings
from shared.clock import VirtualClock
from shared.contracts.envelope import Event
from shared.messaging.bus import Outgoing, Publisher, create_topics
from shared.messaging.progress import Progress
from shared.web.auth import issue_token
from tests.unit.reporting.events import at

SECRET = "test-secret-of-at-least-32-characters"


@dataclass
class Stack:
    """The running service and what a test needs to speak with it."""

    app: FastAPI
    clock: VirtualClock
    progress: Progress
    publisher: Publisher
    settings: ReportingSettings

    async def publish(self, *events: Event) -> None:
        """Publish and wait until everything that follows is settled."""
        await self.publisher.publish([Outgoing.of(event) for event in events])
        await self.progress.settled(30)

    async def get(self, path: str, roles: Sequence[str] = ("manager",)) -> httpx.Response:
        headers = {}
        if roles:
            token = issue_token(SECRET, "someone", list(roles), timedelta(hours=1))
            headers["Authorization"] = f"Bearer {token}"
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get(path, headers=headers)

    async def stored(self) -> list[dict[str, Any]]:
        """Every document of the service's database."""
        db = self.app.state.runtime.db
        names = await db.list_collection_names()
        return [document for name in sorted(names) async for document in db.get_collection(name).find()]


@pytest.fixture(scope="session")
async def reporting_engines() -> AsyncIterator[Engines]:
    async with embedded_engines() as engines:
        yield engines


@asynccontextmanager
async def running(engines: Engines, namespace: str) -> AsyncIterator[Stack]:
    settings = ReportingSettings.model_validate(
        {
            "kafka_bootstrap_servers": engines.kafka,
            "mongo_url": engines.mongo,
            "kafka_idempotence": False,
            "kafka_assigned": True,
            "kafka_partitions": 1,
            "kafka_max_wait_ms": 10,
            "namespace": namespace,
            "token_secret": SECRET,
            "master_key": base64.b64encode(bytes(96)).decode(),
        }
    )
    await create_topics(settings)
    progress = Progress()
    clock = VirtualClock(at("2026-04-03"))
    app = build(settings, clock, progress)
    publisher = Publisher(settings, progress)
    async with app.router.lifespan_context(app):
        await app.state.runtime.connected.wait()
        await publisher.start()
        try:
            yield Stack(app, clock, progress, publisher, settings)
        finally:
            await publisher.stop()


@pytest.fixture
async def stack(reporting_engines: Engines) -> AsyncIterator[Stack]:
    async with running(reporting_engines, f"reporting-{uuid.uuid4().hex[:8]}") as stack:
        yield stack
