"""HTTP: who is on call now and next, overrides and swaps, hand-over notes, and the calendar to subscribe to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from pymongo.errors import PyMongoError

from services.crisis.oncall import overrides as decisions
from services.crisis.oncall.feed import AHEAD, PAST, Feed, UnknownAddress, calendar
from services.crisis.oncall.hand_overs import HandOvers, Note
from services.crisis.oncall.holders import OnCall
from services.crisis.oncall.overrides import NotPossible, Override
from services.crisis.oncall.rotation import Span
from services.crisis.oncall.shifts import Shift, now_and_next
from services.crisis.oncall.store import OnCallStore
from services.crisis.parts import Part
from shared.clock import Clock
from shared.contracts.types import Code, Id, Timestamp, staff_id
from shared.web.auth import Principal, allowed
from shared.web.problems import Problem

DATABASE_SECONDS = 5.0
Supervisor = Annotated[Principal, Depends(allowed("supervisor"))]
Reader = Annotated[Principal, Depends(allowed("supervisor", "engineer"))]


class OverrideAsked(Part):
    """Let this person be on call in the role for a while."""

    role: Code
    person: Id
    start: Timestamp
    end: Timestamp


class SwapSide(Part):
    """A shift, by its beginning, and who has it."""

    role: Code
    person: Id
    start: Timestamp


class SwapAsked(Part):
    """Let two people take each other's shift."""

    one: SwapSide
    other: SwapSide


class HandOverAsked(Part):
    """A note about a change of shift; without `at` about the nearest one."""

    role: Code
    at: Timestamp | None = None
    note: Annotated[str, Field(min_length=1, max_length=4000)]


class Shown(BaseModel):
    """What is read off a part of the rota, field by field."""

    model_config = ConfigDict(from_attributes=True)


class RoleView(Shown):
    """Who has a role now, and from when somebody else does. Empty lists: nobody."""

    role: str
    now: tuple[str, ...]
    next_at: Timestamp | None
    next: tuple[str, ...]


class ShiftView(Shown):
    role: str
    person: str
    start: Timestamp
    end: Timestamp
    source: Literal["rotation", "override"]


class GapView(Shown):
    role: str
    start: Timestamp
    end: Timestamp


class OverrideView(Shown):
    """An override that holds; `swap` is what the two of a swap have in common."""

    id: str
    swap: str | None
    role: str
    person: str
    start: Timestamp
    end: Timestamp
    made_by: str


class HandOverView(BaseModel):
    """A change of shift with its note; `note` is null for those who may not read it."""

    role: str
    at: Timestamp
    outgoing: Annotated[str | None, Field(serialization_alias="from")]
    incoming: Annotated[str | None, Field(serialization_alias="to")]
    by: str
    note: str | None


class OnCallView(BaseModel):
    """The rota from now on. Times are RFC 3339, people are ids."""

    roles: list[RoleView]
    shifts: list[ShiftView]
    gaps: list[GapView]
    hand_overs: list[HandOverView]
    overrides: list[OverrideView]


class CalendarAddress(BaseModel):
    url: str


