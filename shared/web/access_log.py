"""HTTP for compliance: the access log of a service (F6)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from shared.contracts.types import Timestamp
from shared.mongo.access_log import AccessLog
from shared.web.auth import allowed
from shared.web.cursors import read_cursor, write_cursor


class Access(BaseModel):
    """One reading of what is sealed. Which of the ids are there depends on what was read."""

    who: str
    role: str
    what: str
    client_id: str | None = None
    case_id: str | None = None
    booking_id: str | None = None
    follow_up_id: str | None = None
    letter_id: str | None = None
    hand_over_id: str | None = None
    at: Timestamp


class Accesses(BaseModel):
    items: list[Access]
    next: str | None
    """Pass it as `after` for the next page; null at the end."""


def routes(log: AccessLog) -> APIRouter:
    """`GET /v1/access-log`, for compliance alone."""
    router = APIRouter(prefix="/v1", tags=["privacy"], dependencies=[Depends(allowed("compliance"))])

    @router.get("/access-log", summary="Who read what, newest first (F6)")
    async def access_log(
        after: str | None = None, limit: Annotated[int, Query(ge=1, le=200)] = 50
    ) -> Accesses:
        found = await log.page(read_cursor(after), limit + 1)
        page = found[:limit]
        more = write_cursor(page[-1]["at"], page[-1]["_id"]) if len(found) > limit else None
        return Accesses(items=[Access.model_validate(one) for one in page], next=more)

    return router
