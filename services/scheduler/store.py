"""The collections of the scheduler: `agenda`, `cases`, `case_events`, `clients`, `plans`, `versions`, `leases`,
`replicas`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from services.scheduler.domain.agenda import (
    AnyItem,
    Applied,
    CaseEvents,
    Date,
    Duty,
    FollowUp,
    Item,
    KnownCase,
    KnownClient,
    Part,
    item,
)
from services.scheduler.domain.plans import Plan
from shared.contracts.envelope import Event
from shared.contracts.events import (
    CaseClassified,
    ClientErased,
    ClientStatusChanged,
    ConsentChanged,
    IncidentChanged,
    MilestoneReached,
)
from shared.contracts.plans import MILESTONES
from shared.mongo.client import Database, Session
from shared.mongo.documents import Document, View

PLANS = 12
"""So many plans are read, the latest ones: nobody plans or decides for the months before."""


BY_MONTH = "planned"
"""The index by which the follow-ups of a month are found."""

BY_ROLE = "duties"
"""The index by which a role's duties are found that are open, or late, among all that were ever done."""

Span = tuple[datetime, datetime]
"""From an instant, included, to another, left out."""


def _within(span: Span) -> dict[str, datetime]:
    return {"$gte": span[0], "$lt": span[1]}


def _is_about_a_plan(event: Event) -> bool:
    return isinstance(event.data, MilestoneReached) and event.data.milestone in MILESTONES


_AROUND = {"kind": 1, "subject": 1, "client_id": 1, "case_id": 1, "month": 1}
"""What has to be known of an item to read all that its firing may concern."""


def _concerned(events: Sequence[Event]) -> list[str]:
    """The clients about whom everything has to be known."""
    return [
        event.data.client_id
        for event in events
        if isinstance(event.data, ClientStatusChanged | ClientErased | ConsentChanged | IncidentChanged)
    ]


