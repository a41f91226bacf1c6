"""A message gateway that reaches nobody: for the demo, where no real message may go out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from aftercare import loopback


class FakeGateway:
    """Accepts messages as the company's gateway does, idempotent by `message_id`, and keeps them."""

    def __init__(self) -> None:
        self.messages: dict[str, dict[str, Any]] = {}
        self.listeners: list[Callable[[dict[str, Any]], None]] = []
        self._app = Starlette(routes=[Route("/v1/messages", self._take, methods=["POST"])])

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Listen on a loopback port; yields the base URL."""
        async with loopback.serve(self._app) as base:
            yield base

    async def _take(self, request: Request) -> JSONResponse:
        message = await request.json()
        if message["message_id"] not in self.messages:
            self.messages[message["message_id"]] = message
            for tell in self.listeners:
                tell(message)
        return JSONResponse({}, 202)
