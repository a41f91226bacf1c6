"""HTTP of intake: events in, the ledger and the de-identified case files out."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.intake.domain import ledger
from services.intake.domain.forms import Value
from services.intake.domain.ledger import Case, Client
from services.intake.domain.private_detail import looks_like
from services.intake.domain.snapshots import end_of_month
from services.intake.domain.versions import policy_for
from services.intake.domain.why import why
from services.intake.forms import Forms
from services.intake.ingress import FLAG, PAGED, Ingress, NotStored, Result
from services.intake.store import Store, Those
from shared.clock import Clock
from shared.contracts.events import CaseClass
from shared.contracts.types import Id, write_time
from shared.mongo.access_log import AccessLog
from shared.mongo.encryption import Sealed, Vault
from shared.policy.model import Policy
from shared.policy.versions import Policies
from shared.web.auth import Principal, allowed
from shared.web.bodies import Body, read_body
from shared.web.problems import MAX_REQUEST_BYTES, Problem, problem_response

MAX_BATCH = 500
PUBLISHING = "/v1/events"
"""Where events come in, and where a flag in a body that cannot be taken pages all the same."""

Reader = Annotated[
    Principal, Depends(allowed("operations", "counsellor", "supervisor", "manager", "compliance"))
]


def _without_private_detail(text: str) -> str:
    if found := looks_like(text):
        raise ValueError(f"it seems to hold {found}: a case file holds no private detail (F48), leave it out")
    return text


Text = Annotated[str, Field(max_length=4000), AfterValidator(_without_private_detail)]


class CaseFile(BaseModel):
    """What follow-up staff may read of a case (F47), without private detail (F48, W45). Free text, kept encrypted."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    kind_of_counselling: Text
    core_problem: Text
    closing_advice: Text = ""


class ReadFile(CaseFile):
    """The file as it is read."""

    from_forms: dict[str, Value] | None = None
    """What the forms about the case add, in codes; left out where they add nothing."""


