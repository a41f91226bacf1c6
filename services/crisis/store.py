"""Where incidents lie: collections, indexes, queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import structlog
from pydantic import ValidationError
from pymongo.errors import DuplicateKeyError

from services.crisis.domain import ERASED, NOBODY, Incident, Moment
from services.crisis.known_flags import REMEMBERED, Known
from shared.mongo.client import Database, Session
from shared.mongo.documents import Document

log = structlog.get_logger(__name__)

CLAIM = timedelta(seconds=60)
"""How long a replica has for a page before another takes it over: longer than `dispatch.PAGE_SECONDS`."""
KEEP_TOLD_SECONDS = 40 * 86_400
"""How long a notice is kept once it was told."""


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
    message: str | None = None
    """The message in which it is told."""
    told_at: datetime | None = None


class Erasure(Document):
    """A client who asked to be erased; kept until nothing is left that refers to them."""

    collection: ClassVar[str] = "erasures"

    requested_at: datetime


@dataclass(frozen=True)
class Claim:
    """What came of asking for a page."""

    held_until: datetime | None = None
    """Another replica has it until then; None: it is ours."""
    begun_before: bool = False
    """It is ours now, and somebody had begun to send it before: how that ended is not known."""


class Store:
    """The database of the crisis service."""

    def __init__(self, db: Database) -> None:
        self._incidents = db.get_collection("incidents")
        self._timeline = db.get_collection("timeline")
        self._claims = db.get_collection("claims")
        self._notices = db.get_collection("notices")
        self._erasures = db.get_collection("erasures")
        self.unreadable: set[str] = set()
        """Incidents that are not over and cannot be read: somebody must look at each."""

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
        await self._timeline.create_index([("incident_id", 1), ("moment.at", 1), ("moment.seq", 1)])
        await self._timeline.create_index(
            "moment.flag.unique", partialFilterExpression={"moment.kind": "flagged"}, name="flag"
        )
        await self._timeline.create_index(
            "moment.at", partialFilterExpression={"moment.kind": "flagged"}, name="flags"
        )
        await self._claims.create_index("expire_at", expireAfterSeconds=0)
        await self._notices.create_index([("told_at", 1), ("role", 1), ("at", 1)])
        await self._notices.create_index("told_at", expireAfterSeconds=KEEP_TOLD_SECONDS, name="told")

    # --- incidents --------------------------------------------------------------------------------------------

    async def counterpart(self, session: Session, incident: Incident) -> Incident | None:
        """The stored version of an incident: by id, by a flag, or as the open one of the same client."""
        names = [incident.id, *incident.aliases]
        ways: list[dict[str, Any]] = [{"_id": {"$in": names}}, {"aliases": {"$in": names}}]
        for way in ways:
            found = await self._incidents.find_one(way, session=session)
            if found is not None:
                return Incident.model_validate(found)
        return await self._by_flag(session, incident) or (
            await self.open_one_of(session, incident.client_id) if incident.sole else None
        )

    async def _by_flag(self, session: Session, incident: Incident) -> Incident | None:
        flags = {"$in": [flag.unique for flag in incident.flags]}
        wanted = {"moment.kind": "flagged", "moment.flag.unique": flags}
        line = await self._timeline.find_one(wanted, {"incident_id": 1}, session=session)
        found = line and await self._incidents.find_one({"_id": line["incident_id"]}, session=session)
        return Incident.model_validate(found) if found else None

    async def open_one_of(self, session: Session, client_id: str) -> Incident | None:
        """The one open incident of a client."""
        found = await self._incidents.find_one({"sole": True, "client_id": client_id}, session=session)
        return Incident.model_validate(found) if found else None

    async def new_lines(self, session: Session, incident_id: str, lines: Sequence[Moment]) -> list[Moment]:
        """Those lines of a timeline that are not written down yet."""
        keys = [line_key(incident_id, line) for line in lines]
        known = self._timeline.find({"_id": {"$in": keys}}, {"_id": 1}, session=session)
        found = {document["_id"] async for document in known}
        return [line for line, key in zip(lines, keys, strict=True) if key not in found]

    async def count_lines(self, session: Session, incident_id: str) -> int:
        """How many lines of an incident are written down."""
        return await self._timeline.count_documents({"incident_id": incident_id}, session=session)

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
        documents = [found async for found in self._incidents.find(wanted)]
        self.unreadable &= {str(document["_id"]) for document in documents}
        return self._readable(documents)

    async def incidents(self, ids: Sequence[str]) -> list[Incident]:
        """These incidents, as far as they are stored."""
        if not ids:
            return []
        return self._readable([found async for found in self._incidents.find({"_id": {"$in": list(ids)}})])

    def _readable(self, documents: Sequence[dict[str, Any]]) -> list[Incident]:
        """The incidents; one that cannot be read (of another release, damaged) must not keep the others from theirs."""
        read: list[Incident] = []
        for document in documents:
            key = str(document["_id"])
            try:
                read.append(Incident.model_validate(document))
            except ValidationError as error:
                if key not in self.unreadable:
                    self.unreadable.add(key)
                    log.error("a stored incident cannot be read", incident=key, problems=error.error_count())
            else:
                self.unreadable.discard(key)
        return read

    async def known_flags(self, now: datetime) -> list[tuple[str, Known]]:
        """The flags that the bus may bring once more, by `source id`, oldest first."""
        wanted = {"moment.kind": "flagged", "moment.at": {"$gte": now - REMEMBERED}}
        fields = {"incident_id": 1, "moment.at": 1, "moment.flag.unique": 1, "moment.flag.digest": 1}
        found: list[tuple[str, Known]] = []
        async for line in self._timeline.find(wanted, fields).sort("moment.at", 1):
            flag, at = line["moment"]["flag"], line["moment"]["at"]
            found.append((flag["unique"], Known(flag["digest"], line["incident_id"], at)))
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

    # --- the record -------------------------------------------------------------------------------------------

    async def kept(self, incident_id: str | None = None) -> list[str]:
        """The ids of all incidents of which anything is kept, or whether it is so of one; oldest first."""
        where = {"_id": incident_id} if incident_id else {}
        found = self._incidents.find(where, {"_id": 1}).sort([("opened_at", 1), ("_id", 1)])
        ids = [document["_id"] async for document in found]
        left: list[dict[str, Any]] = [
            {"$match": {"incident_id": incident_id} if incident_id else {}},
            {"$group": {"_id": "$incident_id"}},
        ]
        known = set(ids)
        ids += sorted([one["_id"] async for one in self._timeline.aggregate(left) if one["_id"] not in known])
        return ids

    async def record(self, incident_id: str) -> tuple[Incident | None, list[dict[str, Any]]]:
        """An incident and the entries of its record as they lie there, in the order written, of one moment.

        Raises pydantic.ValidationError for an incident that is none.
        """
        while True:
            before = await self._incidents.find_one({"_id": incident_id})
            entries = self._timeline.find({"incident_id": incident_id}).sort(
                [("number", 1), ("moment.at", 1)]
            )
            found = [entry async for entry in entries]
            if (
                await self._incidents.find_one({"_id": incident_id}) == before
            ):  # not while it is being written
                return (Incident.model_validate(before) if before else None), found

    # --- claims -----------------------------------------------------------------------------------------------

    async def claim(self, key: str, by: str, now: datetime) -> Claim:
        """Take a page for oneself for so long as `CLAIM`, unless another replica has it."""
        mine = {"_id": key, "$or": [{"until": {"$lte": now}}, {"by": by}]}
        claim = {"by": by, "until": now + CLAIM, "expire_at": datetime.now(UTC) + timedelta(days=2)}
        try:
            before = await self._claims.find_one_and_update(mine, {"$set": claim}, upsert=True)
        except DuplicateKeyError:
            held = await self._claims.find_one({"_id": key})
            return Claim(held_until=held["until"] if held else None)
        return Claim(begun_before=before is not None)

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

    async def erased_of(self, ids: Sequence[str]) -> list[str]:
        """Those of these incidents whose client was erased."""
        if not ids:
            return []
        found = self._incidents.find({"_id": {"$in": list(ids)}, "client_id": ERASED}, {"_id": 1})
        return [document["_id"] async for document in found]

    async def incidents_of(self, session: Session, clients: Sequence[str]) -> list[Incident]:
        """Every incident of these clients."""
        found = self._incidents.find({"client_id": {"$in": list(clients)}}, session=session)
        return [Incident.model_validate(document) async for document in found]

    async def untold(self) -> dict[str, datetime]:
        """The roles that have something to be told, and since when."""
        steps: list[dict[str, Any]] = [
            {"$match": {"told_at": None}},
            {"$group": {"_id": "$role", "first": {"$min": "$at"}}},
        ]
        return {found["_id"]: found["first"] async for found in self._notices.aggregate(steps)}

    async def gather(self, role: str, message: str) -> Counter[tuple[str, str]]:
        """Put everything that a role has not been told into a message; returns how many of each (rule, clause).

        What comes later is left to the next message, however long this one takes.
        """
        await self._notices.update_many({"role": role, "told_at": None}, {"$set": {"message": message}})
        steps: list[dict[str, Any]] = [
            {"$match": {"told_at": None, "role": role, "message": message}},
            {"$group": {"_id": {"rule": "$rule", "clause": "$clause"}, "count": {"$sum": 1}}},
        ]
        counted: Counter[tuple[str, str]] = Counter()
        async for found in self._notices.aggregate(steps):
            counted[found["_id"]["rule"], found["_id"]["clause"]] = found["count"]
        return counted

    async def told(self, message: str, now: datetime) -> None:
        """Mark the notices of a message as told."""
        await self._notices.update_many({"message": message, "told_at": None}, {"$set": {"told_at": now}})

    async def erasures(self) -> list[str]:
        """The clients who asked to be erased and of whom something may be left."""
        return [found["_id"] async for found in self._erasures.find({})]

    async def forget(self, client_id: str) -> None:
        """Take the client out of the timelines of what is over, and forget the request once nothing is left."""
        over = [found["_id"] async for found in self._incidents.find({"client_id": ERASED}, {"_id": 1})]
        await self._timeline.update_many(
            {"incident_id": {"$in": over}, "moment.flag.client_id": client_id},
            # Without the salt nobody finds the client by trying out ids; the chain holds all the same.
            {
                "$set": {f"moment.flag.{name}": value for name, value in NOBODY.items()},
                "$unset": {"salt": ""},
            },
        )
        if await self._incidents.find_one({"client_id": client_id}, {"_id": 1}) is None:
            await self._erasures.delete_one({"_id": client_id})


def line_key(incident_id: str, line: Moment) -> str:
    """The id under which a line of a timeline is kept."""
    return f"{incident_id} {line.id}"
