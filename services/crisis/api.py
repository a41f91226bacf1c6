"""HTTP: flags come in, incidents are listed and acted on, one tap acknowledges."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Body as InBody
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict
from pymongo.errors import PyMongoError

from services.crisis import domain
from services.crisis.board import Unavailable
from services.crisis.chains import Chains
from services.crisis.domain import Flag, Incident, NotPossible, State
from services.crisis.flags import TOPIC, unreadable_over_http
from services.crisis.links import Expired, Forged, Link, Links
from services.crisis.message import Composer
from services.crisis.once import Key, Once
from services.crisis.pager import Pager, Raised
from services.crisis.pages import ACKNOWLEDGE_POLICY, acknowledge_page, said
from services.crisis.store import Store
from shared.clock import Clock
from shared.contracts.envelope import Refused, parse_structured
from shared.contracts.events import CrisisFlagged
from shared.contracts.types import Code, Timestamp, staff_id, write_time
from shared.observability import metrics
from shared.web.auth import Principal, allowed
from shared.web.bodies import Body, read_body
from shared.web.problems import MAX_REQUEST_BYTES, Problem

log = structlog.get_logger(__name__)

ANSWER_WITHIN_SECONDS = 15.0
"""A caller is told by then whether its flag is safe; paging and storing go on."""
STORED_TOO_WITHIN_SECONDS = 1.0
"""So long the answer waits for the database once the page is out: who has it need not send the flag again, whatever
becomes of this process."""
WRITTEN_WITHIN_SECONDS = 3.0
FLAGGING = "/v1/crises"
"""Where flags come in. A body that is too large pages as well, like any that cannot be read."""

Act = Callable[[Incident, str, datetime], Incident]
"""What somebody does about an incident: who, and when."""

_NO_TRACE = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": ACKNOWLEDGE_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}


class IncidentView(BaseModel):
    """An incident as staff see it."""

    incident_id: str
    client_id: str
    case_id: str | None
    state: State
    level: str
    drill: bool
    awaiting_acknowledgement: bool
    flags: int
    opened_at: Timestamp | None
    since: Timestamp | None
    acknowledged_at: Timestamp | None
    acknowledged_by: str | None
    intervening_at: Timestamp | None
    resolved_at: Timestamp | None
    head_told_at: Timestamp | None
    next_at: Timestamp | None


class Line(BaseModel):
    """One line of an incident's timeline."""

    at: Timestamp
    what: str
    by: str | None
    step: str | None
    stage: float
    """Seconds after the step's first page, where it went over a later channel of those who had that."""
    channel: str | None
    reached: int
    level: str | None
    source: str | None
    signals: tuple[str, ...]
    origin: str | None
    note: str | None


class IncidentWithTimeline(IncidentView):
    """An incident with every step that was taken."""

    written_down: bool
    """Whether the database holds all of it; else it is in memory, and will be written."""
    timeline: list[Line]


class IncidentPage(BaseModel):
    """A page of a list; `next` is the cursor of the following one."""

    items: list[IncidentView]
    next: str | None


class Resolution(BaseModel):
    """How it ended, as a code."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    outcome: Code


class Assessment(BaseModel):
    """A step of the assessment that was done (A29)."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    step: domain.AssessmentStep


