"""Problem documents name the field and what is wrong with it, and nothing that the sender wrote."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.types import Code, Timestamp
from shared.web import problems

SENT = "王小明"
"""A client's name: no answer may hold a character of it."""


class Call(BaseModel):
    kind: Literal["call"]


class Visit(BaseModel):
    kind: Literal["visit"]


class Sheet(BaseModel):
    model_config = ConfigDict(extra="forbid")

    satisfaction: int = 0
    bands: dict[Code, Code] = {}
    answers: dict[str, int | list[str]] = {}
    calls: list[Call] = []
    at: Timestamp | None = None
    id: uuid.UUID | None = None
    what: Annotated[Call | Visit, Field(discriminator="kind")] | None = None


def client() -> httpx.AsyncClient:
    app = FastAPI()
    problems.install(app)

    @app.post("/sheets/{number}")
    async def put(number: int, sheet: Sheet, limit: int = 0) -> None: ...

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (SENT, "body"),
        ({SENT: 1}, "body.(unknown field)"),
        ({"satisfaction": SENT}, "body.satisfaction"),
        ({"bands": {SENT: "mild"}}, "body.bands.(unknown field)"),
        ({"bands": {"gad-7": SENT}}, "body.bands.(unknown field)"),
        ({"answers": {SENT: SENT}}, "body.answers.(unknown field).(unknown field)"),
        ({"calls": [{"kind": "call"}, {"kind": SENT}]}, "body.calls.1.kind"),
        ({"calls": {SENT: SENT}}, "body.calls"),
        ({"at": SENT}, "body.at"),
        ({"id": SENT}, "body.id"),
        ({"what": {"kind": SENT}}, "body.what"),
    ],
)
async def test_a_body_that_does_not_fit_is_refused_by_its_field_and_not_repeated(
    body: Any, field: str
) -> None:
    async with client() as http:
        answer = await http.post("/sheets/1", json=body)

    assert (answer.status_code, answer.json()["reason"], answer.json()["field"]) == (
        422,
        "invalid-field",
        field,
    )
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert not set(SENT) & set(answer.text)


@pytest.mark.parametrize(
    ("address", "field"), [(f"/sheets/{SENT}", "path.number"), (f"/sheets/1?limit={SENT}", "query.limit")]
)
async def test_an_address_that_does_not_fit_is_not_repeated(address: str, field: str) -> None:
    async with client() as http:
        answer = await http.post(address, json={})

    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert not set(SENT) & set(answer.text)


async def test_a_body_that_is_not_json_and_an_unknown_address_are_not_repeated() -> None:
    async with client() as http:
        spoilt = await http.post("/sheets/1", content=SENT, headers={"Content-Type": "application/json"})
        nowhere = await http.get(f"/{SENT}")

    assert (spoilt.status_code, spoilt.json()["reason"]) == (400, "malformed")
    assert nowhere.status_code == 404
    assert not set(SENT) & set(spoilt.text + nowhere.text)


async def test_the_message_says_what_to_mend() -> None:
    async with client() as http:
        answer = await http.post("/sheets/1", json={"at": "2026-03-17T10:20:00"})

    assert answer.json()["detail"] == "it must be RFC 3339 with an offset"
