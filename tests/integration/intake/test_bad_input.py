"""What a publisher is answered over HTTP for each kind of bad input (docs/bad-input.md), and that nothing is echoed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from shared.contracts.envelope import MAX_BODY_BYTES
from shared.web.problems import MAX_REQUEST_BYTES
from tests.builders import case_closed, case_opened, session_completed
from tests.conftest import Start

MARKER = "Zhang-San-13800138000"
"""Stands for a name and a number: no answer may hold it."""

GOOD = case_opened(time="2026-03-02 08:00", opened_at="2026-03-02 08:00").structured()
BODY = GOOD["data"]

REFUSED: dict[str, tuple[Any, int, str, str | None]] = {
    "not an object": (MARKER, 400, "malformed", None),
    "no id": (GOOD | {"id": None}, 422, "missing-attribute", "id"),
    "a name as id": (GOOD | {"id": f"王{MARKER}"}, 422, "invalid-attribute", "id"),
    "no body": ({n: v for n, v in GOOD.items() if n != "data"}, 422, "missing-attribute", "data"),
    "a number for an id": (GOOD | {"id": 7}, 422, "invalid-attribute", "id"),
    "a subject of its own": (GOOD | {"subject": MARKER}, 422, "invalid-attribute", "subject"),
    "no such topic": (GOOD | {"type": f"aftercare.{MARKER}.v1"}, 422, "unknown-type", "type"),
    "no such version": (GOOD | {"type": "aftercare.case-opened.v9"}, 422, "unknown-version", "type"),
    "an unknown field": (GOOD | {"data": BODY | {MARKER: 1}}, 422, "invalid-field", "data.(unknown field)"),
    "a name for a code": (GOOD | {"data": BODY | {"service": MARKER}}, 422, "invalid-field", "data.service"),
    "text for a number": (
        GOOD | {"data": BODY | {"agreed_sessions": "6"}}, 422, "invalid-field", "data.agreed_sessions"
    ),
    "long ago": (GOOD | {"time": "1999-01-01T00:00:00Z"}, 422, "time-out-of-range", "time"),
    "far ahead": (GOOD | {"time": "2031-01-01T00:00:00Z"}, 422, "time-out-of-range", "time"),
    "a large event": (GOOD | {"data": BODY | {"service": "x" * MAX_BODY_BYTES}}, 413, "too-large", "data"),
    "an event of ours": (GOOD | {"source": "/aftercare/intake"}, 422, "not-yours", "type"),
}  # fmt: skip


@pytest.mark.clause("F9")
async def test_each_bad_event_is_answered_with_its_reason_and_nothing_is_taken(stack: Start) -> None:
    async with stack("intake") as system, system.client("intake", "publisher") as client:
        answers = {
            name: await client.post("/v1/events", json=document) for name, (document, *_) in REFUSED.items()
        }
        not_json = await client.post("/v1/events", content=f"{{{MARKER}".encode())
        await system.settled()
        taken = await system.records("case-opened")

    told = {
        name: (answer.status_code, answer.json()["reason"], answer.json().get("field"))
        for name, answer in answers.items()
    }
    assert told == {name: tuple(expected) for name, (_, *expected) in REFUSED.items()}
    assert (not_json.status_code, not_json.json()["reason"]) == (400, "malformed")
    assert taken == []
    for answer in [*answers.values(), not_json]:
        assert answer.headers["content-type"] == "application/problem+json"
        assert MARKER not in answer.text


async def test_one_bad_event_keeps_no_good_one_out_of_a_batch(stack: Start) -> None:
    bad = [document for document, *_ in REFUSED.values()]
    async with stack("intake") as system, system.client("intake", "publisher") as client:
        answer = await client.post("/v1/events", json=[*bad[:3], GOOD, *bad[3:]])
        empty = await client.post("/v1/events", json=[])
        await system.settled()
        taken = await system.records("case-opened")

    results = answer.json()["results"]
    assert answer.status_code == 200
    assert [result["status"] for result in results].count("accepted") == 1
    assert results[3] == {"index": 3, "status": "accepted", "id": GOOD["id"]}
    refusals = [
        (result["reason"], result.get("field")) for result in results if result["status"] == "refused"
    ]
    assert refusals == [(reason, field) for _, _, reason, field in REFUSED.values()]
    assert (empty.status_code, empty.json()["reason"]) == (422, "batch-size")
    assert len(taken) == 1
    assert MARKER not in answer.text


async def test_repeating_is_harmless_and_another_body_under_the_same_id_is_not_taken(stack: Start) -> None:
    other = GOOD | {"data": BODY | {"agreed_sessions": 3}}
    async with stack("intake") as system, system.client("intake", "publisher") as client:
        answers = [await client.post("/v1/events", json=document) for document in (GOOD, GOOD, other)]
        await system.settled()
        taken = await system.records("case-opened")

    assert [answer.status_code for answer in answers] == [202, 202, 409]
    assert answers[2].json()["reason"] == "id-reused"
    assert len(taken) == 1


@pytest.mark.parametrize("declared", [True, False], ids=["length declared", "length not declared"])
async def test_ten_megabytes_are_refused_and_not_kept(
    stack: Start, declared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where events come in they are looked through for a crisis, so far; elsewhere they are not read to their end."""
    monkeypatch.setattr("shared.web.bodies.LOOKED_THROUGH_BYTES", 5 * MAX_REQUEST_BYTES)
    chunk, chunks = b"x" * MAX_REQUEST_BYTES, 10
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(chunks):
            read += 1
            yield chunk

    headers = {"Content-Length": str(len(chunk) * chunks)} if declared else {}
    async with stack("intake") as system, system.client("intake", "publisher") as client:
        looked_through = await client.post("/v1/events", content=body(), headers=headers)
        until = read
        elsewhere = await client.put("/v1/cases/x/file", content=body(), headers=headers)

    for answer in (looked_through, elsewhere):
        assert (answer.status_code, answer.json()["reason"]) == (413, "too-large")
    assert until < chunks
    assert read - until < 3


