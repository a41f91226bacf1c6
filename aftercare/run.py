"""`aftercare run SERVICE`: one service as a process, until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import signal
import socket
import sys
from types import FrameType
from typing import Annotated

import typer
import uvicorn
from fastapi import FastAPI

from aftercare.configuration import read_settings
from aftercare.mistakes import Mistake
from aftercare.stack import builder, settings_class
from shared.clock import DatabaseClock
from shared.contracts.topics import SERVICES
from shared.messaging.progress import Progress
from shared.observability import logging, tracing
from shared.settings import Settings

OPEN_REQUESTS_SECONDS = 10
"""How long open requests may take once the service is told to stop; up to 15 s more go to the bus client."""

SWITCH_SECONDS = 0.001
"""How long the event loop may wait for a thread of the database's driver: a page may be waiting for its turn."""


def run(
    service: Annotated[str, typer.Argument(help=f"One of {', '.join(SERVICES)}.")],
) -> None:
    """Run one service, set up by AFTERCARE_* variables (docs/settings.md), until SIGTERM or Ctrl-C."""
    if service not in SERVICES:
        raise Mistake(f"there is no service {service!r}: choose one of {', '.join(SERVICES)}")
    if importlib.util.find_spec(f"services.{service}.main") is None:
        raise Mistake(f"the service {service} is not part of this installation: install the package again")
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, _end)
    settings = read_settings(settings_class(service))
    os.nice(settings.nice)  # before any thread is there: each has its own
    sys.setswitchinterval(SWITCH_SECONDS)
    logging.configure(settings.log_level)
    tracing.configure(service)
    asyncio.run(_serve(service, settings))


def _end(number: int, frame: FrameType | None) -> None:
    """Leave with exit code 0. The server sends itself the signal again once it has drained."""
    raise SystemExit(0)


async def _serve(service: str, settings: Settings) -> None:
    app = _build(service, settings)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=OPEN_REQUESTS_SECONDS,
    )
    with _listen(settings.http_host, settings.http_port) as listener:
        await _Server(config).serve([listener])


def _build(service: str, settings: Settings) -> FastAPI:
    try:
        return builder(service)(settings, DatabaseClock(), Progress())
    except ValueError as error:  # what its settings point at cannot be used; the message says so
        raise Mistake(f"{service} cannot start: {error}") from error


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Mistake(
            f"cannot listen on {host} port {port} ({error.strerror}): "
            "end what listens there, or set AFTERCARE_HTTP_HOST and AFTERCARE_HTTP_PORT"
        ) from None
    return listener


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What is there now stays: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        # A batch makes some ten thousand objects and drops them all: looking at each tenth of it finds nothing.
        gc.set_threshold(50_000, 20, 50)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.state.runtime.draining.set()  # type: ignore[union-attr]
        await super().shutdown(sockets)
