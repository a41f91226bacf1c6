"""HTTP of the supervisors' console: the page with its files, the live stream, drills, and the way to a token."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from pydantic import BaseModel
from pymongo.errors import PyMongoError

from services.crisis.board import Board
from services.crisis.domain import Incident
from services.crisis.live import Live, Reader
from services.crisis.pages.console_files import Console
from services.crisis.signing_in import Challenge, Exchange, SignIn, Tokens
from services.crisis.store import Store
from shared.contracts.types import Timestamp, staff_id
from shared.web.auth import Principal, allowed
from shared.web.problems import Problem

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Nothing but what this service serves: no inline code or style, no other origin, no frame around it."""

PAGE_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow",
}
_FILE_HEADERS = {
    "Cache-Control": "public, max-age=31536000, immutable",  # the address changes with the contents
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}
_STREAM_HEADERS = {
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # or the proxy in front would collect what must be seen now
    "X-Content-Type-Options": "nosniff",
}


class Drill(BaseModel):
    """A drill, and how long its parts took."""

    incident_id: str
    at: Timestamp
    page_seconds: float | None
    """From the flag's arrival to the page that a provider accepted; none: no provider did."""
    acknowledged_seconds: float | None
    """From the flag's arrival to the acknowledgement; none: nobody acknowledged."""
    acknowledged_by: str | None
    channel: str | None
    over: bool


class Drills(BaseModel):
    """The latest drills, newest first."""

    items: list[Drill]


class Address(BaseModel):
    """Where the browser goes to sign in."""

    address: str


def console_routes(
    console: Console, live: Live, board: Board, store: Store, sign_in: SignIn | None
) -> APIRouter:
    """The routes of the console. They come before those of `/v1/incidents/{incident_id}`."""
    router = APIRouter()
    readers = allowed("supervisor", "compliance")

    @router.get("/console", tags=["console"], summary="The supervisors' console", response_class=HTMLResponse)
    async def page() -> Response:
        return HTMLResponse(console.page, headers=PAGE_HEADERS)

    @router.get("/console/{version}/{name}", include_in_schema=False)
    async def file(version: str, name: str, accept_encoding: Annotated[str, Header()] = "") -> Response:
        found = console.files.get(name)
        if found is None or version != console.version:
            raise Problem(404, "not-found", "there is no such file in this version: load the page again")
        headers = {**_FILE_HEADERS, "Content-Type": found.kind}
        if "gzip" in accept_encoding:
            return Response(found.packed, headers={**headers, "Content-Encoding": "gzip"})
        return Response(found.plain, headers=headers)

    @router.get(
        "/v1/incidents/stream",
        tags=["incidents"],
        summary="Incidents as they change: server-sent events `snapshot`, `incident`, `gone`, `time`",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    async def stream(
        last_event_id: Annotated[str | None, Header(max_length=64)] = None,
        principal: Principal = Depends(readers),
    ) -> StreamingResponse:
        reader = Reader(id=staff_id(principal.subject), may_act="supervisor" in principal.roles)
        return StreamingResponse(
            live.stream(reader, last_event_id), media_type="text/event-stream", headers=_STREAM_HEADERS
        )

    @router.get(
        "/v1/drills",
        tags=["incidents"],
        summary="The latest drills, with the times from flag to page and to acknowledgement",
        dependencies=[Depends(readers)],
    )
    async def drills(limit: Annotated[int, Query(ge=1, le=100)] = 20) -> Drills:
        try:
            async with asyncio.timeout(3):
                found = {incident.id: incident for incident in await store.drills(limit)}
        except (PyMongoError, TimeoutError):
            raise Problem(503, "database-away", "the drills cannot be read just now: try again") from None
        found |= {key: watch.incident for key, watch in board.watches.items() if watch.incident.drill}
        return Drills(items=sorted(map(measure, found.values()), key=_newest_first)[:limit])

    @router.get("/v1/console/sign-in", tags=["console"], summary="Where to sign in for the console")
    async def address(challenge: Challenge, state: Challenge, response: Response) -> Address:
        response.headers["Cache-Control"] = "no-store"
        return Address(address=await _issuer().address(challenge, state))

    @router.post("/v1/console/token", tags=["console"], summary="A token for a code, or for a refresh token")
    async def token(told: Exchange, response: Response) -> Tokens:
        response.headers["Cache-Control"] = "no-store"
        return await _issuer().exchange(told)

    def _issuer() -> SignIn:
        if sign_in is None:
            raise Problem(404, "no-issuer", "the console has no issuer: set AFTERCARE_CONSOLE_CLIENT_ID")
        return sign_in

    return router


def root_of(base_url: str) -> str:
    """The path under which the service is reached from outside: `/crisis` of `https://care.example/crisis`."""
    return urlsplit(base_url).path.rstrip("/")


def measure(drill: Incident) -> Drill:
    """How long the parts of a drill took, by its own timeline."""
    flagged, lines = drill.timeline[0].at, drill.timeline
    paged = next((line for line in lines if line.kind == "paged"), None)
    return Drill(
        incident_id=drill.id,
        at=flagged,
        page_seconds=_since(flagged, [line.at for line in lines if line.kind == "paged"]),
        acknowledged_seconds=_since(flagged, [line.at for line in lines if line.kind == "acknowledged"]),
        acknowledged_by=drill.acknowledged_by,
        channel=paged.channel if paged else None,
        over=not drill.open,
    )


def _since(flagged: datetime, times: Sequence[datetime]) -> float | None:
    return (times[0] - flagged).total_seconds() if times else None


def _newest_first(drill: Drill) -> float:
    return -drill.at.timestamp()
