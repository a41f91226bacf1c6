"""The five services, built and run in this process: for time-lapse, the demo and tests."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer
from fastapi import FastAPI

from aftercare.engines import Engines
from shared.clock import Clock
from shared.contracts.topics import SERVICES
from shared.messaging.bus import create_topics
from shared.messaging.progress import Progress
from shared.settings import Settings
from shared.web.auth import Role, issue_token
from shared.web.service import Runtime

PORTS = {"intake": 8001, "scheduler": 8002, "survey": 8003, "crisis": 8004, "reporting": 8005}


def settings_class(service: str) -> type[Settings]:
    """The settings class of a service."""
    module = importlib.import_module(f"services.{service}.settings")
    found: type[Settings] = getattr(module, f"{service.capitalize()}Settings")
    return found


def builder(service: str) -> Callable[[Settings, Clock, Progress], FastAPI]:
    """The function that wires a service."""
    build: Callable[[Settings, Clock, Progress], FastAPI] = importlib.import_module(
        f"services.{service}.main"
    ).build
    return build


def development_secrets(seed: str) -> dict[str, str]:
    """A token secret and a master key made from a seed. For development only: who knows the seed knows them."""
    return {
        "token_secret": hashlib.sha256(f"token {seed}".encode()).hexdigest(),
        "master_key": base64.b64encode(
            b"".join(hashlib.sha256(f"key {n} {seed}".encode()).digest() for n in range(3))
        ).decode(),
    }


def embedded_settings(engines: Engines, seed: str, namespace: str = "") -> dict[str, Any]:
    """What suits a run in one process: partitions read directly, one of each topic."""
    return {
        "kafka_bootstrap_servers": engines.kafka,
        "kafka_idempotence": engines.idempotence,
        "kafka_replication": engines.replication,
        "kafka_assigned": True,
        "kafka_partitions": 1,
        "kafka_max_wait_ms": 10,
        "mongo_url": engines.mongo,
        "namespace": namespace,
        **development_secrets(seed),
    }


@dataclass
class Stack:
    """Running services that can be called without a socket."""

    apps: Mapping[str, FastAPI]
    settings: Mapping[str, Settings]
    clock: Clock
    progress: Progress

    def client(self, service: str, *roles: Role, subject: str = "someone") -> httpx.AsyncClient:
        """An HTTP client of a service, signed in with roles."""
        secret = self.settings[service].token_secret
        assert secret
        token = issue_token(secret.get_secret_value(), subject, list(roles), timedelta(days=1))
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.apps[service]),
            base_url=f"http://{service}",
            headers={"Authorization": f"Bearer {token}"} if roles else {},
        )

    def consumers(self) -> list[tuple[str, AIOKafkaConsumer]]:
        """The consumers of all services, each with its group."""
        runtimes: list[Runtime] = [app.state.runtime for app in self.apps.values()]
        return [(group, one) for runtime in runtimes for group, one in runtime.consumers() if one]


@asynccontextmanager
async def running_stack(
    clock: Clock,
    progress: Progress,
    common: Mapping[str, Any],
    own: Mapping[str, Mapping[str, Any]] | None = None,
    services: tuple[str, ...] = SERVICES,
) -> AsyncIterator[Stack]:
    """Run services until the block ends; yields once all of them are connected."""
    settings = {
        service: settings_class(service)(**{**common, **(own or {}).get(service, {})}) for service in services
    }
    await create_topics(settings[services[0]])
    apps = {service: builder(service)(settings[service], clock, progress) for service in services}
    async with AsyncExitStack() as stack:
        for app in apps.values():
            await stack.enter_async_context(app.router.lifespan_context(app))
        async with asyncio.timeout(60):
            for app in apps.values():
                await app.state.runtime.connected.wait()
        yield Stack(apps, settings, clock, progress)
