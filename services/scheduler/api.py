"""HTTP of the scheduler: follow-ups and duties, and milestones that consoles report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from services.scheduler.approval import Approval
from services.scheduler.deciding.draft import SOURCE
from services.scheduler.domain.agenda import Duty, DutyState, FollowUp, FollowUpState
from services.scheduler.domain.planning import Regime
from services.scheduler.domain.plans import Plan
from services.scheduler.store import Store
from shared.clock import Clock
from shared.contracts.envelope import derive
from shared.contracts.events import CaseClass, Form, MilestoneReached
from shared.contracts.plans import MILESTONES
from shared.contracts.types import EARLIEST, Code, Id, Timestamp, write_time
from shared.messaging.bus import Outgoing
from shared.mongo.client import Session
from shared.mongo.journal import Entry, Journal, Outcome
from shared.policy.counting import month_span
from shared.web.auth import Principal, allowed
from shared.web.problems import Problem


class ShownFollowUp(BaseModel):
    """A follow-up as it stands."""

    id: str
    rule: str
    clause: str
    case_class: str = Field(serialization_alias="class")
    case_id: str | None
    client_id: str | None
    scheduled_for: Timestamp
    complete_by: Timestamp
    state: str
    reason: str
    forms: tuple[Form, ...]
    provisional: bool


class ShownDuty(BaseModel):
    """A duty as it stands."""

    id: str
    rule: str
    clause: str
    role: str
    subject: str
    case_id: str | None
    opened_at: Timestamp | None
    due_at: Timestamp | None
    state: DutyState
    provisional: bool


class FollowUps(BaseModel):
    items: list[ShownFollowUp]
    next: str | None


class Duties(BaseModel):
    items: list[ShownDuty]
    next: str | None


class PlanCount(BaseModel):
    """How many follow-ups of a class and rule the plan has."""

    case_class: str = Field(validation_alias="class", serialization_alias="class")
    rule: str
    clause: str
    planned: int
    """In the plan as it was approved, or as it now stands before that."""
    amendments: int
    unsigned: int
    """Amendments that wait for the manager's signature."""


class ShownPlan(BaseModel):
    """A month's plan as it stands."""

    month: str
    state: Literal["drafted", "approved", "returned"]
    drafted_at: Timestamp | None
    decided_at: Timestamp | None
    decided_by: str | None
    signed_until: Timestamp | None
    as_of: Timestamp
    """Sign amendments until this instant: what arises later is not in these figures."""
    counts: list[PlanCount]


class PlanDecision(BaseModel):
    """The manager's word on a plan."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    decision: Literal["approve", "return"]


class PlanSignature(BaseModel):
    """Up to when amendments are signed; all there are, if no time is given."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    until: Timestamp | None = None


