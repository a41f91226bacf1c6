"""The operators' tools against a real broker, a real database and intake as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import ConsumerRecord

from aftercare.tail import records
from shared.contracts.topics import SERVICES, TOPICS
from shared.messaging.bus import Outgoing, Publisher
from shared.messaging.progress import Progress
from shared.mongo.client import Database, connect, database
from shared.settings import Settings
from tests import builders
from tests.integration.aftercare.processes import free_ports, process, until
from tests.integration.conftest import Invoke
from tests.system import records_on


@pytest.fixture
async def publisher(settings: dict[str, Any]) -> AsyncIterator[Publisher]:
    """Puts records on the bus as they are."""
    publisher = Publisher(Settings(**settings), Progress())
    yield publisher
    await publisher.stop()


@pytest.fixture
async def database_of(settings: dict[str, Any]) -> AsyncIterator[Callable[[str], Database]]:
    """`database_of("intake")` is what that service alone reads and writes."""
    client = connect(Settings(**settings))
    yield lambda service: database(client, Settings(**settings).database(service))
    client.close()


@pytest.fixture
async def intake(aftercare: Invoke, tmp_path: Path) -> AsyncIterator[str]:
    """`aftercare run intake` as a process; its address."""
    assert (await aftercare("topics", "apply")).exit_code == 0
    port = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "AFTERCARE_HTTP_PORT": str(port)}
    log = tmp_path / "intake.log"
    with process("run", "intake", folder=tmp_path, environment=environment, log=log) as running:
        async with httpx.AsyncClient() as client:

            async def reads() -> bool:
                assert running.poll() is None, log.read_text()
                try:
                    said = (await client.get(f"{url}/readyz")).json()
                except httpx.TransportError:
                    return False
                return bool(said["dependencies"]["assignment"])

            await until(reads, 60, "intake reads events")
        yield url
        running.terminate()
        await until(lambda: running.poll() is not None, 30, "intake has drained")
        assert running.returncode == 0, log.read_text()


async def test_topics_are_created_once(aftercare: Invoke) -> None:
    first = await aftercare("topics", "apply")
    assert f"{len(TOPICS) + len(SERVICES)} topics created" in first.output
    assert "0 topics created" in (await aftercare("topics", "apply")).output


async def test_what_is_published_can_be_watched(
    aftercare: Invoke, intake: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    good = [builders.case_closed(case_id=f"case-{number}") for number in (1, 2)]
    bad = {**good[0].structured(), "id": "bad", "data": {"case_id": "Zhang San"}}
    file = tmp_path / "events.jsonl"
    file.write_text(
        "\n".join(json.dumps(event) for event in (good[0].structured(), bad, good[1].structured()))
    )

    result = await aftercare("publish", str(file), "--url", intake)

    assert result.exit_code == 1
    assert "line 2: invalid-field: data." in result.output
    assert "2 accepted, 1 refused" in result.output
    assert "Zhang" not in result.output
    topics = ["case-closed", "case-classified"]
    seen: list[ConsumerRecord] = []
    async with (
        asyncio.timeout(20),
        aclosing(records(Settings(**settings), topics, from_start=True)) as arriving,
    ):
        async for record in arriving:
            seen.append(record)
            if len(seen) == 4:
                break
    subjects = sorted((record.topic.rpartition(".")[2], record.key.decode()) for record in seen)
    assert subjects == [(topic, case) for topic in sorted(topics) for case in ("case-1", "case-2")]


async def test_a_watcher_from_now_sees_only_what_comes(
    aftercare: Invoke, settings: dict[str, Any], publisher: Publisher
) -> None:
    await aftercare("topics", "apply")
    before, after = (builders.case_closed(case_id=case) for case in ("before", "after"))
    await publisher.publish([Outgoing.of(before)])
    async with (
        asyncio.timeout(20),
        aclosing(records(Settings(**settings), ["case-closed"], False)) as arriving,
    ):
        first = asyncio.create_task(anext(arriving))
        while not first.done():  # until the watcher has found its place
            await publisher.publish([Outgoing.of(after)])
            await asyncio.wait([first], timeout=0.1)
        assert (await first).key == b"after"


async def test_a_topic_that_is_not_there_is_named(aftercare: Invoke) -> None:
    result = await aftercare("tail", "case-closed")
    assert "create it with `aftercare topics apply`" in str(result.exception)


async def test_a_dead_letter_is_listed_opened_on_record_and_replayed(
    aftercare: Invoke,
    intake: str,
    settings: dict[str, Any],
    publisher: Publisher,
    database_of: Callable[[str], Database],
) -> None:
    sent = replace(Outgoing.of(builders.case_closed()), value=b'{"case_id":"case-1","client_id":"Zhang San"}')
    await publisher.publish([sent])
    db = database_of("intake")
    letters = db.get_collection("dead_letters")

    async def there(count: int) -> bool:
        return await letters.count_documents({}) == count

    await until(lambda: there(1), 20, "the record is a dead letter")

    listed = await aftercare("dead-letters", "list")
    assert "1 dead letters" in listed.output
    assert "Zhang" not in listed.output
    letter = await letters.find_one({})
    assert letter is not None
    assert letter["_id"][:12] in listed.output
    assert await db.get_collection("access_log").count_documents({}) == 0

    shown = await aftercare("dead-letters", "show", letter["_id"][:12])
    assert '{"case_id":"case-1","client_id":"Zhang San"}' in shown.output
    assert "header ce_type: aftercare.case-closed.v1" in shown.output
    accesses = [entry async for entry in db.get_collection("access_log").find()]
    assert [(entry["what"], entry["letter_id"]) for entry in accesses] == [("dead-letter", letter["_id"])]

    # Nothing was mended, so it is refused again, as a letter of its own.
    replayed = await aftercare("dead-letters", "replay", letter["_id"])
    assert "1 records published again" in replayed.output
    await until(lambda: there(2), 20, "the replayed record is refused again")
    on_bus = await records_on(Settings(**settings), "case-closed")
    assert len(on_bus) == 2
    assert [(record.key, record.value, set(record.headers)) for record in on_bus] == [
        (sent.key, sent.value, set(sent.headers))
    ] * 2
    states = [stored["state"] async for stored in letters.find().sort("at")]
    assert sorted(states) == ["open", "replayed"]
    assert "1 dead letters" in (await aftercare("dead-letters", "list")).output
    assert "2 dead letters" in (await aftercare("dead-letters", "list", "--all")).output
    assert "no dead letter has an id that begins" in str(
        (await aftercare("dead-letters", "show", "zz")).exception
    )

    looked = await aftercare("doctor", "--services", intake)
    assert "warn dead letters are open: intake 1" in looked.output
    assert f"all {len(TOPICS) + len(SERVICES)} topics are there" in looked.output
    assert "replica set rs0" in looked.output


async def test_the_doctor_fails_where_something_is_missing(aftercare: Invoke) -> None:
    result = await aftercare("doctor", "--services", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "topics are missing" in result.output
    assert "run `aftercare topics apply`" in result.output
    assert "intake at http://127.0.0.1:1 does not answer (ConnectError)" in result.output


async def test_the_doctor_sees_events_that_never_reached_the_bus(
    aftercare: Invoke, database_of: Callable[[str], Database]
) -> None:
    db = database_of("scheduler")
    await db.get_collection("outbox").insert_one(
        {"dispatched": False, "at": builders.at("2026-03-02"), "records": []}
    )
    result = await aftercare("doctor", "--services", "http://127.0.0.1:1")
    assert "fail events wait for the bus longer than a minute: scheduler 1" in result.output


async def test_without_the_master_key_a_letter_stays_sealed(
    aftercare: Invoke,
    intake: str,
    publisher: Publisher,
    database_of: Callable[[str], Database],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await publisher.publish([replace(Outgoing.of(builders.case_closed()), value=b"Zhang San")])
    letters = database_of("intake").get_collection("dead_letters")

    async def there() -> bool:
        return await letters.count_documents({}) == 1

    await until(there, 20, "the record is a dead letter")
    letter = await letters.find_one({})
    assert letter is not None
    monkeypatch.delenv("AFTERCARE_MASTER_KEY")
    result = await aftercare("dead-letters", "show", letter["_id"])
    assert "the payload cannot be opened" in str(result.exception)
    assert "Zhang" not in result.output