def routes(
    store: Store,
    vault: Vault,
    access_log: AccessLog,
    ingress: Ingress,
    forms: Forms,
    clock: Clock,
    policies: Policies,
) -> APIRouter:
    """The routes under `/v1`."""
    router = APIRouter(prefix="/v1")

    @router.post(
        "/events", status_code=202, summary="Publish one event, or a list of them (CloudEvents JSON)"
    )
    async def post_events(
        request: Request, _: Annotated[Principal, Depends(allowed("publisher"))]
    ) -> JSONResponse:
        body = await read_body(request, looking_for=FLAG)
        try:
            try:
                documents = _documents(body)
            except Problem as problem:
                if not body.mentions:
                    raise
                await ingress.page_unreadable([body.content])
                detail = f"{problem.detail}; {PAGED}"
                raise Problem(problem.status, problem.reason, detail, field=problem.field) from None
            results = await ingress.take(documents if isinstance(documents, list) else [documents])
        except NotStored:
            raise Problem(
                503, "not-stored", "nothing was taken: the database is away, send it again"
            ) from None
        if not isinstance(documents, list):
            return _answer_one(results[0])
        return JSONResponse({"results": [_shown(result) for result in results]})

    @router.get("/cases/{case_id}", summary="The case as classified, and why")
    async def get_case(case_id: str, _: Reader) -> JSONResponse:
        case = await _case(store, case_id)
        client = await store.client(case.client_id)
        policy = policy_for(case, clock.now(), policies)
        told = why(case, policy, await store.agreed(case_id), await store.forms_of_case(case_id))
        return JSONResponse({**_classified(case, client, policy), "why": told})

    @router.get(
        "/cases/{case_id}/file",
        summary="The de-identified case file; the read is recorded",
        response_model_exclude_none=True,
    )
    async def get_file(case_id: str, who: Reader) -> ReadFile:
        stored = await store.file(case_id)
        if stored is None:
            raise Problem(404, "no-file", "this case has no file yet")
        await access_log.record(
            who.subject, who.role, "case-file", clock.now(), client_id=stored["client_id"], case_id=case_id
        )
        try:
            written = CaseFile.model_validate_json(await vault.open(stored["sealed"]))
        except Sealed:
            raise Problem(410, "erased", "the client was erased; the file can no longer be read") from None
        return ReadFile(**written.model_dump(), from_forms=await forms.in_file(case_id) or None)

    @router.put("/cases/{case_id}/file", status_code=204, summary="Write the de-identified case file")
    async def put_file(
        case_id: str, file: CaseFile, who: Annotated[Principal, Depends(allowed("counsellor"))]
    ) -> None:
        case = await _case(store, case_id)
        sealed = await vault.seal(case.client_id, file.model_dump_json())
        await store.put_file(case_id, case.client_id, sealed, who.subject, clock.now())

    @router.get("/ledger", summary="The follow-up ledger of a month (F16): as classified at its end, or live")
    async def get_ledger(
        _: Annotated[Principal, Depends(allowed("operations", "manager", "compliance"))],
        month: Annotated[str, Query(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")],
        those: Annotated[Those, Depends(_those)],
        after: Annotated[str | None, Query(description="The last case id of the page before")] = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> JSONResponse:
        """As the month was classified by the 5th of the next (`snapshot`); before that, every case as it stands now."""
        snapshot = await store.snapshot(month)
        if snapshot:
            lines = await store.lines_of(month, those, after, limit)
            items = [json.loads(line.body) for line in lines]
            last = lines[-1].case_id if len(lines) == limit else None
        else:
            cases = await store.page(end_of_month(month), those, after, limit)
            clients = await store.clients_by_id([case.client_id for case in cases])
            now = clock.now()
            items = [
                _classified(case, clients.get(case.client_id), policy_for(case, now, policies))
                for case in cases
            ]
            last = cases[-1].id if len(cases) == limit else None
        as_of = write_time(snapshot.as_of if snapshot else clock.now())
        return JSONResponse({"items": items, "next": last, "as_of": as_of, "snapshot": snapshot is not None})

    return router


def _those(
    case_class: Annotated[CaseClass | None, Query(alias="class")] = None,
    counsellor: Annotated[Id | None, Query(description="The id of a counsellor")] = None,
    enterprise: Annotated[Id | None, Query(description="The id of an enterprise")] = None,
) -> Those:
    return Those(case_class, counsellor, enterprise)


def _documents(body: Body) -> Any:
    """What a body holds: a document, or a list of not too many."""
    if not body.whole:
        raise Problem(413, "too-large", f"a request body may have at most {MAX_REQUEST_BYTES} bytes")
    try:
        documents = json.loads(body.content)
    except (ValueError, RecursionError):
        raise Problem(400, "malformed", "the body is not JSON") from None
    if isinstance(documents, list) and not 1 <= len(documents) <= MAX_BATCH:
        raise Problem(422, "batch-size", f"a batch has 1 to {MAX_BATCH} events")
    return documents


def _answer_one(result: Result) -> JSONResponse:
    if result.status == "accepted":
        return JSONResponse({"id": result.id, "status": "accepted"}, 202)
    status = {"id-reused": 409, "plan-not-confirmed": 409, "malformed": 400, "too-large": 413}.get(
        result.reason or "", 422
    )
    return problem_response(Problem(status, result.reason or "", result.detail or "", field=result.field))


def _shown(result: Result) -> dict[str, Any]:
    return {name: value for name, value in asdict(result).items() if value is not None}


def _classified(case: Case, client: Client | None, policy: Policy) -> dict[str, Any]:
    standing = ledger.standing(case, client or Client(id=case.client_id), policy)
    shown: dict[str, Any] = json.loads(ledger.classified(case, standing).to_json())
    return shown


async def _case(store: Store, case_id: str) -> Case:
    case = await store.case(case_id)
    if case is None or not case.revision:
        raise Problem(404, "unknown-case", "no event about this case has come yet")
    return case