class Referral(BaseModel):
    """Who was asked to help, or has answered (A31)."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    agency: domain.Agency


class Taken(BaseModel):
    """What became of a flag: paged, stored, or (in a moment) both."""

    incident_id: str
    paged: bool
    stored: bool


def see(incident: Incident, chains: Chains) -> IncidentView:
    """An incident as staff see it."""
    return IncidentView(
        incident_id=incident.id,
        client_id=incident.client_id,
        case_id=incident.case_id,
        state=incident.state,
        level=incident.level,
        drill=incident.drill,
        awaiting_acknowledgement=incident.awaiting,
        flags=max(incident.flags_written, len(incident.flags)),
        opened_at=incident.opened_at,
        since=incident.since,
        acknowledged_at=incident.acknowledged_at,
        acknowledged_by=incident.acknowledged_by,
        intervening_at=incident.intervening_at,
        resolved_at=incident.resolved_at,
        head_told_at=incident.head_told_at,
        next_at=domain.next_at(incident, chains.of(incident)),
    )


def see_line(line: domain.Moment) -> Line:
    """A line of its timeline as staff see it."""
    return Line(
        at=line.at,
        what=line.kind,
        by=line.by,
        step=line.step,
        stage=line.stage,
        channel=line.channel,
        reached=line.reached,
        level=line.flag.level if line.flag else None,
        source=line.flag.source if line.flag else None,
        signals=line.flag.signals if line.flag else (),
        origin=line.flag.origin if line.flag else None,
        note=line.note,
    )


def routes(pager: Pager, store: Store, links: Links, composer: Composer, clock: Clock) -> APIRouter:
    """The routes of the crisis service."""
    router = APIRouter()
    board = pager.board
    flaggers = Depends(allowed("publisher", "operations", "counsellor", "supervisor"))
    supervisors = allowed("supervisor")
    once = Once()
    readers = Depends(allowed("supervisor", "compliance"))

    # --- flags ------------------------------------------------------------------------------------------------

    @router.post(
        FLAGGING,
        status_code=202,
        tags=["crises"],
        summary="Flag a crisis: a structured CloudEvent `aftercare.crisis-flagged.v1`",
        dependencies=[flaggers],
        openapi_extra={"requestBody": {"content": {"application/cloudevents+json": {"schema": {}}}}},
    )
    async def flag_crisis(request: Request) -> Taken:
        body = await read_body(request)
        try:
            raised = _raise(body)
        except Refused as refusal:
            metrics.FLAGS.labels("http", "unreadable").inc()
            flag, letter = unreadable_over_http(body.content, refusal, clock)
            await _taken(pager.raise_flag(flag, letter))
            raise Problem(
                422 if body.whole else 413,
                refusal.reason,
                f"{refusal.message}; people were paged about a flag that cannot be read: mend and send it again",
                field=refusal.field or None,
            ) from None
        return await _taken(raised)

    def _raise(body: Body) -> Raised:
        try:
            flag = _read(body, clock.now())
        except Refused:
            raise
        except Exception as error:  # whatever it is, somebody may be in danger
            log.error("reading a flag failed", error=type(error).__name__)
            raise Refused("handler-error", "", "reading the flag failed") from None
        if board.is_reused(flag):
            raise Refused("id-reused", "id", "a flag with this source and id said something else before")
        metrics.FLAGS.labels("http", "read").inc()
        return pager.raise_flag(flag)

    def _read(body: Body, now: datetime) -> Flag:
        if not body.whole:
            raise Refused("too-large", "", f"a request body may have at most {MAX_REQUEST_BYTES} bytes")
        try:
            document = json.loads(body.content)
        except (ValueError, RecursionError):
            raise Refused("malformed", "", "the body is not JSON") from None
        event = parse_structured(document, now)
        if not isinstance(event.data, CrisisFlagged):
            raise Refused("wrong-topic", "type", f"only {TOPIC} is taken here")
        return domain.read_flag(event, event.data, now)

    async def _taken(raised: Raised) -> Taken:
        """Wait until a provider has accepted the page or the incident is stored, and a little for the latter."""
        watch, stored = raised.watch, raised.stored
        if watch is None:  # the repetition of what is over
            return Taken(incident_id=raised.incident_id, paged=True, stored=True)
        waiting: set[asyncio.Future[Any]] = {asyncio.ensure_future(watch.accepted.wait())}
        if stored is not None:
            waiting.add(asyncio.ensure_future(asyncio.shield(stored)))
        if not watch.accepted.is_set() and not (stored is None or stored.done()):
            await asyncio.wait(waiting, timeout=ANSWER_WITHIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if stored is not None and not stored.done():
            await asyncio.wait({stored}, timeout=STORED_TOO_WITHIN_SECONDS)
        for future in waiting:
            future.cancel()
        taken = Taken(
            incident_id=watch.incident.id,
            paged=watch.accepted.is_set(),
            stored=stored is None or stored.done(),
        )
        if not (taken.paged or taken.stored):
            raise Problem(
                503,
                "neither-paged-nor-stored",
                "no provider accepted the page and the database is away; we keep trying: call the person on duty",
            )
        return taken

    # --- incidents --------------------------------------------------------------------------------------------

    @router.get(
        "/v1/incidents", tags=["incidents"], summary="Incidents, newest first", dependencies=[readers]
    )
    async def list_incidents(
        state: State | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        cursor: Annotated[str | None, Query(max_length=128)] = None,
    ) -> IncidentPage:
        found = {incident.id: incident for incident in await _listed(state, limit, cursor)}
        if cursor is None:  # what is only in memory, or newer there
            for watch in board.watches.values():
                incident = watch.incident
                if incident.deadline is None and (state is None or incident.state == state):
                    found[incident.id] = incident
                else:
                    found.pop(incident.id, None)
        items = sorted(found.values(), key=lambda i: (i.opened_at or clock.now(), i.id), reverse=True)[:limit]
        last = items[-1] if len(items) == limit else None
        following = f"{write_time(last.opened_at)}~{last.id}" if last and last.opened_at else None
        return IncidentPage(items=[see(incident, board.chains) for incident in items], next=following)

    async def _listed(state: State | None, limit: int, cursor: str | None) -> list[Incident]:
        before: tuple[datetime, str] | None = None
        if cursor:
            at, _, key = cursor.partition("~")
            try:
                before = (datetime.fromisoformat(at), key)
            except ValueError:
                raise Problem(
                    422, "invalid-cursor", "use the `next` of the page before", field="cursor"
                ) from None
        try:
            async with asyncio.timeout(3):
                return await store.newest(state, before, limit)
        except (PyMongoError, TimeoutError):
            return []  # what is in memory matters most, and is there

    @router.get(
        "/v1/incidents/{incident_id}",
        tags=["incidents"],
        summary="An incident with its timeline",
        dependencies=[readers],
    )
    async def one_incident(incident_id: str) -> IncidentWithTimeline:
        incident = await _do(incident_id, lambda incident: incident)
        lines = {line.id: line for line in incident.timeline}
        with suppress(PyMongoError, TimeoutError):  # the newest lines are in memory
            async with asyncio.timeout(3):
                lines = {line.id: line for line in await store.timeline(incident.id)} | lines
        ordered = sorted(lines.values(), key=lambda line: line.order)
        view = see(incident, board.chains).model_dump()
        return IncidentWithTimeline(
            **view, written_down=board.is_written(incident.id), timeline=[see_line(line) for line in ordered]
        )

    async def _do(incident_id: str, decide: Callable[[Incident], Incident]) -> Incident:
        try:
            incident = await pager.command(incident_id, decide)
        except NotPossible as refusal:
            raise Problem(409, "not-possible", str(refusal)) from None
        except Unavailable:
            raise Problem(503, "database-away", "this incident cannot be read just now: try again") from None
        if incident is None:
            raise Problem(404, "no-such-incident", "there is no incident with this id")
        return incident

    def _command(name: str, summary: str, act: Act) -> None:
        @router.post(f"/v1/incidents/{{incident_id}}/{name}", tags=["incidents"], summary=summary, name=name)
        async def command(
            incident_id: str, response: Response, key: Key = None, principal: Principal = Depends(supervisors)
        ) -> IncidentView:
            return await _act(incident_id, response, principal, key, act)

    @router.post(
        "/v1/incidents/{incident_id}/assessments",
        tags=["incidents"],
        summary="A step of the assessment is done (A29)",
    )
    async def assess(
        incident_id: str,
        response: Response,
        told: Assessment,
        key: Key = None,
        principal: Principal = Depends(supervisors),
    ) -> IncidentView:
        return await _act(incident_id, response, principal, key, partial(domain.assess, step=told.step))

    @router.post(
        "/v1/incidents/{incident_id}/referrals",
        tags=["incidents"],
        summary="A hospital or an agency was asked to help (A31)",
    )
    async def refer(
        incident_id: str,
        response: Response,
        told: Referral,
        key: Key = None,
        principal: Principal = Depends(supervisors),
    ) -> IncidentView:
        return await _act(incident_id, response, principal, key, partial(domain.refer, to=told.agency))

    @router.post(
        "/v1/incidents/{incident_id}/responses",
        tags=["incidents"],
        summary="The hospital or agency has answered (A31)",
    )
    async def respond(
        incident_id: str,
        response: Response,
        told: Referral,
        key: Key = None,
        principal: Principal = Depends(supervisors),
    ) -> IncidentView:
        return await _act(incident_id, response, principal, key, partial(domain.respond, whose=told.agency))

    @router.post("/v1/incidents/{incident_id}/resolve", tags=["incidents"], summary="The person is safe")
    async def resolve(
        incident_id: str,
        response: Response,
        key: Key = None,
        principal: Principal = Depends(supervisors),
        resolution: Annotated[Resolution | None, InBody()] = None,
    ) -> IncidentView:
        outcome = resolution.outcome if resolution else None
        return await _act(incident_id, response, principal, key, partial(domain.resolve, outcome=outcome))

    async def _act(
        incident_id: str, response: Response, principal: Principal, key: Key, act: Act
    ) -> IncidentView:
        by = staff_id(principal.subject)

        def decide(known: Incident) -> Incident:
            # The repetition of a request whose answer was lost must not act on what has happened since.
            return known if once.has(by, incident_id, key) else act(known, by, clock.now())

        incident = await _do(incident_id, decide)
        once.keep(by, incident_id, key)
        if not await board.written_down(incident.id, WRITTEN_WITHIN_SECONDS):
            response.status_code = 202  # it holds, and is written down as soon as the database is back
        return see(incident, board.chains)

    _command("acknowledge", "I take it up (repeating is harmless)", domain.acknowledge)
    _command("join", "I help as well (repeating is harmless)", domain.take_part)
    _command("intervene", "Guidance or safety measures have begun (A30)", domain.intervene)
    _command("reopen", "It was not over", domain.reopen)

    # --- one tap ----------------------------------------------------------------------------------------------

    @router.get("/a/{token}", tags=["pages"], summary="The page behind the link: acknowledges nothing")
    async def show(token: str) -> Response:
        # Messengers and virus scanners open links on their own: nothing may happen here.
        found = await _behind(token)
        if isinstance(found, Response):
            return found
        incident = found[1]
        if not incident.open:
            return _answer(200, "crisis.answer.gone")
        if not incident.awaiting:
            return _answer(200, "crisis.answer.already", incident)
        return _html(200, [composer.headline(incident)], button=True)

    @router.post("/a/{token}", tags=["pages"], summary="Acknowledge (repeating is harmless)")
    async def tap(token: str) -> Response:
        found = await _behind(token)
        if isinstance(found, Response):
            return found
        link, incident = found
        if not incident.awaiting:
            mine = incident.acknowledged_by == link.recipient
            return _answer(200, f"crisis.answer.{'acknowledged' if mine else 'already'}", incident)
        await pager.command(incident.id, lambda known: domain.acknowledge(known, link.recipient, clock.now()))
        await board.written_down(incident.id, WRITTEN_WITHIN_SECONDS)
        return _answer(200, "crisis.answer.acknowledged", incident)

    async def _behind(token: str) -> tuple[Link, Incident] | Response:
        """The link and its incident, or the page that says why there is none."""
        try:
            link = links.read(token, clock.now())
            incident = await pager.command(link.incident_id, lambda known: known)
        except Expired:
            return _answer(410, "crisis.answer.expired")
        except Forged:
            return _answer(403, "crisis.answer.forged")
        except Unavailable:
            return _answer(503, "crisis.answer.not-now")
        return (link, incident) if incident else _answer(404, "crisis.answer.gone")

    return router


def _answer(status: int, key: str, incident: Incident | None = None) -> Response:
    return _html(status, [said(key)], button=False, incident_id=incident.id if incident else None)


def _html(
    status: int, lines: list[dict[str, str]], *, button: bool, incident_id: str | None = None
) -> Response:
    body = acknowledge_page(lines, button=button, incident_id=incident_id)
    return HTMLResponse(body, status, headers=_NO_TRACE)