class Store:
    """Queries of the scheduler."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.agenda = db.get_collection(Item.collection)
        self.cases = db.get_collection(KnownCase.collection)
        self.case_events = db.get_collection(CaseEvents.collection)
        self.clients = db.get_collection(KnownClient.collection)
        self.plans = db.get_collection(Plan.collection)

    async def ensure_indexes(self) -> None:
        await self.agenda.create_index(
            [("slot", 1), ("next_at", 1)],
            partialFilterExpression={"next_at": {"$type": "date"}},
            name="timers",
        )
        await self.agenda.create_index(
            "scheduled_for", partialFilterExpression={"kind": "follow-up"}, name=BY_MONTH
        )
        await self.agenda.create_index(
            [("role", 1), ("state", 1), ("_id", 1)], partialFilterExpression={"kind": "duty"}, name=BY_ROLE
        )
        await self.agenda.create_index("subject")
        await self.agenda.create_index(
            "held_for", partialFilterExpression={"held_for": {"$type": "string"}}, name="held"
        )
        await self.agenda.create_index([("case_id", 1), ("kind", 1)])
        await self.agenda.create_index("client_id")
        await self.agenda.create_index(
            [("provisional", 1), ("_id", 1)],
            partialFilterExpression={"provisional": True},
            name="provisional",
        )
        await self.cases.create_index("client_id")
        await self.case_events.create_index("client_id")

    async def of_cases(self, session: Session, events: Sequence[Event], cases: Iterable[str]) -> View:
        """What is known of the cases that events are about, and of all cases of the clients whom they concern."""
        concerned = _concerned(events)
        view = View()
        if wanted := list(cases):
            those = {"$or": [{"_id": {"$in": wanted}}, {"client_id": {"$in": concerned}}]}
            query = those if concerned else {"_id": {"$in": wanted}}
            await self._load_cases(view, query, session)
        elif concerned:
            await self._load_cases(view, {"client_id": {"$in": concerned}}, session)
        return view

    async def concerning(
        self,
        session: Session,
        view: View,
        events: Sequence[Event],
        subjects: Iterable[str],
        also_whole: Iterable[str] = (),
    ) -> None:
        """What events are about: the whole agenda of a case that was classified or is named, or of a client who is
        concerned; else of subjects."""
        cases = {event.data.case_id for event in events if isinstance(event.data, CaseClassified)}
        concerned = _concerned(events)
        clients = {
            str(client) for event in events if (client := getattr(event.data, "client_id", None)) is not None
        }
        theirs = {
            case.id
            for kind in (KnownCase, CaseEvents)
            for client in concerned
            for case in view.having(kind, "client_id", client)
        }
        either: list[dict[str, Any]] = []
        if whole := [*cases, *theirs, *also_whole]:
            either.append({"case_id": {"$in": whole}})
        if concerned:
            either.append({"client_id": {"$in": concerned}})
        if wanted := list(subjects):
            either.append({"subject": {"$in": wanted}})
        if either:
            await self._load(view, {"$or": either}, session)
        await self._load_clients(view, clients, session)
        plans = [event.data.subject for event in events if _is_about_a_plan(event)]  # type: ignore[attr-defined]
        if cases or concerned or plans:
            await self._load_plans(view, session)
        if plans:
            await self._load_held(view, plans, session)

    async def due(self, slots: Sequence[int], now: datetime, limit: int) -> list[dict[str, Any]]:
        """Ids, kinds, subjects and clients of the items whose time has come, the earliest first."""
        # The type is said as in the partial index: else the planner does not take it, and reads the whole agenda.
        query = {"slot": {"$in": list(slots)}, "next_at": {"$lte": now, "$type": "date"}}
        found = self.agenda.find(query, _AROUND).sort("next_at", 1).limit(limit)
        return await found.to_list(None)

    async def next_at(self, slots: Sequence[int]) -> datetime | None:
        """When the next item of these slots fires."""
        query = {"slot": {"$in": list(slots)}, "next_at": {"$type": "date"}}
        found = await self.agenda.find_one(query, {"next_at": 1}, sort=[("next_at", 1)])
        return found["next_at"] if found else None

    async def provisional(self, after: str, limit: int) -> list[dict[str, Any]]:
        """As `due`, the items that wait and whose times need a day of a year without notice, in the order of ids."""
        query = {"provisional": True, "_id": {"$gt": after}, "next_at": {"$type": "date"}}
        found = self.agenda.find(query, _AROUND).sort("_id", 1).limit(limit).hint("provisional")
        return await found.to_list(None)

    async def applied(self, version: str, session: Session) -> Applied | None:
        stored = await self.db.get_collection(Applied.collection).find_one({"_id": version}, session=session)
        return Applied.model_validate(stored) if stored else None

    async def not_yet_due(
        self, session: Session, part: Part, after: str, limit: int
    ) -> tuple[View, Sequence[Document]]:
        """What a new version may apply to, in the order of ids, and everything about it."""
        view = View()
        query: dict[str, Any] = {"_id": {"$gt": after}}
        if part in ("cases", "clients"):
            where = self.cases if part == "cases" else self.clients
            query |= {} if part == "cases" else {"resolved.0": {"$exists": True}}
            stored = await where.find(query, session=session).sort("_id", 1).limit(limit).to_list(None)
            ids = [one["_id"] for one in stored]
            clients = ids if part == "clients" else [one["client_id"] for one in stored]
            about = {"_id": {"$in": ids}} if part == "cases" else {"client_id": {"$in": ids}}
            await self._load_cases(view, about, session)
            await self._load(view, {"case_id" if part == "cases" else "client_id": {"$in": ids}}, session)
            await self._load_clients(view, clients, session)
            await self._load_plans(view, session)
            of: type[Document] = KnownCase if part == "cases" else KnownClient
            return view, [one for key in ids if (one := view.get(of, key))]
        query |= {"kind": "duty" if part == "duties" else "date", "next_at": {"$type": "date"}}
        waiting = self.agenda.find(query, _AROUND, session=session).sort("_id", 1).limit(limit).hint("_id_")
        stored = await waiting.to_list(None)
        await self._load(view, {"subject": {"$in": [one["subject"] for one in stored]}}, session)
        kind: type[Document] = Duty if part == "duties" else Date
        return view, [found for one in stored if (found := view.get(kind, one["_id"]))]

    async def around(
        self,
        session: Session,
        due: Sequence[dict[str, Any]],
        *,
        with_cases: bool = False,
        with_plans: bool = False,
    ) -> View:
        """Everything about the subjects of due items, and their clients; also of their cases and of the plans, where
        asked for."""
        view = View()
        cases = {stored["case_id"] for stored in due if stored.get("case_id")} if with_cases else set()
        if cases:
            await self._load_cases(view, {"_id": {"$in": list(cases)}}, session)
        subjects = list({stored["subject"] for stored in due})
        # What a date opens, and what reminds of it, is about its month: it may have been done ahead.
        subjects += list({stored["month"] for stored in due if stored.get("month")})
        await self._load(view, {"subject": {"$in": subjects}}, session)
        await self._load_clients(
            view, {stored["client_id"] for stored in due if stored.get("client_id")}, session
        )
        if with_plans or any(stored["kind"] == "date" for stored in due):
            await self._load_plans(view, session)
        return view

    async def _load(self, view: View, query: dict[str, Any], session: Session) -> None:
        found = await self.agenda.find(query, session=session).to_list(None)
        view.load(item(stored) for stored in found)

    async def _load_cases(self, view: View, query: dict[str, Any], session: Session) -> None:
        found = await self.cases.find(query, session=session).to_list(None)
        view.load(KnownCase.model_validate(stored) for stored in found)
        found = await self.case_events.find(query, session=session).to_list(None)
        view.load(CaseEvents.model_validate(stored) for stored in found)

    async def _load_clients(self, view: View, ids: Iterable[str], session: Session) -> None:
        wanted = list(ids)
        if wanted:
            found = await self.clients.find({"_id": {"$in": wanted}}, session=session).to_list(None)
            view.load(KnownClient.model_validate(stored) for stored in found)

    async def plan(self, month: str, session: Session | None = None) -> Plan | None:
        stored = await self.plans.find_one({"_id": month}, session=session)
        return Plan.model_validate(stored) if stored else None

    async def planned(
        self, month: Span, query: dict[str, Any], after: str | None, limit: int
    ) -> list[FollowUp]:
        """The follow-ups of a month, in the order of their ids, starting after `after`."""
        wanted = {"kind": "follow-up", "scheduled_for": _within(month), **query}
        if after:
            wanted["_id"] = {"$gt": after}
        found = self.agenda.find(wanted, hint=BY_MONTH).sort("_id", 1).limit(limit)
        return [FollowUp.model_validate(stored) async for stored in found]

    async def planned_counts(self, month: Span, plan: Plan) -> list[dict[str, Any]]:
        """How many follow-ups of a month are in its plan, amend it, and amend it without a signature: by class and
        rule."""
        never = {"$literal": None}
        amends = {"$gt": ["$planned_at", plan.approved_at]} if plan.approved_at else never
        unsigned = {"$gt": ["$planned_at", plan.signed_until]} if plan.approved_at else never
        counted = self.agenda.aggregate(
            [
                {"$match": {"kind": "follow-up", "scheduled_for": _within(month)}},
                {
                    "$group": {
                        "_id": {"class": "$case_class", "rule": "$rule", "clause": "$clause"},
                        "planned": {"$sum": {"$cond": [amends, 0, 1]}},
                        "amendments": {"$sum": {"$cond": [amends, 1, 0]}},
                        "unsigned": {"$sum": {"$cond": [unsigned, 1, 0]}},
                    }
                },
                {"$sort": {"_id": 1}},
            ],
            hint=BY_MONTH,
        )
        return [{**group.pop("_id"), **group} async for group in counted]

    async def _load_plans(self, view: View, session: Session) -> None:
        found = self.plans.find(session=session).sort("_id", -1).limit(PLANS)
        view.load(Plan.model_validate(stored) for stored in await found.to_list(None))

    async def _load_held(self, view: View, months: Sequence[str], session: Session) -> None:
        """What waits for the signature of an amendment to these plans, and the reminders of it."""
        held = {"held_for": {"$in": list(months), "$type": "string"}}
        await self._load(view, held, session)
        subjects = [one.id for month in months for one in view.having(FollowUp, "held_for", month)]
        if subjects:
            await self._load(view, {"subject": {"$in": subjects}}, session)

    async def missing_dates(self, ids: Sequence[str]) -> set[str]:
        found = self.agenda.find({"_id": {"$in": list(ids)}}, {"_id": 1})
        return set(ids) - {stored["_id"] async for stored in found}

    async def page(self, kind: str, query: dict[str, Any], after: str | None, limit: int) -> list[AnyItem]:
        """Items of a kind in the order of their ids, starting after `after`."""
        wanted = {"kind": kind, **query}
        if after:
            wanted["_id"] = {"$gt": after}
        return [item(stored) async for stored in self.agenda.find(wanted).sort("_id", 1).limit(limit)]
