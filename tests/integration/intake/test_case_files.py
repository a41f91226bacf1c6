"""De-identified case files: sealed where they lie, each read recorded, gone with the client."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from bson import Binary

from shared.contracts.types import write_time
from shared.mongo.access_log import AccessLog
from shared.mongo.encryption import Sealed
from tests.builders import case_opened, client_erased, consent_changed, session_completed
from tests.conftest import Start
from tests.system import System

FILE = {
    "kind_of_counselling": "职业转型",
    "core_problem": "afraid of the new post",
    "closing_advice": "rest before deciding",
}


async def put(system: System, file: dict[str, Any], *roles: Any) -> int:
    async with system.client("intake", *(roles or ("counsellor",)), subject="counsellor-1") as client:
        return (await client.put("/v1/cases/case-1/file", json=file)).status_code


async def everything(system: System) -> str:
    """All that intake's database holds, as text."""
    db = system.db("intake")
    found = [
        json.dumps(
            document, default=lambda value: bytes(value).hex() if isinstance(value, bytes) else str(value)
        )
        for name in await db.list_collection_names()
        async for document in db.get_collection(name).find()
    ]
    return "\n".join(found)


@pytest.mark.clause("F6", "F47", "F48", "W25")
async def test_a_file_is_sealed_and_each_read_is_recorded(stack: Start) -> None:
    async with stack("intake") as system:
        assert await put(system, FILE) == 404  # no event about the case has come yet
        await system.publish(case_opened())
        assert await put(system, FILE) == 204
        assert await put(system, FILE, "operations") == 403
        assert await put(system, FILE | {"telephone": "1"}) == 422

        async with system.client("intake", "operations", subject="staff-7") as client:
            answer = await client.get("/v1/cases/case-1/file")
            missing = await client.get("/v1/cases/case-2/file")
            hidden = await client.get("/v1/access-log")
        await AccessLog(system.db("intake")).record(  # as `aftercare dead-letters show` does
            "engineer", "engineer", "dead-letter", system.clock.now(), letter_id="letter-1"
        )
        async with system.client("intake", "compliance") as client:
            lines = (await client.get("/v1/access-log")).json()["items"]
        log = [{name: value for name, value in line.items() if value is not None} for line in lines]
        held = await everything(system)

    assert answer.json() == FILE
    assert missing.status_code == 404
    assert hidden.status_code == 403
    at = write_time(system.clock.now())
    assert log == [
        {"who": "engineer", "role": "engineer", "what": "dead-letter", "letter_id": "letter-1", "at": at},
        {
            "who": "staff-7",
            "role": "operations",
            "what": "case-file",
            "client_id": "client-1",
            "case_id": "case-1",
            "at": at,
        },
    ]
    for text in FILE.values():
        assert text not in held


async def test_a_file_with_a_private_detail_is_refused_and_the_detail_not_repeated(stack: Start) -> None:
    """F47, F48, W45. The answer names the field, and what it seems to hold."""
    details = {
        "core_problem": ("电话 138-0013-8000", "a telephone number"),
        "closing_advice": ("write to someone@example.com", "an e-mail address"),
        "kind_of_counselling": ("证件 11010519491231002X", "an ID number"),
    }
    async with stack("intake") as system:
        await system.publish(case_opened())
        async with system.client("intake", "counsellor", subject="counsellor-1") as client:
            answers = {
                field: await client.put("/v1/cases/case-1/file", json=FILE | {field: text})
                for field, (text, _) in details.items()
            }
            missing = await client.get("/v1/cases/case-1/file")

    for field, answer in answers.items():
        text, what = details[field]
        problem = answer.json()
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert (problem["reason"], problem["field"]) == ("invalid-field", f"body.{field}")
        assert what in problem["detail"]
        assert text not in answer.text
        assert text.split()[-1] not in answer.text
    assert missing.status_code == 404  # nothing of it was kept


@pytest.mark.clause("F7")
async def test_erasing_a_client_leaves_nothing_but_the_mark_that_keeps_late_events_out(stack: Start) -> None:
    async with stack("intake") as system:
        await system.publish(case_opened(), consent_changed(purposes={"recording": True}))
        await system.publish(case_opened(case_id="case-2", client_id="client-2"))
        await put(system, FILE)

        await system.publish(client_erased())
        await system.publish(session_completed(), consent_changed(), case_opened(case_id="case-3"))

        async with system.client("intake", "operations") as client:
            gone = await client.get("/v1/cases/case-1")
            file = await client.get("/v1/cases/case-1/file")
            other = await client.get("/v1/cases/case-2")
        db = system.db("intake")
        erased = await db.get_collection("erasures").find_one({"_id": "client-1"})
        client_left = await db.get_collection("clients").find_one({"_id": "client-1"})
        cases = await db.get_collection("cases").count_documents({"client_id": "client-1"})
        keys = await db.get_collection("data_keys").count_documents({"keyAltNames": "client-1"})
        told = [event.subject for event in await system.events("case-classified")]
        letters = await system.records("intake.dead-letter")

    assert gone.status_code == 404
    assert file.status_code in (404, 410)
    assert other.status_code == 200
    assert erased == {"_id": "client-1", "key_destroyed": True}
    assert client_left == {"_id": "client-1", "consents": {}, "earlier": {}, "erased": True}
    assert (cases, keys) == (0, 0)
    assert "case-3" not in told
    assert letters == []


@pytest.mark.clause("F7", "F9")
async def test_what_was_sealed_can_be_opened_until_the_key_is_destroyed(stack: Start) -> None:
    async with stack("intake") as system:
        vault = system.runtime("intake").vault
        mine, other = await vault.seal("client-1", "mine"), await vault.seal("client-2", "another's")
        assert mine != await vault.seal("client-1", "mine")  # nobody can tell that two texts are the same
        assert b"mine" not in bytes(mine)
        assert await vault.open(Binary(bytes(mine))) == "mine"

        await vault.destroy("client-1")

        assert await sealed(system, mine)
        assert await vault.open(other) == "another's"
        again = await vault.seal("client-1", "new")  # a new key, which does not open what was sealed before
        assert await vault.open(again) == "new"
        assert await sealed(system, mine)


async def test_the_first_texts_of_a_client_may_be_sealed_at_once(stack: Start) -> None:
    """Of those who make the data key at the same moment one does, and all use it."""
    async with stack("intake") as system:
        vault = system.runtime("intake").vault
        texts = await asyncio.gather(*(vault.seal("client-1", f"text {n}") for n in range(8)))
        assert [await vault.open(text) for text in texts] == [f"text {n}" for n in range(8)]
        keys = await system.db("intake").get_collection("data_keys").count_documents({})
    assert keys == 1


async def sealed(system: System, text: Binary) -> bool:
    try:
        await system.runtime("intake").vault.open(text)
    except Sealed:
        return True
    return False
