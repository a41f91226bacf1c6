"""The running crisis service behind a socket, for a browser or a reader of its stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from aftercare import loopback


@asynccontextmanager
async def served(app: FastAPI, port: int = 0) -> AsyncIterator[str]:
    """The app at `http://127.0.0.1:port`; ends as `aftercare run` does, streams first."""
    async with loopback.serve(app, port=port, graceful=True) as base:
        try:
            yield base
        finally:
            if runtime := getattr(app.state, "runtime", None):
                runtime.draining.set()
