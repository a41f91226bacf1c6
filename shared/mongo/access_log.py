"""The access log of a service: who read what is sealed (F6). A line is written before anything is shown."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bson import ObjectId

from shared.mongo.client import Database


class AccessLog:
    """The collection `access_log`."""

    def __init__(self, db: Database) -> None:
        self._lines = db.get_collection("access_log")

    async def ensure_indexes(self) -> None:
        await self._lines.create_index([("at", -1), ("_id", -1)])

    async def record(self, who: str, role: str, what: str, at: datetime, **about: str | None) -> None:
        """`about`: the client, and what was opened: `client_id="client-1", case_id="case-1"`."""
        line = {"_id": str(ObjectId()), "who": who, "role": role, "what": what, **about, "at": at}
        await self._lines.insert_one(line)

    async def page(self, before: tuple[datetime, str] | None, limit: int) -> list[dict[str, Any]]:
        """The newest lines, those before an instant and an id if they are named."""
        where: dict[str, Any] = {}
        if before:
            where["$or"] = [{"at": {"$lt": before[0]}}, {"at": before[0], "_id": {"$lt": before[1]}}]
        found = self._lines.find(where).sort([("at", -1), ("_id", -1)]).limit(limit)
        return await found.to_list(None)
