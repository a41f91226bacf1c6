"""Replicas share the timers by leasing slots of them; a lease that is not renewed ends and is taken over.

Two replicas may believe in the same lease for a moment (a paused process, a step of a clock). That is harmless:
firing is one transaction with deterministic ids, and the second one finds the item moved on.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import uuid
from datetime import datetime, timedelta

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError

from services.scheduler.domain.agenda import SLOTS
from shared.mongo.client import Database
from shared.mongo.time import server_time

LEASE = timedelta(seconds=15)
RENEW_SECONDS = 5.0
RELEASE_SECONDS = 2.0
"""An end does not wait longer than this for a database that is away: the leases run out by themselves."""


class SlotLeases:
    """The slots that this replica fires."""

    def __init__(self, db: Database, slots: int = SLOTS) -> None:
        self.owner = uuid.uuid4().hex
        self.mine: list[int] = []
        self._slots = slots
        self._db = db
        self._leases = db.get_collection("leases")
        self._replicas = db.get_collection("replicas")

    async def renew(self) -> None:
        """Renew what is ours, give back what is above our share, take what is free up to it."""
        now = await server_time(self._db)
        await self._replicas.update_one({"_id": self.owner}, {"$set": {"seen_at": now}}, upsert=True)
        live = await self._replicas.count_documents({"seen_at": {"$gt": now - LEASE}})
        share = math.ceil(self._slots / max(live, 1))
        await self._leases.update_many({"owner": self.owner}, {"$set": {"until": now + LEASE}})
        mine = sorted([lease["_id"] async for lease in self._leases.find({"owner": self.owner})])
        for slot in mine[share:]:
            await self._leases.update_one({"_id": slot, "owner": self.owner}, {"$set": {"until": now}})
        mine = mine[:share]
        for slot in range(self._slots):
            if len(mine) >= share:
                break
            if slot not in mine and await self._take(slot, now):
                mine.append(slot)
        self.mine = mine

    async def _take(self, slot: int, now: datetime) -> bool:
        try:
            taken = await self._leases.find_one_and_update(
                {"_id": slot, "$or": [{"until": {"$lte": now}}, {"owner": self.owner}]},
                {"$set": {"owner": self.owner, "until": now + LEASE}},
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError:
            return False  # somebody else holds it
        return bool(taken["owner"] == self.owner)

    async def keep(self) -> None:
        """Renew for ever; give everything back at a planned end."""
        try:
            while True:
                await self.renew()
                await asyncio.sleep(RENEW_SECONDS)
        finally:
            with contextlib.suppress(PyMongoError, TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self.release()

    async def release(self) -> None:
        """Give everything back, so that others need not wait for the leases to run out."""
        self.mine = []
        await self._leases.update_many(
            {"owner": self.owner}, {"$set": {"until": await server_time(self._db)}}
        )
        await self._replicas.delete_one({"_id": self.owner})
