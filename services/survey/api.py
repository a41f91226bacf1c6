"""HTTP for staff: the worklist, record sheets, attempts, preparation."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict

from services.survey.conducting import Conducting, Opened
from services.survey.domain.cases import Case
from services.survey.domain.clients import Client
from services.survey.domain.follow_ups import MOST_ATTEMPTS, FollowUp
from services.survey.domain.messages import Notice
from services.survey.domain.records import RecordSheet, Sheet
from services.survey.domain.staff import staff_id
from services.survey.store import Store
from shared.clock import Clock
from shared.contracts.events import CaseClass, Form, Outcome
from shared.contracts.types import Id, Timestamp
from shared.mongo.encryption import Sealed
from shared.policy.versions import Policies
from shared.web.auth import Principal, allowed
from shared.web.cursors import read_cursor, write_cursor
from shared.web.problems import Problem

NOTICES_KEPT = timedelta(days=14)
"""How long a notice is shown that belongs to no follow-up."""

MOST_NOTICES = 200

Operations = Annotated[Principal, Depends(allowed("operations"))]
Readers = Annotated[Principal, Depends(allowed("operations", "supervisor"))]
Compliance = Annotated[Principal, Depends(allowed("compliance"))]
PageSize = Annotated[int, Query(ge=1, le=200)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class CallAttempt(_Body):
    """A call that reached nobody."""

    attempted_at: Timestamp | None = None
    """Now, unless given. The same time told twice counts once."""
    result: Literal["no-answer", "busy", "call-back-later", "switched-off", "wrong-number"] = "no-answer"


class VideoBooking(_Body):
    """When a video call will take place."""

    starts_at: Timestamp


class Recorded(BaseModel):
    """How a follow-up was recorded."""

    follow_up_id: str
    case_id: str | None
    form: Form
    outcome: Outcome
    conducted_at: Timestamp
    recorded_at: Timestamp
    by: str
    satisfaction: int | None
    flags: list[str]
    bands: dict[str, str]
    dropped_reason: str | None
    minutes: int | None
    recorded: bool | None
    remarks: list[str]
    """What whoever recorded it should know; empty when all is well."""


class OpenedRecord(Recorded):
    """A record sheet with what is otherwise sealed."""

    notes: str | None
    answers: dict[str, str | list[str]]


class WorkItem(BaseModel):
    """One follow-up to be prepared and conducted."""

    follow_up_id: str
    case_id: str | None
    client_id: str
    rule: str
    clause: str
    case_class: CaseClass
    service: str | None
    counsellor_id: str | None
    sessions: int | None
    attention: str | None
    """Why the case is in key attention, where it is."""
    scheduled_for: Timestamp
    complete_by: Timestamp
    overdue: bool
    forms: list[Form]
    template: str | None
    prepared_at: Timestamp | None
    video_booked_for: Timestamp | None
    attempts: int
    attempts_left: int
    reached_nobody: bool
    """So many calls were made (policy: `call_attempts`) that it may be recorded as unreachable."""
    incident_open: bool
    """The client is in a crisis that is not resolved: ask the supervisor before calling."""


class NoticeItem(BaseModel):
    """Something staff were told."""

    notice_id: str
    what: str
    to: str
    subject: str
    case_id: str | None
    clause: str
    at: Timestamp


class Worklist(BaseModel):
    items: list[WorkItem]
    notices: list[NoticeItem]
    next: str | None
    """Give it as `after` for the next page; absent on the last."""


def routes(store: Store, conducting: Conducting, clock: Clock, policies: Policies) -> APIRouter:
    """The routes under `/v1`."""
    router = APIRouter(prefix="/v1", tags=["follow-ups"])

    @router.get("/worklist", summary="What is to be done today or overdue, oldest deadline first")
    async def worklist(who: Operations, after: str | None = None, limit: PageSize = 50) -> Worklist:
        now = clock.now()
        found = await store.to_do(now, read_cursor(after), limit + 1)
        clients = await store.clients([one.client_id for one in found])
        cases = await store.cases([one.case_id for one in found if one.case_id])
        page = found[:limit]
        more = write_cursor(page[-1].complete_by, page[-1].id) if len(found) > limit else None
        to = ["role:operations", f"staff:{staff_id(who.subject)}"]
        notices = await store.notices(to, now - NOTICES_KEPT, MOST_NOTICES) if after is None else []
        calls = policies.by(now).switches.call_attempts
        return Worklist(
            items=[
                _item(one, clients.get(one.client_id), cases.get(one.case_id or ""), now, calls)
                for one in page
            ],
            notices=[_notice(one) for one in notices],
            next=more,
        )

    @router.post("/follow-ups/{follow_up_id}/record", summary="Record how a follow-up went (F60)")
    async def record(follow_up_id: Id, sheet: RecordSheet, who: Operations) -> Recorded:
        """Idempotent: the same body again gets the same answer, another one 409."""
        return Recorded(**_recorded(await conducting.record(follow_up_id, sheet, who.subject)))

    @router.get("/follow-ups/{follow_up_id}/record", summary="The record sheet; the reading is logged (F6)")
    async def read_record(follow_up_id: Id, who: Readers) -> OpenedRecord:
        role = "supervisor" if "supervisor" in who.roles else "operations"
        try:
            found = await conducting.read_record(follow_up_id, who.subject, role)
        except Sealed:
            raise Problem(410, "erased", "the client was erased: nobody can read this any more") from None
        if found is None:
            raise Problem(404, "no-record", "this follow-up has no record sheet")
        return opened_record(found)

    @router.post("/follow-ups/{follow_up_id}/prepared", summary="All preparation is done (F52)")
    async def prepared(follow_up_id: Id, who: Operations) -> WorkItem:
        return await shown(await conducting.prepared(follow_up_id, who.subject))

    @router.post("/follow-ups/{follow_up_id}/attempts", summary="Count a call that reached nobody")
    async def attempts(follow_up_id: Id, call: CallAttempt, who: Operations) -> WorkItem:
        """A fifth call is refused with 409: nobody is called five times (F10)."""
        made = await conducting.attempted(follow_up_id, call.attempted_at, call.result, who.subject)
        return await shown(made)

    @router.post("/follow-ups/{follow_up_id}/video-booking", summary="Book a video call a day ahead (F24)")
    async def video_booking(follow_up_id: Id, booking: VideoBooking, _: Operations) -> WorkItem:
        return await shown(await conducting.video_booked(follow_up_id, booking.starts_at))

    async def shown(follow_up: FollowUp) -> WorkItem:
        client = await store.one(Client, follow_up.client_id)
        case = await store.one(Case, follow_up.case_id) if follow_up.case_id else None
        now = clock.now()
        return _item(follow_up, client, case, now, policies.by(now).switches.call_attempts)

    return router


def _item(
    follow_up: FollowUp, client: Client | None, case: Case | None, now: datetime, calls: int
) -> WorkItem:
    made = len(follow_up.attempts)
    return WorkItem(
        **follow_up.model_dump(include=set(WorkItem.model_fields) - {"attempts"}),
        follow_up_id=follow_up.id,
        service=case.service if case else None,
        counsellor_id=case.counsellor_id if case else None,
        sessions=case.sessions if case else None,
        attention=case.attention if case else None,
        overdue=now > follow_up.complete_by,
        attempts=made,
        attempts_left=MOST_ATTEMPTS - made,
        reached_nobody=made >= calls,
        incident_open=bool(client and client.in_incident),
    )


def _notice(notice: Notice) -> NoticeItem:
    return NoticeItem(**notice.model_dump(include=set(NoticeItem.model_fields)), notice_id=notice.id)


def opened_record(opened: Opened) -> OpenedRecord:
    answers = {
        key: list(value) if isinstance(value, tuple) else value for key, value in opened.answers.items()
    }
    return OpenedRecord(**_recorded(opened.sheet), notes=opened.notes, answers=answers)


def _recorded(sheet: Sheet) -> dict[str, Any]:
    return sheet.model_dump(include=set(Recorded.model_fields)) | {"follow_up_id": sheet.id}
