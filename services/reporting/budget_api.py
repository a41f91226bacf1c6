"""HTTP for finance: what was spent of a year's budget, held against what F66 allows."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from services.reporting.domain.budget import Budget, Purpose, budget_figures
from services.reporting.domain.figures import BudgetFigures
from services.reporting.domain.months import policy_of
from services.reporting.store import Store
from shared.clock import Clock
from shared.mongo.client import Session
from shared.mongo.documents import Changes, View
from shared.mongo.journal import Journal, Outcome
from shared.policy.versions import Policies
from shared.web.auth import Principal, allowed
from shared.web.problems import Problem

Year = Annotated[str, Path(pattern="^2[0-9]{3}$", description="A year of the company's calendar, `2026`.")]
Fen = Annotated[int, Field(ge=0, le=10**12, strict=True)]
Finance = Annotated[Principal, Depends(allowed("finance"))]
Readers = Depends(allowed("finance", "manager", "compliance"))


class Spent(BaseModel):
    """What was spent in the year so far, in fen. A purpose that is not named had nothing spent on it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        json_schema_extra={"examples": [{"spent": {"questionnaire-upkeep": 180000, "training": 420000}}]},
    )

    spent: dict[Purpose, Fen]


def routes(store: Store, journal: Journal, policies: Policies, clock: Clock) -> APIRouter:
    """The routes under `/v1/budgets`."""
    router = APIRouter(prefix="/v1/budgets", tags=["budget"])

    async def shown(year: str, budget: Budget | None) -> BudgetFigures:
        policy = policy_of(f"{year}-12", policies, clock.now())
        found = budget_figures(year, budget, (await store.served(year)).count, policy)
        if found is None:
            raise Problem(404, "no-budget", "finance has not told what was spent in this year")
        return found

    @router.put("/{year}", summary="What was spent in a year, by purpose (F66, F67)")
    async def put(year: Year, body: Spent, who: Finance) -> BudgetFigures:
        """It takes the place of what was told before."""
        told = Budget(id=year, spent=dict(body.spent), told_at=clock.now(), told_by=who.subject)

        async def work(_: Session) -> Outcome:
            view = View()
            view.apply(Changes(puts=[told]))
            return Outcome(view=view)

        await journal.transact(work)
        return await shown(year, told)

    @router.get("/{year}", summary="A year's budget as far as it has been told", dependencies=[Readers])
    async def get(year: Year) -> BudgetFigures:
        return await shown(year, await store.budget(year))

    return router
