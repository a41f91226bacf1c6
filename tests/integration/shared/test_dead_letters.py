"""A record that cannot be taken becomes a dead letter, alone; the good ones beside it go on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from services.intake.reactions import IntakeReactions
from shared.contracts.envelope import MAX_BODY_BYTES, Event
from shared.messaging.bus import Outgoing
from shared.mongo.documents import Changes, View
from shared.observability import metrics
from tests.builders import case_closed, case_opened, session_completed
from tests.conftest import Start
from tests.system import System, eventually

MARKER = "Zhang-San-13800138000"
"""Stands for a name and a number: it must turn up nowhere but in the sealed payload."""


def spoilt(outgoing: Outgoing, *, value: bytes | None = None, **headers: bytes | None) -> Outgoing:
    """The record with another body or other headers; None takes a header away."""
    changed = {f"ce_{name}": text for name, text in headers.items()}
    kept = [(name, text) for name, text in outgoing.headers if name not in changed]
    added = [(name, text) for name, text in changed.items() if text is not None]
    return replace(outgoing, value=outgoing.value if value is None else value, headers=(*kept, *added))


def with_field(outgoing: Outgoing, **fields: object) -> bytes:
    return json.dumps(json.loads(outgoing.value) | fields).encode()


GOOD = Outgoing.of(case_opened(case_id="case-9", client_id="client-9", id="good"))

POISON: dict[str, tuple[Outgoing, str, str]] = {
    "not JSON": (spoilt(GOOD, value=f"{MARKER}".encode()), "malformed", "data"),
    "no body": (spoilt(GOOD, value=b""), "malformed", "data"),
    "not an object": (spoilt(GOOD, value=b"[]"), "invalid-field", "data"),
    "a header that is not text": (spoilt(GOOD, subject=b"\xff\xfe"), "malformed", "ce_subject"),
    "no id": (spoilt(GOOD, id=None), "missing-attribute", "id"),
    "no type": (spoilt(GOOD, type=None), "missing-attribute", "type"),
    "another CloudEvents": (spoilt(GOOD, specversion=b"0.3"), "invalid-attribute", "specversion"),
    "a subject of its own": (spoilt(GOOD, subject=MARKER.encode()), "invalid-attribute", "subject"),
    "a time without offset": (spoilt(GOOD, time=b"2026-03-02T10:00:00"), "invalid-attribute", "time"),
    "no such topic": (spoilt(GOOD, type=b"aftercare.nonsense.v1"), "unknown-type", "type"),
    "no such version": (spoilt(GOOD, type=b"aftercare.case-opened.v9"), "unknown-version", "type"),
    "another topic's type": (
        replace(Outgoing.of(case_closed(id="elsewhere")), topic="case-opened"), "wrong-topic", "type"
    ),
    "an unknown field": (
        spoilt(GOOD, value=with_field(GOOD, **{MARKER: MARKER})), "invalid-field", "data.(unknown field)"
    ),
    "a name for a code": (
        spoilt(GOOD, value=with_field(GOOD, service=MARKER)), "invalid-field", "data.service"
    ),
    "far ahead of the clock": (spoilt(GOOD, time=b"2031-01-01T00:00:00Z"), "time-out-of-range", "time"),
    "long ago": (spoilt(GOOD, time=b"1999-01-01T00:00:00Z"), "time-out-of-range", "time"),
    "a very large body": (spoilt(GOOD, value=b" " * (MAX_BODY_BYTES + 1)), "too-large", "data"),
}  # fmt: skip


async def letters(system: System) -> list[dict[str, Any]]:
    return [json.loads(record.value) for record in await system.records("intake.dead-letter")]


async def test_each_poison_becomes_a_letter_with_its_reason_and_the_good_go_on(
    stack: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    async with stack("intake") as system:
        bad = [poison for poison, _, _ in POISON.values()]

        await system.put(*bad[:8], GOOD, *bad[8:])
        await system.settled()

        told = await letters(system)
        classified = await system.events("case-classified")
        stored = [one async for one in system.db("intake").get_collection("dead_letters").find()]
        opened = [json.loads(await system.runtime("intake").vault.open(one["payload"])) for one in stored]

    assert [(letter["reason"], letter["field"]) for letter in told] == [
        (reason, field) for _, reason, field in POISON.values()
    ]
    assert [event.subject for event in classified] == ["case-9"]
    assert {letter["handler"] for letter in told} == {"intake"}
    assert [letter["origin"]["topic"] for letter in told] == [system.settings.topic("case-opened")] * len(bad)
    assert [letter["origin"]["offset"] for letter in told] == [n for n in range(len(bad) + 1) if n != 8]
    assert [letter["sha256"] for letter in told] == [
        hashlib.sha256(poison.value).hexdigest() for poison in bad
    ]
    assert {bytes.fromhex(one["value"]) for one in opened} == {poison.value for poison in bad}
    assert MARKER not in json.dumps(told)
    assert MARKER.encode() not in b"".join(bytes(one["payload"]) for one in stored)
    assert MARKER not in "".join(capfd.readouterr())


async def test_an_id_that_said_something_else_before_is_refused(stack: Start) -> None:
    async with stack("intake") as system:
        await system.publish(case_opened(id="one"))
        await system.publish(case_opened(id="one", agreed_sessions=3))

        assert [letter["reason"] for letter in await letters(system)] == ["id-reused"]
        assert len(await system.events("case-classified")) == 1


async def test_an_id_reused_within_one_batch_is_refused(stack: Start) -> None:
    async with stack("intake") as system:
        await system.publish(case_opened(id="one"), case_opened(id="one", agreed_sessions=3))

        assert [letter["reason"] for letter in await letters(system)] == ["id-reused"]


async def test_a_case_stays_with_its_client(stack: Start) -> None:
    async with stack("intake") as system:
        await system.publish(case_opened())
        await system.publish(session_completed(client_id="client-2"))

        told = await letters(system)

    assert [(letter["reason"], letter["field"]) for letter in told] == [("client-mismatch", "data.client_id")]


@pytest.fixture
def defective(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes intake's decision on the events of one case raise."""
    decide = IntakeReactions.decide
    hit: set[str] = set()

    def broken(self: IntakeReactions, view: View, event: Event, now: datetime) -> Changes:
        if event.subject in hit:
            raise KeyError(event.data)
        return decide(self, view, event, now)

    monkeypatch.setattr(IntakeReactions, "decide", broken)
    return hit.add


