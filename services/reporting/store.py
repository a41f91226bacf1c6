"""The collections of reporting: `follow_ups`, `duties`, `escalations`, `incidents`, `cases`, `intake_data`, `sampled`,
`staff`, `budgets`, `reports`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from services.reporting.domain.budget import Budget, YearServed
from services.reporting.domain.counting import TREND_MONTHS, Facts
from services.reporting.domain.months import month_before, months_of, months_up_to
from services.reporting.domain.read_models import (
    Case,
    Duty,
    Escalation,
    FollowUp,
    Incident,
    IntakeData,
    Report,
    Sampled,
    StaffMember,
    YearRatings,
)
from shared.mongo.client import Database, Session
from shared.mongo.documents import Document

D = TypeVar("D", bound=Document)


class Store:
    """Queries of reporting."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def ensure_indexes(self) -> None:
        for kind in (FollowUp, Duty, Escalation, Incident, Sampled):
            await self.db.get_collection(kind.collection).create_index("month")
        for end in ("opened", "closed", "dropped", "years"):
            await self.db.get_collection(Case.collection).create_index(end)

    async def by_id(self, kind: type[D], ids: Iterable[str], session: Session | None = None) -> list[D]:
        """The documents of those ids that exist."""
        wanted = sorted(set(ids))
        return await self._find(kind, {"_id": {"$in": wanted}}, session) if wanted else []

    async def of_month(
        self,
        month: str,
        session: Session | None = None,
        changing: Collection[str] = (),
        changing_cases: Collection[str] = (),
    ) -> Facts:
        """Everything that the figures of a month are counted from, the follow-ups of its trend included.

        `changing` are follow-ups, and `changing_cases` cases, that whoever asks has at hand and may be about to change.
        """
        months = {"$in": list(months_up_to(month, TREND_MONTHS))}
        follow_ups = await self._find(FollowUp, {"month": months}, session)
        cases = await self._find(
            Case, {"$or": [{"opened": month}, {"closed": month}, {"dropped": month}]}, session
        )
        known = {case.id for case in cases}
        others = {one.case_id for one in follow_ups if one.month == month and one.case_id} - known
        return Facts(
            follow_ups=follow_ups,
            duties=await self._find(Duty, {"month": month}, session),
            escalations=await self._find(Escalation, {"month": month}, session),
            incidents=await self._find(Incident, {"month": month}, session),
            cases=[*cases, *await self.by_id(Case, others, session)],
            intake_data=await self.by_id(
                IntakeData, [one.id for one in cases if one.opened == month], session
            ),
            staff=await self._find(StaffMember, {}, session),
            earlier=await self._earlier(month, changing, session),
            budgets=await self.by_id(Budget, [month[:4]], session),
            served=[await self.served(month[:4], changing_cases, session)],
            sampled=await self._find(Sampled, {"month": month_before(month)}, session),
        )

    async def _earlier(
        self, month: str, changing: Collection[str], session: Session | None
    ) -> list[YearRatings]:
        """In December, the year's ratings but for the months of the trend, which are read anyway."""
        year, _, number = month.partition("-")
        if number != "12":
            return []
        trend = months_up_to(month, TREND_MONTHS)
        months = tuple(one for one in months_of(year) if one not in trend)
        return [await self.ratings(year, months, changing, session)]

    async def ratings(
        self,
        year: str,
        months: Sequence[str],
        without: Collection[str] = (),
        session: Session | None = None,
    ) -> YearRatings:
        """F76: what clients gave for calls in those months, by who conducted them."""
        pipeline: list[dict[str, Any]] = [
            {
                "$match": {
                    "month": {"$in": list(months)},
                    "_id": {"$nin": sorted(without)},
                    "record.satisfaction": {"$ne": None},
                    "record.form": {"$ne": "questionnaire"},
                    "record.by": {"$nin": [None, ""]},
                }
            },
            {
                "$group": {
                    "_id": "$record.by",
                    "points": {"$sum": "$record.satisfaction"},
                    "count": {"$sum": 1},
                }
            },
        ]
        found = self.db.get_collection(FollowUp.collection).aggregate(pipeline, session=session)
        staff = {one["_id"]: (one["points"], one["count"]) async for one in found}
        return YearRatings(id=year, months=tuple(months), without=frozenset(without), staff=staff)

    async def budget(self, year: str) -> Budget | None:
        found = await self.by_id(Budget, [year])
        return found[0] if found else None

    async def served(
        self, year: str, without: Collection[str] = (), session: Session | None = None
    ) -> YearServed:
        """F66: how many cases had a session in the year."""
        query = {"years": year, "_id": {"$nin": sorted(without)}}
        count = await self.db.get_collection(Case.collection).count_documents(query, session=session)
        return YearServed(id=year, count=int(count), without=frozenset(without))

    async def report(self, month: str) -> Report | None:
        """The report of a month as it was published."""
        found = await self.by_id(Report, [month])
        return found[0] if found else None

    async def reports(self, before: str | None, limit: int) -> list[Report]:
        """Published reports, the newest month first, those before a month if one is named."""
        query: dict[str, Any] = {"_id": {"$lt": before}} if before else {}
        found = self.db.get_collection(Report.collection).find(query).sort("_id", -1).limit(limit)
        return [Report.model_validate(stored) async for stored in found]

    async def _find(self, kind: type[D], query: dict[str, Any], session: Session | None) -> list[D]:
        found = self.db.get_collection(kind.collection).find(query, session=session)
        return [kind.model_validate(stored) async for stored in found]
