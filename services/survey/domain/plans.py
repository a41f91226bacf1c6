"""Whether a month's plan waits for the department manager: until then staff conduct nothing that is in it (F45)."""

from __future__ import annotations

from typing import ClassVar, Literal

from shared.contracts.envelope import Event
from shared.contracts.events import MilestoneReached
from shared.contracts.facts import Fact, holding
from shared.contracts.plans import DECISIONS
from shared.mongo.documents import Document


class Decided(Fact):
    """The manager's word on a plan."""

    state: Literal["approved", "returned"]


class MonthPlan(Document):
    """What is known of a month's plan. `id` is the month, `2026-04`."""

    collection: ClassVar[str] = "plans"

    drafted: bool = False
    decided: Decided | None = None

    @property
    def waits(self) -> bool:
        """It was laid before the manager, who has not approved it. A month without a plan waits for nobody."""
        return self.drafted and (self.decided is None or self.decided.state != "approved")


def drafted(plan: MonthPlan | None, month: str) -> MonthPlan:
    return (plan or MonthPlan(id=month)).model_copy(update={"drafted": True})


def decided(plan: MonthPlan | None, event: Event, data: MilestoneReached) -> MonthPlan:
    plan = plan or MonthPlan(id=data.subject)
    word = Decided.of(event, state=DECISIONS[data.milestone])
    return plan.model_copy(update={"decided": holding(plan.decided, word)})
