"""HTTP of intake: events in, the ledger and the de-identified case files out."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from services.intake import domain
from services.intake.ingress import Ingress, NotStored, Result
from services.intake.store import Store
from shared.clock import Clock
from shared.contracts.types import COMPANY_ZONE
from shared.mongo.encryption import Sealed, Vault
from shared.web.auth import Principal, allowed
from shared.web.problems import Problem, problem_response

MAX_BATCH = 500

Reader = Annotated[
    Principal, Depends(allowed("operations", "counsellor", "supervisor", "manager", "compliance"))
]
Text = Annotated[str, Field(max_length=4000)]


class CaseFile(BaseModel):
    """What follow-up staff may read of a case (F47), without private detail (F48). Free text, kept encrypted."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    kind_of_counselling: Text
    core_problem: Text
    closing_advice: Text = ""


def routes(store: Store, vault: Vault, ingress: Ingress, clock: Clock) -> APIRouter:
    """The routes under `/v1`."""
    router = APIRouter(prefix="/v1")

    @router.post(
        "/events", status_code=202, summary="Publish one event, or a list of them (CloudEvents JSON)"
    )
    async def post_events(
        request: Request, _: Annotated[Principal, Depends(allowed("publisher"))]
    ) -> JSONResponse:
        documents = _json(await request.body())
        one = not isinstance(documents, list)
        if not one and not 1 <= len(documents) <= MAX_BATCH:
            raise Problem(422, "batch-size", f"a batch has 1 to {MAX_BATCH} events")
        try:
            results = await ingress.take([documents] if one else documents)
        except NotStored:
            raise Problem(
                503, "not-stored", "nothing was taken: the database is away, send it again"
            ) from None
        return (
            _answer_one(results[0])
            if one
            else JSONResponse({"results": [_shown(result) for result in results]})
        )

    @router.get("/cases/{case_id}", summary="The case as classified, and why")
    async def get_case(case_id: str, _: Reader) -> JSONResponse:
        case = await _case(store, case_id)
        client = await store.client(case.client_id)
        return JSONResponse(_classified(case, client))

    @router.get("/cases/{case_id}/file", summary="The de-identified case file; the read is recorded")
    async def get_file(case_id: str, who: Reader) -> CaseFile:
        stored = await store.file(case_id)
        if stored is None:
            raise Problem(404, "no-file", "this case has no file yet")
        await store.record_access(who.subject, "case-file", case_id, stored["client_id"], clock.now())
        try:
            return CaseFile.model_validate_json(await vault.open(stored["sealed"]))
        except Sealed:
            raise Problem(410, "erased", "the client was erased; the file can no longer be read") from None

    @router.put("/cases/{case_id}/file", status_code=204, summary="Write the de-identified case file")
    async def put_file(
        case_id: str, file: CaseFile, who: Annotated[Principal, Depends(allowed("counsellor"))]
    ) -> None:
        case = await _case(store, case_id)
        sealed = await vault.seal(case.client_id, file.model_dump_json())
        await store.put_file(case_id, case.client_id, sealed, who.subject, clock.now())

    @router.get("/ledger", summary="The follow-up ledger (F16): every case known by the end of a month")
    async def get_ledger(
        _: Annotated[Principal, Depends(allowed("operations", "manager", "compliance"))],
        month: Annotated[str, Query(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")],
        after: Annotated[str | None, Query(description="The last case id of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> JSONResponse:
        cases = await store.page(_end_of_month(month, COMPANY_ZONE), after, limit)
        clients = await store.clients_by_id([case.client_id for case in cases])
        items = [_classified(case, clients.get(case.client_id)) for case in cases]
        return JSONResponse({"items": items, "next": cases[-1].id if len(cases) == limit else None})

    return router


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "malformed", "the body is not JSON") from None


def _answer_one(result: Result) -> JSONResponse:
    if result.status == "accepted":
        return JSONResponse({"id": result.id, "status": "accepted"}, 202)
    status = {"id-reused": 409, "malformed": 400, "too-large": 413}.get(result.reason or "", 422)
    return problem_response(Problem(status, result.reason or "", result.detail or "", field=result.field))


def _shown(result: Result) -> dict[str, Any]:
    return {name: value for name, value in asdict(result).items() if value is not None}


def _classified(case: domain.Case, client: domain.Client | None) -> dict[str, Any]:
    standing = domain.standing(case, client or domain.Client(id=case.client_id))
    shown: dict[str, Any] = json.loads(domain.classified(case, standing).to_json())
    return shown


async def _case(store: Store, case_id: str) -> domain.Case:
    case = await store.case(case_id)
    if case is None:
        raise Problem(404, "unknown-case", "no event about this case has come yet")
    return case


def _end_of_month(month: str, zone: ZoneInfo) -> datetime:
    first = datetime.strptime(month, "%Y-%m").replace(tzinfo=zone)
    return (first.replace(day=28) + timedelta(days=4)).replace(day=1)
