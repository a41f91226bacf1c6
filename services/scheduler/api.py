"""HTTP of the scheduler: follow-ups and duties, and milestones that consoles report."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from services.scheduler.domain.agenda import Duty, FollowUp
from services.scheduler.reactions import SOURCE
from services.scheduler.store import Store
from shared.clock import Clock
from shared.contracts.envelope import derive
from shared.contracts.events import Form, MilestoneReached
from shared.contracts.types import Code, Id, Timestamp, write_time
from shared.messaging.bus import Outgoing
from shared.mongo.client import Session
from shared.mongo.journal import Entry, Journal, Outcome
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
    state: Literal["open", "late", "fulfilled", "cancelled"]
    provisional: bool


class FollowUps(BaseModel):
    items: list[ShownFollowUp]
    next: str | None


class Duties(BaseModel):
    items: list[ShownDuty]
    next: str | None


class Milestone(BaseModel):
    """Something that was done, as a console reports it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    milestone: Code
    subject: Id
    case_id: Id | None = None
    reached_at: datetime | None = None


Reader = Annotated[
    Principal, Depends(allowed("operations", "counsellor", "supervisor", "manager", "compliance"))
]
After = Annotated[str | None, Query(description="The last id of the page before")]
Limit = Annotated[int, Query(ge=1, le=500)]


def routes(store: Store, journal: Journal, clock: Clock) -> APIRouter:
    """The routes under `/v1`."""
    router = APIRouter(prefix="/v1")

    @router.get("/follow-ups", summary="Follow-ups, by case, client and state")
    async def get_follow_ups(
        _: Reader,
        case_id: str | None = None,
        client_id: str | None = None,
        state: str | None = None,
        after: After = None,
        limit: Limit = 100,
    ) -> FollowUps:
        query = _given(case_id=case_id, client_id=client_id, state=state)
        found = await store.page("follow-up", query, after, limit)
        shown = [
            ShownFollowUp.model_validate(item, from_attributes=True)
            for item in found
            if isinstance(item, FollowUp)
        ]
        return FollowUps(items=shown, next=_next(shown, limit))

    @router.get("/duties", summary="Duties, by case, subject and state")
    async def get_duties(
        _: Reader,
        case_id: str | None = None,
        subject: str | None = None,
        role: str | None = None,
        state: Literal["open", "late", "fulfilled", "cancelled"] | None = None,
        after: After = None,
        limit: Limit = 100,
    ) -> Duties:
        query = _given(case_id=case_id, subject=subject, role=role) | _published(state)
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


def _given(**values: str | None) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _published(state: str | None) -> dict[str, Any]:
    match state:
        case None:
            return {"published": "opened"}
        case "open":
            return {"published": ["opened"]}
        case "late":
            return {"published": ["opened", "late"]}
        case _:
            return {"published": state}


def _next(shown: list[Any], limit: int) -> str | None:
    return shown[-1].id if len(shown) == limit else None
