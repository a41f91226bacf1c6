"""Serves an ASGI application on a loopback port of its own, in this event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import uvicorn


class _Server(uvicorn.Server):
    """Leaves the signals to whoever owns the process."""

    def capture_signals(self) -> Any:
        return nullcontext()


@asynccontextmanager
async def serve(
    app: Any, host: str = "127.0.0.1", port: int = 0, *, graceful: bool = False
) -> AsyncIterator[str]:
    """Serve until the block ends; yields the base URL. `graceful`: wait then for the answers that are under way."""
    server = _Server(uvicorn.Config(app, host, port, lifespan="off", log_level="warning", access_log=False))
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:
            if serving.done():
                await serving
            await asyncio.sleep(0.005)
        yield f"http://{host}:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit, server.force_exit = True, not graceful
        await serving
