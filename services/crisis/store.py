"""Where incidents lie: collections, indexes, queries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from pymongo.errors import DuplicateKeyError

from services.crisis.domain import ERASED, NOBODY, Incident, Moment
from shared.mongo.client import Database, Session
from shared.mongo.documents import Document

REMEMBER_FLAGS = timedelta(days=40)
"""How far back flags are recognised without asking the database: longer than the bus keeps them (30 days)."""


class Notice(Document):
    """A missed deadline that does not page: told to its role together with others."""

    collection: ClassVar[str] = "notices"

    role: str
    rule: str
    clause: str
    subject: str
    case_id: str | None = None
    due_at: datetime
    at: datetime
    told_at: datetime | None = None


class Erasure(Document):
    """A client who asked to be erased; kept until nothing is left that refers to them."""

    collection: ClassVar[str] = "erasures"

    requested_at: datetime


class Store:
    """The database of the crisis service."""

    def __init__(self, db: Database) -> None:
        self._incidents = db.get_collection("incidents")
        self._timeline = db.get_collection("timeline")
        self._claims = db.get_collection("claims")
        self._notices = db.get_collection("notices")
        self._erasures = db.get_collection("erasures")

    async def ensure_indexes(self) -> None:
        """Create the indexes; harmless when they exist."""
        # One open incident a client: two replicas that each opened one find each other here.
        await self._incidents.create_index(
            "client_id", unique=True, partialFilterExpression={"sole": True}, name="one_open_a_client"
        )
        await self._incidents.create_index("client_id", name="client")
        await self._incidents.create_index("open", partialFilterExpression={"open": True}, name="open")
        await self._incidents.create_index([("state", 1), ("opened_at", -1), ("_id", -1)])
        await self._incidents.create_index([("opened_at", -1), ("_id", -1)])
        await self._incidents.create_index("aliases")
        await self._incidents.create_index("flag_ids")
        await self._timeline.create_index([("incident_id", 1), ("moment.at", 1), ("moment.seq", 1)])
        await self._timeline.create_index(
            "moment.at", partialFilterExpression={"moment.kind": "flagged"}, name="flags"
        )
        await self._claims.create_index("expire_at", expireAfterSeconds=0)
        await self._notices.create_index([("told_at", 1), ("at", 1)])

    # --- incidents --------------------------------------------------------------------------------------------

    async def counterpart(self, session: Session, incident: Incident) -> Incident | None:
        """The stored version of an incident: by id, by a flag, or as the open one of the same client."""
        names = [incident.id, *incident.aliases]
        ways: list[dict[str, Any]] = [{"_id": {"$in": names}}, {"aliases": {"$in": names}}]
        ways.append({"flag_ids": {"$in": [flag.unique for flag in incident.flags]}})
        if incident.crisis and incident.open:
            ways.append({"sole": True, "client_id": incident.client_id})
        for way in ways:
            found = await self._incidents.find_one(way, session=session)
            if found is not None:
                return Incident.model_validate(found)
        return None

    async def new_lines(self, session: Session, incident_id: str, lines: Sequence[Moment]) -> list[Moment]:
        """Those lines of a timeline that are not written down yet."""
        keys = [line_key(incident_id, line) for line in lines]
        known = self._timeline.find({"_id": {"$in": keys}}, {"_id": 1}, session=session)
        found = {document["_id"] async for document in known}
        return [line for line, key in zip(lines, keys, strict=True) if key not in found]

    async def get(self, incident_id: str) -> Incident | None:
        """An incident by its id or by one under which another replica opened it."""
        for way in ({"_id": incident_id}, {"aliases": incident_id}):
            found = await self._incidents.find_one(way)
            if found is not None:
                return Incident.model_validate(found)
        return None

    async def open_incidents(self) -> list[Incident]:
        """Every incident that is not over, and those resolved so lately that the head may not know yet."""
        lately = datetime.now(UTC) - timedelta(days=2)
        wanted = {"$or": [{"open": True}, {"next_at": {"$ne": None}, "resolved_at": {"$gte": lately}}]}
        return [Incident.model_validate(found) async for found in self._incidents.find(wanted)]

    async def known_flags(self, now: datetime) -> dict[str, tuple[str, str]]:
        """The flags that the bus may bring once more: `source id` to digest and incident."""
        wanted = {"moment.kind": "flagged", "moment.at": {"$gte": now - REMEMBER_FLAGS}}
        fields = {"incident_id": 1, "moment.flag.unique": 1, "moment.flag.digest": 1}
        found: dict[str, tuple[str, str]] = {}
        async for line in self._timeline.find(wanted, fields):
            flag = line["moment"]["flag"]
            found[flag["unique"]] = (flag["digest"], line["incident_id"])
        return found

    async def newest(
        self, state: str | None, before: tuple[datetime, str] | None, limit: int
    ) -> list[Incident]:
        """Newest first; `before` is the `opened_at` and id of the last one seen."""
        wanted: dict[str, Any] = {"deadline": None}
        if state:
            wanted["state"] = state
        if before:
            at, key = before
            wanted["$or"] = [{"opened_at": {"$lt": at}}, {"opened_at": at, "_id": {"$lt": key}}]
        found = self._incidents.find(wanted).sort([("opened_at", -1), ("_id", -1)]).limit(limit)
        return [Incident.model_validate(document) async for document in found]

    async def drills(self, limit: int) -> list[Incident]:
        """The latest drills, newest first."""
        found = self._incidents.find({"drill": True}).sort([("opened_at", -1), ("_id", -1)]).limit(limit)
        return [Incident.model_validate(document) async for document in found]

    async def timeline(self, incident_id: str) -> list[Moment]:
        """Every line of an incident's timeline, oldest first."""
        found = self._timeline.find({"incident_id": incident_id}).sort([("moment.at", 1), ("moment.seq", 1)])
        return [Moment.model_validate(line["moment"]) async for line in found]

    # --- claims -----------------------------------------------------------------------------------------------

    async def claim(self, key: str, by: str, now: datetime, until: datetime) -> datetime | None:
        """Take a page for oneself until a time. Returns None, or until when another replica has it."""
        mine = {"_id": key, "$or": [{"until": {"$lte": now}}, {"by": by}]}
        expire_at = datetime.now(UTC) + timedelta(days=2)
        try:
            await self._claims.update_one(
                mine, {"$set": {"by": by, "until": until, "expire_at": expire_at}}, upsert=True
            )
        except DuplicateKeyError:
            held = await self._claims.find_one({"_id": key})
            other: datetime | None = held["until"] if held else None
            return other
        return None

    # --- notices, erasures ------------------------------------------------------------------------------------

    async def documents(self, session: Session, keys: dict[type[Document], list[str]]) -> list[Document]:
        """Documents by kind and id."""
        found: list[Document] = []
        for kind, wanted in keys.items():
            if not wanted:
                continue
            collection = self._incidents.database.get_collection(kind.collection)
            cursor = collection.find({"_id": {"$in": wanted}}, session=session)
            found += [kind.model_validate(document) async for document in cursor]
        return found

    async def incidents_of(self, session: Session, clients: Sequence[str]) -> list[Incident]:
        """Every incident of these clients."""
        found = self._incidents.find({"client_id": {"$in": list(clients)}}, session=session)
        return [Incident.model_validate(document) async for document in found]

    async def untold(self) -> list[Notice]:
        """The notices that nobody has been told of, oldest first."""
        found = self._notices.find({"told_at": None}).sort("at", 1).limit(1000)
        return [Notice.model_validate(document) async for document in found]

    async def told(self, keys: Sequence[str], now: datetime) -> None:
        """Mark notices as told."""
        await self._notices.update_many({"_id": {"$in": list(keys)}}, {"$set": {"told_at": now}}, hint="_id_")

    async def erasures(self) -> list[str]:
        """The clients who asked to be erased and of whom something may be left."""
        return [found["_id"] async for found in self._erasures.find({})]

    async def forget(self, client_id: str) -> None:
        """Take the client out of the timelines of what is over, and forget the request once nothing is left."""
        over = [found["_id"] async for found in self._incidents.find({"client_id": ERASED}, {"_id": 1})]
        await self._timeline.update_many(
            {"incident_id": {"$in": over}, "moment.flag.client_id": client_id},
            {"$set": {f"moment.flag.{name}": value for name, value in NOBODY.items()}},
        )
        if await self._incidents.find_one({"client_id": client_id}, {"_id": 1}) is None:
            await self._erasures.delete_one({"_id": client_id})


def line_key(incident_id: str, line: Moment) -> str:
    """The id under which a line of a timeline is kept."""
    return f"{incident_id} {line.id}"