async def test_who_may_not_publish_is_told_so(stack: Start) -> None:
    async with (
        stack("intake") as system,
        system.client("intake") as stranger,
        system.client("intake", "operations") as other,
    ):
        answers = [await client.post("/v1/events", json=GOOD) for client in (stranger, other)]

    assert [(answer.status_code, answer.json()["reason"]) for answer in answers] == [
        (401, "no-token"),
        (403, "missing-role"),
    ]


async def test_a_case_never_heard_of_is_made_by_whatever_comes_first(stack: Start) -> None:
    async with stack("intake") as system, system.client("intake", "operations") as client:
        unknown = await client.get("/v1/cases/case-1")
        await system.publish(case_closed(closed_at="2026-03-01"))
        closed = (await client.get("/v1/cases/case-1")).json()
        await system.publish(session_completed(ended_at="2026-03-02 08:50"))
        after = (await client.get("/v1/cases/case-1")).json()
        letters = await system.records("intake.dead-letter")

    assert (unknown.status_code, unknown.json()["reason"]) == (404, "unknown-case")
    assert (closed["class"], closed["status"], closed["session_ends"]) == ("closed", "closed", [])
    assert (after["class"], after["status"], len(after["session_ends"])) == ("closed", "closed", 1)
    assert letters == []


async def test_a_case_of_another_client_is_accepted_and_then_a_dead_letter(stack: Start) -> None:
    """Intake answers before it decides: that the case belongs to another client is known from the ledger alone."""
    foreign = session_completed(client_id="client-2", ended_at="2026-03-02 08:50").structured()
    async with stack("intake") as system, system.client("intake", "publisher") as client:
        await client.post("/v1/events", json=GOOD)
        answer = await client.post("/v1/events", json=foreign)
        await system.settled()
        letters = [json.loads(record.value) for record in await system.records("intake.dead-letter")]

    assert answer.status_code == 202
    assert [(letter["reason"], letter["field"]) for letter in letters] == [
        ("client-mismatch", "data.client_id")
    ]