def on_call_routes(
    on_call: OnCall, store: OnCallStore, hand_overs: HandOvers, feed: Feed, clock: Clock
) -> APIRouter:
    """The routes of the rota."""
    router = APIRouter(prefix="/v1/on-call", tags=["on-call"])

    @router.get("", summary="Who is on call now and next, the shifts and gaps of the days to come")
    async def look(
        who: Reader,
        days: Annotated[int, Query(ge=1, le=92)] = 14,
        notes: Annotated[
            bool, Query(description="Open the hand-over notes; each is recorded as read")
        ] = True,
    ) -> OnCallView:
        now = clock.now()
        span = Span(now, now + timedelta(days=days))
        found = {role: on_call.shifts(role, span) for role in on_call.roles}
        return OnCallView(
            roles=[
                RoleView.model_validate(now_and_next(role, shifts, span)) for role, shifts in found.items()
            ],
            shifts=[ShiftView.model_validate(shift) for shifts in found.values() for shift in shifts],
            gaps=[GapView.model_validate(gap) for gap in on_call.gaps(span)],
            hand_overs=await _notes(who, notes),
            overrides=[
                OverrideView.model_validate(one)
                for one in sorted(on_call.overrides.values(), key=lambda one: (one.start, one.id))
                if one.withdrawn_at is None and one.start < span.end and span.start < one.end
            ],
        )

    async def _notes(who: Principal, opened: bool) -> list[HandOverView]:
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                return [_see_note(note) for note in await hand_overs.latest(who, opened)]
        except (PyMongoError, TimeoutError):
            return []  # who is on call matters most, and is known without the database

    # --- overrides and swaps ----------------------------------------------------------------------------------

    @router.post("/overrides", status_code=201, summary="Somebody else is on call for a while")
    async def override(asked: OverrideAsked, who: Supervisor) -> OverrideView:
        _covered(asked.role)
        if not on_call.can_be_paged(asked.person):
            advice = "nobody with this id can be paged: put them on the roster first"
            raise Problem(409, "not-on-the-roster", advice, field="person")
        async with _deciding():
            known = await _stored()
            span = Span(asked.start, asked.end)
            made = decisions.override(
                known, asked.role, asked.person, span, staff_id(who.subject), clock.now()
            )
            await _keep([made])
        return OverrideView.model_validate(made)

    @router.delete(
        "/overrides/{override_id}", status_code=204, summary="Take back an override, or a swap as a whole"
    )
    async def withdraw(override_id: str, who: Supervisor) -> None:
        async with _deciding():
            known = await _stored()
            back = decisions.withdrawn(known, override_id, staff_id(who.subject), clock.now())
            if not back:
                raise Problem(404, "no-such-override", "there is no override or swap with this id")
            await _keep(back)

    @router.post("/swaps", status_code=201, summary="Two people take each other's shift")
    async def swap(asked: SwapAsked, who: Supervisor) -> list[OverrideView]:
        _covered(asked.one.role)
        _covered(asked.other.role)
        async with _deciding():
            known = await _stored()
            people = (asked.one.person, asked.other.person)
            made = decisions.swap(
                known, _shift(asked.one), _shift(asked.other), people, staff_id(who.subject), clock.now()
            )
            await _keep(made)
        return [OverrideView.model_validate(one) for one in made]

    async def _stored() -> list[Override]:
        """What is known at every replica: a decision is taken on that."""
        found = await store.overrides(clock.now())
        on_call.learn(found)
        return found

    async def _keep(overrides: Sequence[Override]) -> None:
        await store.save(overrides)
        on_call.learn(overrides)
        on_call.look_ahead()

    def _covered(role: str) -> None:
        if role not in on_call.roles:
            advice = "the rota does not cover this role: give it a schedule in AFTERCARE_ROTA_FILE"
            raise Problem(409, "role-not-covered", advice, field="role")

    def _shift(side: SwapSide) -> Shift:
        found = on_call.shifts(side.role, Span(side.start, side.start + timedelta(milliseconds=1)))
        shift = next((shift for shift in found if shift.start == side.start), None)
        if shift is None:
            raise Problem(409, "no-such-shift", "no shift of this role begins then: see GET /v1/on-call")
        return shift

    # --- hand-over notes --------------------------------------------------------------------------------------

    @router.post("/hand-overs", status_code=201, summary="A note for whoever comes next (no names)")
    async def hand_over(asked: HandOverAsked, who: Supervisor) -> HandOverView:
        _covered(asked.role)
        async with _deciding():
            note = await hand_overs.write(asked.role, asked.at, asked.note, staff_id(who.subject))
        return _see_note(Note(note, asked.note))

    # --- the calendar -----------------------------------------------------------------------------------------

    @router.get("/calendar", summary="The address of a calendar: one person's shifts, or everybody's")
    async def address(who: Supervisor, person: Id | None = None) -> CalendarAddress:
        return CalendarAddress(url=feed.address(person))

    @router.get("/calendar/{token}.ics", summary="The calendar behind a signed address", tags=["pages"])
    async def subscribe(token: str) -> Response:
        try:
            person = feed.read(token)
        except UnknownAddress:
            raise Problem(
                404, "no-such-calendar", "ask for the address anew: GET /v1/on-call/calendar"
            ) from None
        now = clock.now()
        ahead = Span(now, now + AHEAD)
        shown = Span(now - PAST, ahead.end)
        shifts = [shift for role in on_call.roles for shift in on_call.shifts(role, shown)]
        if person is not None:
            shifts = [shift for shift in shifts if shift.person == person]
        text = calendar(shifts, on_call.gaps(ahead) if person is None else [], now)
        headers = {"Cache-Control": "private, no-store", "X-Robots-Tag": "noindex"}
        return Response(text, media_type="text/calendar; charset=utf-8", headers=headers)

    return router


@asynccontextmanager
async def _deciding() -> AsyncIterator[None]:
    """What is not possible and a database that is away, as problem documents."""
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            yield
    except NotPossible as refusal:
        raise Problem(409, "not-possible", str(refusal)) from None
    except (PyMongoError, TimeoutError):
        advice = "it cannot be written down just now: try again, which is harmless"
        raise Problem(503, "database-away", advice) from None


def _see_note(note: Note) -> HandOverView:
    about = note.about
    return HandOverView(
        role=about.role,
        at=about.at,
        outgoing=about.outgoing,
        incoming=about.incoming,
        by=about.written_by,
        note=note.text,
    )
