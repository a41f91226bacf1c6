"""A MongoDB server that a test may kill and start again."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import MongoClient

from aftercare.engines import embedded_mongo, free_port


class OwnMongo:
    """Its data survives a kill, as on a disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._running = ExitStack()
        self.url = ""

    def start(self) -> None:
        self.url = self._running.enter_context(embedded_mongo(self._folder, self._port))

    def kill(self) -> None:
        os.kill(self._pid(), signal.SIGKILL)
        self._running.close()

    def freeze(self) -> None:
        """It keeps its connections and answers nothing."""
        self._frozen = self._pid()
        os.kill(self._frozen, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._frozen, signal.SIGCONT)

    def stop(self) -> None:
        self._running.close()

    def _pid(self) -> int:
        with MongoClient[dict[str, Any]](self.url) as client:
            return int(client.admin.command("serverStatus")["pid"])


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let services notice within half a second, instead of five, that the database is away."""

    def client(url: str, **options: Any) -> AsyncIOMotorClient[dict[str, Any]]:
        return AsyncIOMotorClient(url, **{**options, "serverSelectionTimeoutMS": 500})

    monkeypatch.setattr("shared.mongo.client.AsyncIOMotorClient", client)


@asynccontextmanager
async def own_mongo() -> AsyncIterator[OwnMongo]:
    memory = Path("/dev/shm")
    folder = tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None)
    mongo = OwnMongo(Path(folder.name))
    await asyncio.to_thread(mongo.start)
    try:
        yield mongo
    finally:
        await asyncio.to_thread(mongo.stop)
        folder.cleanup()
