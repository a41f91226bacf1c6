"""Where overrides and hand-over notes lie."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from bson.binary import Binary
from pydantic import ConfigDict

from services.crisis.oncall.overrides import Override
from shared.mongo.client import Database
from shared.mongo.documents import Document

OVERRIDES_KEPT = timedelta(days=40)
"""How long an override that is over is still looked at: the calendar feed shows a month of the past."""
NOTES_KEPT = timedelta(days=90)
"""A note may tell of clients, and no erasure finds it: after this it is deleted (decision 46)."""


class HandOver(Document):
    """What the outgoing person leaves to the next one."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    collection: ClassVar[str] = "hand_overs"

    role: str
    at: datetime
    outgoing: str | None
    """Who had the shift that ends, by the rota; None: nobody."""
    incoming: str | None
    written_by: str
    written_at: datetime
    sealed: Binary
    """The note, under the data key of its month."""


class OnCallStore:
    """The collections of the rota."""

    def __init__(self, db: Database) -> None:
        self._client = db.client
        self._overrides = db.get_collection(Override.collection)
        self._hand_overs = db.get_collection(HandOver.collection)

    async def ensure_indexes(self) -> None:
        """Create the indexes; harmless when they exist."""
        await self._overrides.create_index("end")
        await self._hand_overs.create_index([("at", -1), ("_id", 1)])
        await self._hand_overs.create_index("expire_at", expireAfterSeconds=0)

    async def overrides(self, now: datetime) -> list[Override]:
        """The overrides that are not long over, those that were taken back among them."""
        found = self._overrides.find({"end": {"$gte": now - OVERRIDES_KEPT}})
        return [Override.model_validate(document) async for document in found]

    async def save(self, overrides: Sequence[Override]) -> None:
        """Put overrides in place, all or none: half a swap would leave a shift to nobody who knows of it."""
        async with await self._client.start_session() as session, session.start_transaction():
            for one in overrides:
                await self._overrides.replace_one(
                    {"_id": one.id}, one.to_mongo(), upsert=True, session=session
                )

    async def hand_overs(self, since: datetime, limit: int) -> list[HandOver]:
        """The notes about changes of shift since then, newest first."""
        found = self._hand_overs.find({"at": {"$gte": since}}).sort([("at", -1), ("_id", 1)]).limit(limit)
        return [HandOver.model_validate(document) async for document in found]

    async def leave(self, note: HandOver) -> None:
        """Keep a note, in place of what the same person wrote about the same change before."""
        # The database deletes by its own time, whatever ours is.
        kept: dict[str, Any] = {**note.to_mongo(), "expire_at": datetime.now(UTC) + NOTES_KEPT}
        await self._hand_overs.replace_one({"_id": note.id}, kept, upsert=True)
