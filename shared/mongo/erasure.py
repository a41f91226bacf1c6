"""Carrying out `client-erased` where it cannot be part of a transaction: destroying the client's data key."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar

import structlog

from shared.mongo.client import Database
from shared.mongo.documents import Document
from shared.mongo.encryption import Vault

log = structlog.get_logger(__name__)


class Erasure(Document):
    """A client who must be forgotten. It stays, so that what arrives late about the client is not taken."""

    collection: ClassVar[str] = "erasures"

    key_destroyed: bool = False


async def carry_out(
    db: Database,
    vault: Vault,
    wake: asyncio.Event,
    busy: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
) -> None:
    """Destroy the data keys of erased clients, for ever: those left by a crash first, then whenever woken.

    `busy` is entered while keys are being destroyed, so that "caught up" includes them.
    """
    erasures = db.get_collection(Erasure.collection)
    while True:
        wake.clear()
        with busy():
            async for stored in erasures.find({"key_destroyed": False}):
                await vault.destroy(stored["_id"])
                await erasures.update_one({"_id": stored["_id"]}, {"$set": {"key_destroyed": True}})
                log.info("a client's data key was destroyed")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                await wake.wait()
