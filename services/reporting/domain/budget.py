"""The yearly budget for follow-ups (F66) and what it was spent on (F67). Money is whole fen throughout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import ClassVar, Literal, get_args

from services.reporting.domain.figures import BudgetFigures
from services.reporting.domain.read_models import Case
from shared.mongo.documents import Document
from shared.policy.model import Policy

Purpose = Literal["questionnaire-upkeep", "training", "other"]
PURPOSES: tuple[Purpose, ...] = get_args(Purpose)

MEANT: tuple[Purpose, ...] = ("questionnaire-upkeep", "training")
"""F67: what the budget is there for."""

FEN = 100
"""Fen in a yuan, in which the policy's target is written."""


class Budget(Document):
    """What finance said was spent in a year, which is its id. The last word holds."""

    collection: ClassVar[str] = "budgets"

    spent: dict[Purpose, int]
    told_at: datetime
    told_by: str


class YearServed(Document):
    """How many cases were served in a year, counted by the database. Never stored; its id is the year."""

    collection: ClassVar[str] = "year_served"

    count: int
    without: frozenset[str] = frozenset()
    """Cases that were left out, since they are being changed."""


def served(year: str, known: YearServed | None, cases: Iterable[Case]) -> int:
    """Cases with a session that ended in the year. Reporting knows no clients, so a case stands for its client."""
    if known is None:
        return 0
    return known.count + sum(year in case.years for case in cases if case.id in known.without)


def budget_figures(year: str, budget: Budget | None, count: int, policy: Policy) -> BudgetFigures | None:
    """The year as far as it has been told. None: finance has said nothing of it."""
    if budget is None:
        return None
    spent = {purpose: budget.spent.get(purpose, 0) for purpose in PURPOSES}
    target = policy.target("budget-per-client")
    allowed = round(target.value * FEN) * count
    return BudgetFigures(
        year=year,
        clause=target.clause,
        served=count,
        allowed=allowed,
        spent=spent,
        total=sum(spent.values()),
        met=sum(spent.values()) <= allowed if count else None,
        as_meant=_as_meant(spent),
    )


def per_client(figures: BudgetFigures) -> float | None:
    """Yuan for each client served. One division, so that it meets the target exactly where the fen do."""
    return figures.total / (FEN * figures.served) if figures.served else None


def _as_meant(spent: Mapping[Purpose, int]) -> bool | None:
    """F67: nothing was spent on anything else; None where nothing was spent."""
    if not any(spent.values()):
        return None
    return not any(amount for purpose, amount in spent.items() if purpose not in MEANT)
