"""The collections of intake: `cases`, `clients`, `agreements`, `erasures`, `files`, `forms`, `snapshots` and their
`snapshot_lines`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bson.binary import Binary

from services.intake.domain import agreements
from services.intake.domain.agreements import Agreements
from services.intake.domain.forms import Sheet
from services.intake.domain.ledger import Case, Client
from services.intake.domain.snapshots import Line, Snapshot
from shared.contracts.envelope import Event
from shared.contracts.events import (
    CalendarDue,
    CaseClass,
    CaseOpened,
    ClientErased,
    ConsentChanged,
    MilestoneReached,
    SessionCompleted,
)
from shared.mongo.client import Database, Session
from shared.mongo.documents import View


@dataclass(frozen=True)
class Those:
    """Which lines of the ledger are asked for; None: whatever they say."""

    case_class: CaseClass | None = None
    counsellor_id: str | None = None
    enterprise_id: str | None = None

    def query(self, *fields: str) -> dict[str, str]:
        """The query, where class, counsellor and enterprise lie under these names."""
        wanted = zip(fields, (self.case_class, self.counsellor_id, self.enterprise_id), strict=True)
        return {field: value for field, value in wanted if value is not None}


class Store:
    """Queries of intake."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.cases = db.get_collection(Case.collection)
        self.clients = db.get_collection(Client.collection)
        self.agreements = db.get_collection(Agreements.collection)
        self.files = db.get_collection("files")
        self.forms = db.get_collection(Sheet.collection)
        self.snapshots = db.get_collection(Snapshot.collection)
        self.lines = db.get_collection(Line.collection)

    async def ensure_indexes(self) -> None:
        await self.cases.create_index("client_id")
        await self.cases.create_index([("known_at", 1), ("_id", 1)])
        await self.forms.create_index("client_id")
        await self.forms.create_index([("kind", 1), ("about", 1)])
        await self.lines.create_index([("month", 1), ("case_id", 1)])
        await self.lines.create_index("client_id")

    async def concerning(self, session: Session, events: Sequence[Event]) -> View:
        """The cases and clients that the events are about; for what concerns a client, all its cases.

        Of a client who is erased also the forms, and the lines in the classifications of months; of a date of the
        regime its month; of milestones, openings and sessions what was agreed in their cases.
        """
        agreed = [key for event in events if (key := _agreements_of(event))]
        events = [event for event in events if not isinstance(event.data, MilestoneReached)]
        case_ids = {event.data.case_id for event in events if getattr(event.data, "case_id", None)}  # type: ignore[attr-defined]
        client_ids = {event.data.client_id for event in events if getattr(event.data, "client_id", None)}  # type: ignore[attr-defined]
        erased = [event.data.client_id for event in events if isinstance(event.data, ClientErased)]
        months = [event.data.month for event in events if isinstance(event.data, CalendarDue)]
        whole = {
            event.data.client_id for event in events if isinstance(event.data, ConsentChanged | ClientErased)
        }
        view = View()
        if agreed:
            known = await self.agreements.find({"_id": {"$in": agreed}}, session=session).to_list(None)
            view.load(Agreements.model_validate(found) for found in known)
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
        if erased:
            lines = await self.lines.find({"client_id": {"$in": erased}}, session=session).to_list(None)
            view.load(Line.model_validate(found) for found in lines)
            written = await self.forms.find({"client_id": {"$in": erased}}, session=session).to_list(None)
            view.load(Sheet.model_validate(found) for found in written)
        if months:
            taken = await self.snapshots.find({"_id": {"$in": months}}, session=session).to_list(None)
            view.load(Snapshot.model_validate(found) for found in taken)
        return view

    async def case(self, case_id: str, session: Session | None = None) -> Case | None:
        found = await self.cases.find_one({"_id": case_id}, session=session)
        return Case.model_validate(found) if found else None

    async def agreed(self, case_id: str) -> Agreements:
        """What the client agreed to in a case."""
        nothing = Agreements.none_of(case_id)
        found = await self.agreements.find_one({"_id": nothing.id})
        return Agreements.model_validate(found) if found else nothing

    async def form(self, sheet_id: str, session: Session | None = None) -> Sheet | None:
        found = await self.forms.find_one({"_id": sheet_id}, session=session)
        return Sheet.model_validate(found) if found else None

    async def forms_of_case(self, case_id: str) -> list[Sheet]:
        """Every form about a case, in the order of their names."""
        found = self.forms.find({"kind": "case", "about": case_id}).sort("_id", 1)
        return [Sheet.model_validate(stored) async for stored in found]

    async def client(self, client_id: str, session: Session | None = None) -> Client:
        found = await self.clients.find_one({"_id": client_id}, session=session)
        return Client.model_validate(found) if found else Client(id=client_id)

    async def clients_by_id(
        self, client_ids: Sequence[str], session: Session | None = None
    ) -> dict[str, Client]:
        found = self.clients.find({"_id": {"$in": list(client_ids)}}, session=session)
        return {stored["_id"]: Client.model_validate(stored) async for stored in found}

    async def page(self, before: datetime, those: Those, after: str | None, limit: int) -> list[Case]:
        """Cases known before an instant, in the order of their ids, starting after `after`."""
        query: dict[str, Any] = {
            "known_at": {"$lt": before},
            **those.query("told_class", "opening.counsellor_id", "opening.enterprise_id"),
        }
        if after:
            query["_id"] = {"$gt": after}
        return [
            Case.model_validate(found) async for found in self.cases.find(query).sort("_id", 1).limit(limit)
        ]

    async def snapshot(self, month: str) -> Snapshot | None:
        """The classification of a month, once all cases are in it."""
        found = await self.snapshots.find_one({"_id": month, "done": True})
        return Snapshot.model_validate(found) if found else None

    async def has_snapshot_to_take(self) -> bool:
        return await self.snapshots.find_one({"done": False}, {"_id": 1}) is not None

    async def snapshot_to_take(self, session: Session) -> Snapshot | None:
        """The earliest month that is not done."""
        found = await self.snapshots.find_one({"done": False}, sort=[("_id", 1)], session=session)
        return Snapshot.model_validate(found) if found else None

    async def cases_after(self, after: str, limit: int, session: Session) -> list[Case]:
        found = self.cases.find({"_id": {"$gt": after}}, session=session).sort("_id", 1).limit(limit)
        return [Case.model_validate(stored) for stored in await found.to_list(None)]

    async def lines_of(self, month: str, those: Those, after: str | None, limit: int) -> list[Line]:
        """The classification of a month in the order of the cases' ids, starting after `after`."""
        query: dict[str, Any] = {
            "month": month,
            **those.query("case_class", "counsellor_id", "enterprise_id"),
        }
        if after:
            query["case_id"] = {"$gt": after}
        found = self.lines.find(query).sort("case_id", 1).limit(limit)
        return [Line.model_validate(stored) async for stored in found]

    async def put_file(self, case_id: str, client_id: str, sealed: Binary, by: str, at: datetime) -> None:
        stored = {"client_id": client_id, "sealed": sealed, "by": by, "at": at}
        await self.files.replace_one({"_id": case_id}, stored, upsert=True)

    async def file(self, case_id: str) -> dict[str, Any] | None:
        return await self.files.find_one({"_id": case_id})


def _agreements_of(event: Event) -> str | None:
    """The id of what was agreed in the case of an event that tells of it, or that it is weighed against."""
    match event.data:
        case MilestoneReached() as told:
            case_id = agreements.case_of(told) if told.milestone in agreements.HEEDED else None
            return agreements.key_of(case_id) if case_id else None
        case CaseOpened(case_id=case_id) | SessionCompleted(case_id=case_id):
            return agreements.key_of(case_id)
        case _:
            return None
