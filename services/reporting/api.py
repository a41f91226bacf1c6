"""HTTP of reporting: the live figures of a month, and its report as a page and as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict

from services.reporting.domain import counting, people
from services.reporting.domain.figures import Figures, RatedStaff, Reward
from services.reporting.domain.months import months_of, policy_of
from services.reporting.report import render
from services.reporting.store import Store
from shared.clock import Clock
from shared.contracts.types import Month
from shared.policy.versions import Policies
from shared.web.auth import allowed

NO_OUTSIDE = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""The page needs nothing from anywhere, and may ask for nothing."""

InPath = Annotated[Month, Path(description="A month of the company's calendar, `2026-03`.")]
Year = Annotated[str, Path(pattern="^2[0-9]{3}$", description="A year of the company's calendar, `2026`.")]
InQuery = Annotated[Month, Query(description="A month of the company's calendar, `2026-03`.")]
Live = Annotated[bool, Query(description="Figures as they stand now, also where a report was published.")]


class ReportDocument(BaseModel):
    """The figures of a month: as published (F64), or as they stand now while `published_at` is null."""

    model_config = ConfigDict(frozen=True)

    month: str
    published_at: datetime | None
    figures: Figures


class StaffOfYear(BaseModel):
    """Everybody who was rated often enough, the best first, and the best fifth of them."""

    ranking: tuple[RatedStaff, ...]
    reward: Reward


class PublishedReport(BaseModel):
    month: str
    published_at: datetime


class PublishedReports(BaseModel):
    items: list[PublishedReport]
    next: str | None
    """Pass it as `before` for the next page; null at the end."""


def routes(store: Store, policies: Policies, clock: Clock) -> APIRouter:
    """The routes under `/v1`, for those who answer for the regime or see that it is kept."""
    router = APIRouter(
        prefix="/v1",
        tags=["figures"],
        dependencies=[Depends(allowed("manager", "supervisor", "compliance", "operations"))],
    )

    async def live(month: str) -> Figures:
        now = clock.now()
        return counting.figures(month, await store.of_month(month), policy_of(month, policies, now), now)

    async def report_of(month: str, wants_live: bool) -> ReportDocument:
        published = None if wants_live else await store.report(month)
        if published:
            return ReportDocument(month=month, published_at=published.published_at, figures=published.figures)
        return ReportDocument(month=month, published_at=None, figures=await live(month))

    @router.get("/coverage", summary="The figures of a month as they stand now")
    async def coverage(month: InQuery) -> Figures:
        return await live(month)

    @router.get(
        "/years/{year}/staff",
        summary="Staff by satisfaction in a year, and who is rewarded (F76)",
        dependencies=[Depends(allowed("manager"))],
    )
    async def staff_of_year(year: Year) -> StaffOfYear:
        known = await store.ratings(year, months_of(year))
        policy = policy_of(f"{year}-12", policies, clock.now())
        ranked = people.ranking(year, (), known, policy)
        return StaffOfYear(ranking=tuple(ranked), reward=people.reward(year, ranked, policy))

    @router.get("/reports", summary="The reports that were published, the newest first")
    async def reports(
        before: Annotated[Month | None, Query(description="Only months before this one.")] = None,
        limit: Annotated[int, Query(ge=1, le=120)] = 24,
    ) -> PublishedReports:
        found = await store.reports(before, limit + 1)
        items = [PublishedReport(month=one.id, published_at=one.published_at) for one in found[:limit]]
        return PublishedReports(items=items, next=items[-1].month if len(found) > limit else None)

    @router.get("/reports/{month}.json", summary="A month's report as JSON")
    async def report_json(month: InPath, live: Live = False) -> ReportDocument:
        return await report_of(month, live)

    @router.get("/reports/{month}.html", summary="A month's report as a page", response_class=HTMLResponse)
    async def report_html(month: InPath, live: Live = False) -> Response:
        shown = await report_of(month, live)
        return HTMLResponse(
            render(shown.figures, shown.published_at, policy_of(month, policies, clock.now())),
            headers={"Content-Security-Policy": NO_OUTSIDE, "Cache-Control": "no-store"},
        )

    return router
