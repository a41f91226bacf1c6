"""Events over HTTP: one, a batch, and everything that may be wrong with them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from shared.contracts.envelope import Event
from shared.web.auth import issue_token
from tests.builders import attention_changed, case_closed, case_opened, event
from tests.system import System

MARKER = "Zhang-San-13800138000"
"""Stands for a name and a number: no answer and no log line may carry it."""


async def post(system: System, body: bytes | str, **headers: str) -> httpx.Response:
    async with system.client("intake", "publisher") as client:
        return await client.post("/v1/events", content=body, headers=headers)


def written(told: Event, **attributes: object) -> dict[str, Any]:
    document = told.structured() | attributes
    return {name: value for name, value in document.items() if value is not None}


def with_body(told: Event, **fields: object) -> dict[str, Any]:
    return written(told, data=told.structured()["data"] | fields)


async def test_one_event_is_stored_and_on_the_bus(intake: System) -> None:
    told = case_opened(case_id="http-1", client_id="http-1")

    answer = await post(intake, json.dumps(told.structured()))
    await intake.settled()

    assert answer.status_code == 202
    assert answer.json() == {"id": told.id, "status": "accepted"}
    on_the_bus = [one for one in await intake.events("case-opened") if one.id == told.id]
    assert [(one.source, one.data, one.time) for one in on_the_bus] == [(told.source, told.data, told.time)]
    assert "http-1" in {one.subject for one in await intake.events("case-classified")}


async def test_sending_again_is_harmless(intake: System) -> None:
    told = case_opened(case_id="http-2", client_id="http-2")
    for _ in range(3):
        assert (await post(intake, json.dumps(told.structured()))).status_code == 202
    await intake.settled()

    assert len([one for one in await intake.events("case-opened") if one.subject == "http-2"]) == 1


async def test_an_id_that_said_something_else_before_is_a_conflict(intake: System) -> None:
    await post(intake, json.dumps(case_opened(case_id="http-3", id="http-3").structured()))
    answer = await post(
        intake, json.dumps(case_opened(case_id="http-3", id="http-3", agreed_sessions=3).structured())
    )

    assert answer.status_code == 409
    assert answer.json()["reason"] == "id-reused"


async def test_a_batch_takes_the_good_and_names_the_bad(intake: System) -> None:
    batch = [
        written(case_opened(case_id="http-4", client_id="http-4")),
        with_body(case_opened(case_id="http-4"), service=MARKER),
        "nothing",
        written(case_closed(case_id="http-4", client_id="http-4")),
    ]

    answer = await post(intake, json.dumps(batch))
    await intake.settled()

    assert answer.status_code == 200
    assert [(one["index"], one["status"], one.get("reason")) for one in answer.json()["results"]] == [
        (0, "accepted", None),
        (1, "refused", "invalid-field"),
        (2, "refused", "malformed"),
        (3, "accepted", None),
    ]
    revisions = [
        getattr(one.data, "revision", 0)
        for one in await intake.events("case-classified")
        if one.subject == "http-4"
    ]
    assert revisions == [1, 2]
    assert MARKER not in answer.text


A_CASE = case_opened()
NESTED = "[" * 100_000 + "]" * 100_000

REFUSED: dict[str, tuple[str, int, str, str | None]] = {
    "no JSON": (f"{{{MARKER}", 400, "malformed", None),
    "nothing": ("", 400, "malformed", None),
    "nested without end": (NESTED, 400, "malformed", None),
    "a body nested too deeply": (
        json.dumps(written(A_CASE, data=MARKER)).replace(f'"{MARKER}"', "[" * 900 + "]" * 900), 400, "malformed", "data"
    ),
    "a number": ("17", 400, "malformed", None),
    "no event at all": ("{}", 422, "missing-attribute", "data"),
    "an empty batch": ("[]", 422, "batch-size", None),
    "too large a batch": (json.dumps([{}] * 501), 422, "batch-size", None),
    "not a number": (
        json.dumps(with_body(A_CASE, agreed_sessions=float("nan"))), 422, "invalid-field", "data.agreed_sessions"
    ),
    "infinity": (
        json.dumps(with_body(A_CASE, agreed_sessions=float("inf"))), 422, "invalid-field", "data.agreed_sessions"
    ),
    "a number as text": (
        json.dumps(with_body(A_CASE, agreed_sessions="6")), 422, "invalid-field", "data.agreed_sessions"
    ),
    "an unknown field": (
        json.dumps(with_body(A_CASE, **{MARKER: MARKER})), 422, "invalid-field", "data.(unknown field)"
    ),
    "a name for an id": (json.dumps(with_body(A_CASE, client_id="张三")), 422, "invalid-field", "data.client_id"),
    "a name for a code": (json.dumps(with_body(A_CASE, service=MARKER)), 422, "invalid-field", "data.service"),
    "half a surrogate": (
        json.dumps(with_body(A_CASE, counsellor_id=f"{MARKER}\ud800")), 400, "malformed", "data"
    ),
    "no id": (json.dumps(written(A_CASE, id=None)), 422, "missing-attribute", "id"),
    "an id that is no text": (json.dumps(written(A_CASE, id=17)), 422, "invalid-attribute", "id"),
    "an id with a space": (json.dumps(written(A_CASE, id=f"{MARKER} x")), 422, "invalid-attribute", "id"),
    "a subject of its own": (json.dumps(written(A_CASE, subject=MARKER)), 422, "invalid-attribute", "subject"),
    "an unknown topic": (json.dumps(written(A_CASE, type="aftercare.nonsense.v1")), 422, "unknown-type", "type"),
    "an unknown type": (json.dumps(written(A_CASE, type=MARKER)), 422, "unknown-type", "type"),
    "an unknown version": (
        json.dumps(written(A_CASE, type="aftercare.case-opened.v2")), 422, "unknown-version", "type"
    ),
    "a time far ahead": (
        json.dumps(written(A_CASE, time="2027-01-01T00:00:00+08:00")), 422, "time-out-of-range", "time"
    ),
    "what only Aftercare says": (
        json.dumps(
            event(
                "calendar-due",
                {"rule": "plan-28th", "clause": "F44", "month": "2026-06", "due_at": "2026-05-06T10:00:00+08:00"},
                time="2026-05-06 09:00",
            ).structured()
        ),
        422, "not-yours", "type",
    ),
    "under Aftercare's own name": (
        json.dumps(written(attention_changed(), source="/aftercare/intake")), 422, "not-yours", "type"
    ),
    "a large event": (
        json.dumps(with_body(A_CASE, counsellor_id="x" * 70_000)), 413, "too-large", "data"
    ),
    "ten megabytes": (json.dumps(written(A_CASE, id="x" * 10_000_000)), 413, "too-large", None),
}  # fmt: skip


@pytest.mark.clause("F9", "A4")
@pytest.mark.parametrize("name", REFUSED)
async def test_a_refusal_names_reason_and_field_and_never_the_value(
    intake: System, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    body, status, reason, field = REFUSED[name]

    answer = await post(intake, body)

    document = answer.json()
    assert (answer.status_code, document["reason"], document.get("field")) == (status, reason, field)
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["status"] == status
    assert document["detail"]
    assert MARKER not in answer.text
    assert "张三" not in answer.text
    said = "".join(capfd.readouterr())
    assert MARKER not in said
    assert "张三" not in said


async def a_long_body() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b" " * 100_000


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/events"), ("PUT", "/v1/cases/x/file")])
async def test_a_long_body_that_does_not_say_so_is_refused(intake: System, method: str, path: str) -> None:
    async with intake.client("intake", "publisher", "counsellor") as client:
        answer = await client.request(
            method, path, content=a_long_body(), headers={"Content-Type": "application/json"}
        )

    assert (answer.status_code, answer.json()["reason"]) == (413, "too-large")


async def test_who_does_not_sign_in_is_told_so(intake: System) -> None:
    async with intake.client("intake") as client:
        answer = await client.post("/v1/events", json=A_CASE.structured())

    assert (answer.status_code, answer.json()["reason"]) == (401, "no-token")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_who_has_another_role_is_kept_out(intake: System) -> None:
    async with intake.client("intake", "operations", "engineer") as client:
        answer = await client.post("/v1/events", json=A_CASE.structured())

    assert (answer.status_code, answer.json()["reason"]) == (403, "missing-role")


@pytest.mark.parametrize(
    ("secret", "valid"),
    [
        pytest.param(None, timedelta(hours=-1), id="expired"),
        pytest.param("another-secret-of-at-least-32-characters", timedelta(hours=1), id="signed by another"),
    ],
)
async def test_a_token_that_does_not_hold_is_refused(
    intake: System, secret: str | None, valid: timedelta
) -> None:
    ours = intake.settings.token_secret
    assert ours
    token = issue_token(secret or ours.get_secret_value(), "someone", ["publisher"], valid)
    async with intake.client("intake") as client:
        answer = await client.post(
            "/v1/events", json=A_CASE.structured(), headers={"Authorization": f"Bearer {token}"}
        )

    assert (answer.status_code, answer.json()["reason"]) == (401, "invalid-token")


async def test_a_token_without_signature_is_refused(intake: System) -> None:
    ours = intake.settings.token_secret
    assert ours
    token = issue_token(ours.get_secret_value(), "someone", ["publisher"], timedelta(hours=1))
    async with intake.client("intake") as client:
        for bare in (token.rsplit(".", 1)[0] + ".", "none", "a.b.c"):
            answer = await client.post(
                "/v1/events", json=A_CASE.structured(), headers={"Authorization": f"Bearer {bare}"}
            )
            assert answer.status_code == 401
