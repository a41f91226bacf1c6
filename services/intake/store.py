"""The collections of intake: `cases`, `clients`, `erasures`, `files`, `access_log`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bson.binary import Binary

from services.intake.domain import Case, Client
from shared.contracts.envelope import Event
from shared.contracts.events import ClientErased, ConsentChanged
from shared.mongo.client import Database, Session
from shared.mongo.documents import View


class Store:
    """Queries of intake."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.cases = db.get_collection(Case.collection)
        self.clients = db.get_collection(Client.collection)
        self.files = db.get_collection("files")
        self.access_log = db.get_collection("access_log")

    async def ensure_indexes(self) -> None:
        await self.cases.create_index("client_id")
        await self.cases.create_index([("classified_at", 1), ("_id", 1)])
        await self.access_log.create_index([("at", 1)])

    async def concerning(self, session: Session, events: Sequence[Event]) -> View:
        """The cases and clients that the events are about; for what concerns a client, all its cases."""
        case_ids = {event.data.case_id for event in events if getattr(event.data, "case_id", None)}  # type: ignore[attr-defined]
        client_ids = {event.data.client_id for event in events}  # type: ignore[attr-defined]
        whole = {
            event.data.client_id for event in events if isinstance(event.data, ConsentChanged | ClientErased)
        }
        view = View()
        if not events:
            return view
        wanted: dict[str, Any] = {
            "$or": [{"_id": {"$in": list(case_ids)}}, {"client_id": {"$in": list(whole)}}]
        }
        if not whole:
            wanted = {"_id": {"$in": list(case_ids)}}
        cases = await self.cases.find(wanted, session=session).to_list(None)
        view.load(Case.model_validate(found) for found in cases)
        those = {"_id": {"$in": list(client_ids)}}
        clients = await self.clients.find(those, session=session).to_list(None)
        view.load(Client.model_validate(found) for found in clients)
        return view

    async def case(self, case_id: str) -> Case | None:
        found = await self.cases.find_one({"_id": case_id})
        return Case.model_validate(found) if found else None

    async def client(self, client_id: str) -> Client:
        found = await self.clients.find_one({"_id": client_id})
        return Client.model_validate(found) if found else Client(id=client_id)

    async def clients_by_id(self, client_ids: Sequence[str]) -> dict[str, Client]:
        found = self.clients.find({"_id": {"$in": list(client_ids)}})
        return {stored["_id"]: Client.model_validate(stored) async for stored in found}

    async def page(self, before: datetime, after: str | None, limit: int) -> list[Case]:
        """Cases known before an instant, in the order of their ids, starting after `after`."""
        query: dict[str, Any] = {"classified_at": {"$lt": before}}
        if after:
            query["_id"] = {"$gt": after}
        return [
            Case.model_validate(found) async for found in self.cases.find(query).sort("_id", 1).limit(limit)
        ]

    async def put_file(self, case_id: str, client_id: str, sealed: Binary, by: str, at: datetime) -> None:
        stored = {"client_id": client_id, "sealed": sealed, "by": by, "at": at}
        await self.files.replace_one({"_id": case_id}, stored, upsert=True)

    async def file(self, case_id: str) -> dict[str, Any] | None:
        return await self.files.find_one({"_id": case_id})

    async def record_access(self, who: str, what: str, case_id: str, client_id: str, at: datetime) -> None:
        """Every read of what was written about a client is recorded before it is shown (F6, F9)."""
        await self.access_log.insert_one(
            {"who": who, "what": what, "case_id": case_id, "client_id": client_id, "at": at}
        )
