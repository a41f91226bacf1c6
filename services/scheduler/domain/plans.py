"""The monthly plan (F34, F44, F45): a dated snapshot of what is planned, for the department manager to approve.

Cases are planned at once, by the event (collision 1). What was planned for a month before its plan was drafted is the
plan; what arises after it was approved is an amendment: it goes ahead, and stands on the manager's list until signed,
or (a switch) waits until then. So nothing is copied: when a follow-up was planned, and when the plan was drafted,
approved and signed, says which is which.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from services.scheduler.domain.agenda import FollowUp
from shared.contracts.envelope import Event
from shared.contracts.events import MilestoneReached
from shared.contracts.facts import Fact, holding
from shared.contracts.plans import DECISIONS, SIGNED
from shared.mongo.documents import Document

PlanState = Literal["drafted", "approved", "returned"]


class Decided(Fact):
    """The manager's word on a plan."""

    state: Literal["approved", "returned"]
    at: datetime
    by: str


class Signature(Fact):
    """The manager has signed every amendment up to an instant."""

    at: datetime
    by: str


class Plan(Document):
    """The plan of a month. `id` is the month, `2026-04`."""

    collection: ClassVar[str] = "plans"

    drafted_at: datetime | None = None
    """When it was last laid before the manager: what was planned until then is in it."""
    decided: Decided | None = None
    signed: Signature | None = None

    @property
    def state(self) -> PlanState | None:
        """None where only a word on it has come so far."""
        if self.decided and (self.decided.state == "approved" or not self._drafted_anew()):
            return self.decided.state
        return "drafted" if self.drafted_at else None

    def _drafted_anew(self) -> bool:
        assert self.decided
        return self.drafted_at is not None and self.drafted_at > self.decided.at

    @property
    def approved_at(self) -> datetime | None:
        return self.decided.at if self.decided and self.decided.state == "approved" else None

    @property
    def signed_until(self) -> datetime | None:
        """Amendments of this time and before are signed; None where nothing could be amended yet."""
        return max((one.at for one in (self.signed, self.decided) if one), default=None)


def drafted(plan: Plan | None, month: str, at: datetime) -> Plan:
    """The plan as it is laid before the manager; one that is approved stays as it is."""
    plan = plan or Plan(id=month)
    return plan if plan.approved_at else plan.model_copy(update={"drafted_at": at})


def told(plan: Plan | None, event: Event, data: MilestoneReached) -> Plan | None:
    """The plan with what a milestone says of it; None where the milestone is about something else."""
    plan = plan or Plan(id=data.subject)
    if state := DECISIONS.get(data.milestone):
        decided = Decided.of(event, state=state, at=data.reached_at, by=data.by)
        return plan.model_copy(update={"decided": holding(plan.decided, decided)})
    if data.milestone == SIGNED:
        signed = Signature.of(event, at=data.reached_at, by=data.by)
        return plan.model_copy(update={"signed": holding(plan.signed, signed)})
    return None


def waits(follow_up: FollowUp, plan: Plan | None) -> bool:
    """Whether a follow-up amends an approved plan, and the manager has not signed that yet."""
    if plan is None or plan.approved_at is None or plan.signed_until is None or follow_up.planned_at is None:
        return False
    return follow_up.pending and follow_up.planned_at > plan.signed_until


def amends(follow_up: FollowUp, plan: Plan | None, at: datetime) -> str | None:
    """The month whose approved plan a follow-up amends that is planned or moved now."""
    if plan is None or plan.approved_at is None or at <= plan.approved_at or not follow_up.pending:
        return None
    return plan.id
