"""The survey's collections, indexes and queries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from pymongo import ReturnDocument

from services.survey.domain import samples
from services.survey.domain.cases import Case
from services.survey.domain.clients import Client
from services.survey.domain.follow_ups import FollowUp
from services.survey.domain.messages import Message, Notice
from services.survey.domain.plans import MonthPlan
from services.survey.domain.questionnaire import Response
from services.survey.domain.records import Sheet
from services.survey.domain.samples import Item, Recorded, Sample
from services.survey.domain.staff import StaffMember
from shared.contracts.envelope import Event
from shared.contracts.events import (
    CalendarDue,
    CaseClassified,
    ClientErased,
    ClientStatusChanged,
    ConsentChanged,
    FollowUpPlanned,
    IncidentChanged,
    MilestoneReached,
    ReminderDue,
    StaffUpdated,
)
from shared.contracts.plans import MILESTONES
from shared.contracts.sampling import SampleKind
from shared.mongo.client import Database, Session
from shared.mongo.documents import Document, View
from shared.mongo.erasure import Erasure
from shared.policy.counting import month_span
from shared.policy.versions import Policies

D = TypeVar("D", bound=Document)

OVER = ("recorded", "cancelled", "superseded")


def _planned_month(event: Event) -> str | None:
    """The month of whose plan an event speaks."""
    match event.data:
        case CalendarDue(month=month):
            return month
        case MilestoneReached(milestone=milestone, subject=month) if milestone in MILESTONES:
            return month
        case _:
            return None


class Store:
    """What the survey keeps."""

    def __init__(self, db: Database, policies: Policies) -> None:
        self._db = db
        self._samples = samples.rules(policies)
        self._zone = policies.versions[-1].switches.zone

    async def ensure_indexes(self) -> None:
        """Create the indexes; harmless when they exist."""
        follow_ups = self._db.get_collection(FollowUp.collection)
        await follow_ups.create_index([("state", 1), ("complete_by", 1), ("_id", 1)])
        await follow_ups.create_index("client_id")
        await follow_ups.create_index("invitation")
        messages = self._db.get_collection(Message.collection)
        await messages.create_index("next_at", partialFilterExpression={"state": "pending"}, name="to_send")
        await messages.create_index([("client_id", 1), ("state", 1)])
        await messages.create_index([("subject", 1), ("state", 1)])
        notices = self._db.get_collection(Notice.collection)
        await notices.create_index([("to", 1), ("at", 1)])
        await notices.create_index("client_id")
        for kind in (Case, Response, Sheet, Item):
            await self._db.get_collection(kind.collection).create_index("client_id")
        await self._db.get_collection(Sheet.collection).create_index("recorded_at")
        await self._db.get_collection(Item.collection).create_index([("sample", 1), ("_id", 1)])

    # --- reading for decisions --------------------------------------------------------------------------------

    async def concerning(self, session: Session, events: Sequence[Event]) -> View:
        """What the events of a batch concern: their clients and follow-ups, and all that hangs on a client whose
        consent, status or incident changes."""
        view = View()
        clients = {str(event.data.client_id) for event in events if getattr(event.data, "client_id", None)}  # type: ignore[attr-defined]
        await self._load(session, view, Erasure, {"_id": {"$in": list(clients)}})
        await self._load(session, view, Client, {"_id": {"$in": list(clients)}})
        changed = {
            event.data.client_id
            for event in events
            if isinstance(event.data, ConsentChanged | ClientStatusChanged | IncidentChanged | ClientErased)
        }
        if changed:
            await self._load_all_of(session, view, changed)
        erased = {event.data.client_id for event in events if isinstance(event.data, ClientErased)}
        if erased:
            await self._load_everything_of(session, view, erased)
        await self._load_by_follow_up(session, view, events)
        cases = [event.data.case_id for event in events if isinstance(event.data, CaseClassified)]
        if cases:
            await self._load(session, view, Case, {"_id": {"$in": cases}})
        staff = [event.data.staff_id for event in events if isinstance(event.data, StaffUpdated)]
        if staff:
            await self._load(session, view, StaffMember, {"_id": {"$in": staff}})
        months = list({month for event in events if (month := _planned_month(event))})
        if months:
            await self._load(session, view, MonthPlan, {"_id": {"$in": months}})
        for month, kind in sorted({drawn for event in events if (drawn := self._sampled(event))}):
            await self._load_drawable(session, view, month, kind)
        return view

    def _sampled(self, event: Event) -> tuple[str, SampleKind] | None:
        """The month and kind of the sample that an event asks for."""
        if not isinstance(event.data, CalendarDue):
            return None
        kind = self._samples.get(event.data.rule)
        return (event.data.month, kind) if kind else None

    async def _load_drawable(self, session: Session, view: View, month: str, kind: SampleKind) -> None:
        """The month's sheets without what is written on them, and of recordings the clients' consents."""
        key = samples.sample_id(month, kind)
        await self._load(session, view, Sample, {"_id": key})
        if view.get(Sample, key):
            return
        start, end = month_span(month, self._zone)
        where: dict[str, Any] = {"recorded_at": {"$gte": start, "$lt": end}}
        if kind == "recording":
            where["recorded"] = True
        fields = ["client_id", "by", "conducted_at", "recorded_at", "recorded"]
        found = self._db.get_collection(Sheet.collection).find(where, fields, session=session)
        view.load([Recorded.model_validate(stored) for stored in await found.to_list(None)])
        if kind == "recording":
            clients = sorted({sheet.client_id for sheet in view.all(Recorded)})
            await self._load(session, view, Client, {"_id": {"$in": clients}})

    async def _load_by_follow_up(self, session: Session, view: View, events: Sequence[Event]) -> None:
        ids = {str(event.data.follow_up_id) for event in events if event.topic.startswith("follow-up-")}  # type: ignore[attr-defined]
        ids |= {event.data.subject for event in events if isinstance(event.data, ReminderDue)}
        if ids:
            await self._load(session, view, FollowUp, {"_id": {"$in": list(ids)}})
        ended = [
            event.data.follow_up_id
            for event in events
            if isinstance(event.data, FollowUpPlanned) and event.data.change in ("cancelled", "superseded")
        ]
        if ended:
            await self._load(session, view, Message, {"subject": {"$in": ended}, "state": "pending"})

    async def _load_all_of(self, session: Session, view: View, clients: set[str]) -> None:
        of_them = {"client_id": {"$in": list(clients)}}
        await self._load(session, view, FollowUp, of_them | {"state": {"$nin": list(OVER)}})
        await self._load(session, view, Message, of_them | {"state": "pending"})
        subjects = [message.subject for message in view.all(Message)]
        if subjects:
            await self._load(session, view, FollowUp, {"_id": {"$in": subjects}})

    async def _load_everything_of(self, session: Session, view: View, clients: set[str]) -> None:
        of_them = {"client_id": {"$in": list(clients)}}
        for kind in (Case, FollowUp, Message, Notice, Response, Sheet, Item):
            await self._load(session, view, kind, of_them)
        drawn = sorted({item.sample for item in view.all(Item)})
        if drawn:
            await self._load(session, view, Sample, {"_id": {"$in": drawn}})

    async def about(self, session: Session, follow_up_id: str) -> View:
        """What one command about a follow-up concerns."""
        view = View()
        for kind in (FollowUp, Response, Sheet):
            await self._load(session, view, kind, {"_id": follow_up_id})
        follow_up = view.get(FollowUp, follow_up_id)
        if follow_up:
            await self._load(session, view, Client, {"_id": follow_up.client_id})
            await self._load(session, view, Erasure, {"_id": follow_up.client_id})
            await self._load(session, view, Message, {"client_id": follow_up.client_id, "state": "pending"})
            others = {"client_id": follow_up.client_id, "state": {"$nin": list(OVER)}}
            await self._load(session, view, FollowUp, others)
        return view

    async def sampled(self, session: Session, sample: str, item: str | None = None) -> View:
        """What a command about a sample, or about one of its items, concerns."""
        view = View()
        await self._load(session, view, Sample, {"_id": sample})
        if item:
            await self._load(session, view, Item, {"_id": item})
        return view

    async def _load(self, session: Session, view: View, kind: type[D], where: dict[str, Any]) -> None:
        found = self._db.get_collection(kind.collection).find(where, session=session)
        view.load([kind.model_validate(stored) for stored in await found.to_list(None)])

    # --- reading one thing ------------------------------------------------------------------------------------

    async def one(self, kind: type[D], key: str) -> D | None:
        stored = await self._db.get_collection(kind.collection).find_one({"_id": key})
        return kind.model_validate(stored) if stored else None

    async def invited(self, invitation: str) -> FollowUp | None:
        stored = await self._db.get_collection(FollowUp.collection).find_one({"invitation": invitation})
        return FollowUp.model_validate(stored) if stored else None

    # --- lists ------------------------------------------------------------------------------------------------

    async def to_do(self, now: datetime, after: tuple[datetime, str] | None, limit: int) -> list[FollowUp]:
        """Follow-ups whose work has begun and that nobody has recorded, oldest deadline first."""
        where: dict[str, Any] = {"state": "due", "work_from": {"$lte": now}, "stopped": None}
        if after:
            where["$or"] = [
                {"complete_by": {"$gt": after[0]}},
                {"complete_by": after[0], "_id": {"$gt": after[1]}},
            ]
        found = self._db.get_collection(FollowUp.collection).find(where)
        found = found.sort([("complete_by", 1), ("_id", 1)]).limit(limit)
        return [FollowUp.model_validate(stored) async for stored in found]

    async def notices(self, to: Sequence[str], since: datetime, limit: int) -> list[Notice]:
        """What staff were told since, newest first; what is about a follow-up that is over is left out."""
        pipeline: list[dict[str, Any]] = [
            {"$match": {"to": {"$in": list(to)}, "at": {"$gte": since}}},
            {"$sort": {"at": -1, "_id": -1}},
            {"$lookup": {"from": FollowUp.collection, "localField": "subject", "foreignField": "_id", "as": "of"}},
            {"$match": {"of.state": {"$nin": list(OVER)}}},
            {"$limit": limit},
            {"$unset": "of"},
        ]  # fmt: skip
        found = self._db.get_collection(Notice.collection).aggregate(pipeline)
        return [Notice.model_validate(stored) async for stored in found]

    async def clients(self, ids: Sequence[str]) -> dict[str, Client]:
        found = self._db.get_collection(Client.collection).find({"_id": {"$in": list(ids)}})
        return {stored["_id"]: Client.model_validate(stored) async for stored in found}

    async def cases(self, ids: Sequence[str]) -> dict[str, Case]:
        found = self._db.get_collection(Case.collection).find({"_id": {"$in": list(ids)}})
        return {stored["_id"]: Case.model_validate(stored) async for stored in found}

    async def samples(self, month: str) -> list[Sample]:
        """What was drawn of a month."""
        found = self._db.get_collection(Sample.collection).find({"month": month}).sort("_id", 1)
        return [Sample.model_validate(stored) async for stored in found]

    async def items(self, sample: str) -> list[Item]:
        """Everything in a sample, in the order of the lots."""
        found = self._db.get_collection(Item.collection).find({"sample": sample}).sort("_id", 1)
        return [Item.model_validate(stored) async for stored in found]

    # --- the messages' outbox ---------------------------------------------------------------------------------

    async def claim(self, now: datetime, until: datetime) -> Message | None:
        """The oldest message to be tried now; other replicas leave it alone `until` then."""
        stored = await self._db.get_collection(Message.collection).find_one_and_update(
            {"state": "pending", "next_at": {"$lte": now}},
            {"$set": {"next_at": until}},
            sort=[("next_at", 1)],
            return_document=ReturnDocument.AFTER,
        )
        return Message.model_validate(stored) if stored else None

    async def next_try(self) -> datetime | None:
        """When the next message is to be tried."""
        stored = await self._db.get_collection(Message.collection).find_one(
            {"state": "pending", "next_at": {"$ne": None}}, sort=[("next_at", 1)]
        )
        return stored["next_at"] if stored else None

    async def settle(self, claimed: Message, became: Message) -> None:
        """Write what became of a claimed message, unless a reaction changed it meanwhile; what went out, always."""
        where: dict[str, Any] = {"_id": claimed.id, "state": "pending", "next_at": claimed.next_at}
        if became.state in ("sent", "refused"):
            where = {"_id": claimed.id}
        written = became.to_mongo()
        del written["_id"]
        await self._db.get_collection(Message.collection).update_one(where, {"$set": written})

    async def pending_messages(self) -> int:
        return int(await self._db.get_collection(Message.collection).count_documents({"state": "pending"}))
