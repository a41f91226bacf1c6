"""Whether a month's plan waits for the department manager: until then staff conduct nothing that is in it (F45)."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from services.survey.domain.follow_ups import FollowUp
from shared.contracts.envelope import Event
from shared.contracts.events import MilestoneReached
from shared.contracts.facts import Fact, holding
from shared.contracts.plans import DECISIONS, SIGNED
from shared.mongo.documents import Document


class Decided(Fact):
    """The manager's word on a plan."""

    state: Literal["approved", "returned"]
    at: datetime | None = None


class Signature(Fact):
    """The manager has signed every amendment up to an instant."""

    at: datetime


class MonthPlan(Document):
    """What is known of a month's plan. `id` is the month, `2026-04`."""

    collection: ClassVar[str] = "plans"

    drafted: bool = False
    decided: Decided | None = None
    signed: Signature | None = None

    @property
    def waits(self) -> bool:
        """It was laid before the manager, who has not approved it. A month without a plan waits for nobody."""
        return self.drafted and (self.decided is None or self.decided.state != "approved")

    def is_unsigned(self, follow_up: FollowUp) -> bool:
        """Whether a follow-up arose after the plan was approved, and the manager has not signed that yet."""
        if not (
            self.decided and self.decided.state == "approved" and self.decided.at and follow_up.plan_told_at
        ):
            return False
        return follow_up.plan_told_at > max(
            self.decided.at, self.signed.at if self.signed else self.decided.at
        )


def drafted(plan: MonthPlan | None, month: str) -> MonthPlan:
    return (plan or MonthPlan(id=month)).model_copy(update={"drafted": True})


def decided(plan: MonthPlan | None, event: Event, data: MilestoneReached) -> MonthPlan:
    """The plan after what the manager said of it."""
    plan = plan or MonthPlan(id=data.subject)
    if data.milestone == SIGNED:
        return plan.model_copy(
            update={"signed": holding(plan.signed, Signature.of(event, at=data.reached_at))}
        )
    word = Decided.of(event, state=DECISIONS[data.milestone], at=data.reached_at)
    return plan.model_copy(update={"decided": holding(plan.decided, word)})