async def test_a_decision_that_raises_costs_its_own_record_alone(
    stack: Start, defective: Callable[[str], None]
) -> None:
    defective("case-2")
    async with stack("intake") as system:
        await system.publish(*(case_opened(case_id=f"case-{n}", client_id=f"client-{n}") for n in (1, 2, 3)))

        assert [letter["reason"] for letter in await letters(system)] == ["handler-error"]
        assert {event.subject for event in await system.events("case-classified")} == {"case-1", "case-3"}


async def halted(system: System, service: str) -> None:
    """Returns once the consumer of a service stands still."""
    loop = system.runtime(service).loop
    assert loop
    await eventually(lambda: loop.halted and loop.waiting)


async def test_too_many_bad_ones_stop_the_consumer(stack: Start) -> None:
    """It does not drain the topic: nothing more is taken or committed, and the service says so."""
    async with stack("scheduler", scheduler={"dead_letter_limit": 5}) as system:
        await system.put(*[spoilt(GOOD, id=f"bad-{n}".encode(), type=b"x") for n in range(6)])
        await halted(system, "scheduler")
        await system.put(*[spoilt(GOOD, id=f"more-{n}".encode(), type=b"x") for n in range(6)])
        again = metrics.RETRIES.labels("scheduler")._value.get() + 2
        await eventually(lambda: metrics.RETRIES.labels("scheduler")._value.get() >= again)
        async with system.client("scheduler") as client:
            ready = await client.get("/readyz")
            alive = await client.get("/healthz")

        assert ready.status_code == 503
        assert ready.json()["required"]["not halted"] is False
        assert alive.status_code == 200
        assert await system.committed("scheduler", "case-opened") < 6  # not the batch that was too much
        assert len(await system.records("scheduler.dead-letter")) == 6


async def test_a_defect_that_fails_everything_stops_the_consumer_too(
    stack: Start, defective: Callable[[str], None]
) -> None:
    """A defect fails every event of a kind: without a limit it would turn the whole topic into dead letters."""
    defective("case-1")
    async with stack("intake", intake={"dead_letter_limit": 5}) as system:
        await system.put(*[Outgoing.of(session_completed(session_no=n, id=f"s{n}")) for n in range(1, 8)])
        await halted(system, "intake")

        assert await system.committed("intake", "session-completed") < 7  # not the batch that was too much


async def test_after_a_restart_the_letters_of_before_do_not_stop_it_again(stack: Start) -> None:
    async with stack("intake", intake={"dead_letter_limit": 5}) as system:
        await system.put(*[spoilt(GOOD, id=f"bad-{n}".encode(), type=b"x") for n in range(6)], GOOD)
        await halted(system, "intake")

    async with stack("intake", intake={"dead_letter_limit": 5}) as system:
        await system.put(Outgoing.of(case_opened(id="later")))
        await system.settled()

        told = await system.events("case-classified")
        assert [event.subject for event in told] == ["case-9", "case-1"]
        assert len(await letters(system)) == 6