class Milestone(BaseModel):
    """Something that was done, as a console reports it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    milestone: Code
    subject: Id
    case_id: Id | None = None
    reached_at: datetime | None = None


MonthPath = Annotated[str, Path(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Manager = Annotated[Principal, Depends(allowed("manager"))]
Reader = Annotated[
    Principal, Depends(allowed("operations", "counsellor", "supervisor", "manager", "compliance"))
]
When = Annotated[Timestamp | None, Query(description="RFC 3339 with an offset")]
After = Annotated[str | None, Query(description="The last id of the page before")]
Limit = Annotated[int, Query(ge=1, le=500)]


def routes(store: Store, journal: Journal, clock: Clock, regime: Regime) -> APIRouter:
    """The routes under `/v1`."""
    router = APIRouter(prefix="/v1")
    router.include_router(_plans(store, Approval(store, journal, clock), clock, regime))

    @router.get("/follow-ups", summary="Follow-ups, by case, client, state, rule, class and time")
    async def get_follow_ups(
        _: Reader,
        case_id: str | None = None,
        client_id: str | None = None,
        state: FollowUpState | None = None,
        rule: str | None = None,
        case_class: Annotated[CaseClass | None, Query(alias="class")] = None,
        scheduled_from: When = None,
        scheduled_before: When = None,
        after: After = None,
        limit: Limit = 100,
    ) -> FollowUps:
        query = _given(case_id=case_id, client_id=client_id, state=state, rule=rule, case_class=case_class)
        query |= _between("scheduled_for", scheduled_from, scheduled_before)
        found = await store.page("follow-up", query, after, limit)
        return _shown([item for item in found if isinstance(item, FollowUp)], limit)

    @router.get("/duties", summary="Duties, by case, subject, role, state, rule and time")
    async def get_duties(
        _: Reader,
        case_id: str | None = None,
        subject: str | None = None,
        role: str | None = None,
        state: DutyState | None = None,
        rule: str | None = None,
        due_from: When = None,
        due_before: When = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Duties:
        query = _given(case_id=case_id, subject=subject, role=role, rule=rule)
        query |= {"state": state or {"$in": get_args(DutyState)}}  # else it was told to nobody
        query |= _between("due_at", due_from, due_before)
        found = await store.page("duty", query, after, limit)
        shown = [
            ShownDuty.model_validate(item, from_attributes=True) for item in found if isinstance(item, Duty)
        ]
        return Duties(items=shown, next=_next(shown, limit))

    @router.post("/milestones", status_code=202, summary="Report that something was done")
    async def post_milestone(
        milestone: Milestone,
        who: Annotated[Principal, Depends(allowed("operations", "counsellor", "manager"))],
    ) -> dict[str, str]:
        if milestone.milestone in MILESTONES:
            raise Problem(
                422, "not-here", "a plan is decided on at /v1/plans/{month}/approval", field="milestone"
            )
        now = clock.now()
        reached_at = milestone.reached_at or now
        if reached_at.tzinfo is None or reached_at > now:
            raise Problem(
                422, "invalid-field", "it must have an offset and not lie in the future", field="reached_at"
            )
        data = MilestoneReached(
            milestone=milestone.milestone,
            subject=milestone.subject,
            case_id=milestone.case_id,
            reached_at=reached_at,
            by=who.subject,
        )
        name = f"out milestone {data.milestone} {data.subject} {write_time(reached_at)}"
        event = derive(name, SOURCE, data, time=reached_at, topic="milestone-reached")

        async def work(session: Session) -> Outcome:
            known = await journal.seen(session, [name])
            return Outcome(entries=[] if known else [Entry(name, [Outgoing.of(event)])])

        await journal.transact(work)
        return {"id": event.id, "status": "accepted"}

    return router


def _plans(store: Store, approval: Approval, clock: Clock, regime: Regime) -> APIRouter:
    router = APIRouter(prefix="/plans/{month}")
    zone = regime.policy.switches.zone

    async def shown(plan: Plan | None) -> ShownPlan:
        if plan is None or plan.state is None:
            raise Problem(404, "no-plan", "this month has no plan yet")
        as_of = clock.now()
        counts = await store.planned_counts(month_span(plan.id, zone), plan)
        return ShownPlan(
            month=plan.id,
            state=plan.state,
            drafted_at=plan.drafted_at,
            decided_at=plan.decided.at if plan.decided else None,
            decided_by=plan.decided.by if plan.decided else None,
            signed_until=plan.signed_until if plan.approved_at else None,
            as_of=as_of,
            counts=[PlanCount.model_validate(count) for count in counts],
        )

    @router.get("", summary="The plan of a month: its state, its size, its amendments")
    async def get_plan(month: MonthPath, _: Reader) -> ShownPlan:
        return await shown(await store.plan(month))

    @router.get("/follow-ups", summary="The follow-ups of a plan: those planned, or those that amend it")
    async def get_planned(
        month: MonthPath,
        _: Reader,
        part: Literal["planned", "amendments", "unsigned"] | None = None,
        case_class: Annotated[CaseClass | None, Query(alias="class")] = None,
        after: After = None,
        limit: Limit = 100,
    ) -> FollowUps:
        plan = await store.plan(month) or Plan(id=month)
        query = _given(case_class=case_class) | _part(plan, part)
        return _shown(await store.planned(month_span(month, zone), query, after, limit), limit)

    @router.post("", summary="Lay what is planned for a month before the manager")
    async def post_plan(
        month: MonthPath, _: Annotated[Principal, Depends(allowed("operations"))]
    ) -> ShownPlan:
        return await shown(await approval.submit(month))

    @router.post("/approval", summary="Approve or return the plan of a month")
    async def post_approval(month: MonthPath, decision: PlanDecision, who: Manager) -> ShownPlan:
        milestone = {"approve": "plan-approved", "return": "plan-returned"}[decision.decision]
        return await shown(await approval.decide(month, milestone, who.subject))

    @router.post("/signature", summary="Sign the amendments of an approved plan")
    async def post_signature(month: MonthPath, signature: PlanSignature, who: Manager) -> ShownPlan:
        return await shown(await approval.sign(month, signature.until, who.subject))

    return router


def _part(plan: Plan, part: str | None) -> dict[str, Any]:
    if part is None:
        return {}
    if plan.approved_at is None:  # nothing amends what is not approved
        return {} if part == "planned" else {"planned_at": {"$lt": EARLIEST}}
    if part == "planned":
        return {"planned_at": {"$not": {"$gt": plan.approved_at}}}
    return {"planned_at": {"$gt": plan.signed_until if part == "unsigned" else plan.approved_at}}


def _shown(found: Sequence[FollowUp], limit: int) -> FollowUps:
    items = [ShownFollowUp.model_validate(item, from_attributes=True) for item in found]
    return FollowUps(items=items, next=_next(items, limit))


def _given(**values: str | None) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _between(field: str, start: datetime | None, end: datetime | None) -> dict[str, Any]:
    bounds = {"$gte": start, "$lt": end}
    given = {name: instant for name, instant in bounds.items() if instant is not None}
    return {field: given} if given else {}


def _next(shown: list[Any], limit: int) -> str | None:
    return shown[-1].id if len(shown) == limit else None
