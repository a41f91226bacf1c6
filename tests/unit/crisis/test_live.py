"""The stream of the console: everything once, then what changes; what was overtaken is skipped, not queued."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from services.crisis import domain, live
from services.crisis.chains import Chains
from services.crisis.domain import Incident
from services.crisis.links import Links
from services.crisis.live import Live, Reader
from services.crisis.message import Composer
from shared.clock import VirtualClock
from shared.policy.versions import load_versions
from tests.unit.crisis.stories import FLAGGED, flag, minutes

CHAINS = Chains(load_versions(None))
READER = Reader(id="staff-1", may_act=True)


@dataclass
class Board:
    """The board, as far as the stream looks at it."""

    watches: dict[str, Any] = field(default_factory=dict)
    ended: dict[str, Incident] = field(default_factory=dict)
    stirred: asyncio.Event = field(default_factory=asyncio.Event)
    chains: Chains = CHAINS

    def put(self, incident: Incident) -> None:
        self.watches[incident.id] = SimpleNamespace(incident=incident)
        self.stirred.set()

    def end(self, incident: Incident) -> None:
        self.watches.pop(incident.id, None)
        self.ended[incident.id] = incident
        self.stirred.set()

    def latest(self, key: str) -> Incident | None:
        return self.watches[key].incident if key in self.watches else self.ended.get(key)


def feed(board: Board, draining: asyncio.Event | None = None, *, whole: bool = True) -> Live:
    prepared = asyncio.Event()
    if whole:
        prepared.set()
    keeper: Any = SimpleNamespace(prepared=prepared, failing=False)
    links = Links(bytes(96), "https://crisis.example", timedelta(hours=1))
    composer = Composer(links, "https://records.example/{client_id}", CHAINS)
    anything: Any = board
    return Live(anything, keeper, composer, VirtualClock(FLAGGED), draining or asyncio.Event())


async def told(stream: AsyncIterator[str], *, until: str = "time") -> list[tuple[str, str, Any]]:
    """The events up to and with the next of a name, as (name, id, data)."""
    events: list[tuple[str, str, Any]] = []
    async with asyncio.timeout(10):
        async for text in stream:
            for block in text.strip().split("\n\n"):
                fields = dict(line.split(": ", 1) for line in block.splitlines())
                if "data" in fields:
                    events.append((fields["event"], fields["id"], json.loads(fields["data"])))
            if events and events[-1][0] == until:
                break
    return events


def names(events: list[tuple[str, str, Any]]) -> list[str]:
    return [name for name, _, _ in events]


async def test_everything_comes_once_and_then_what_changes() -> None:
    board, opened = Board(), domain.open_incident(flag())
    board.put(opened)
    following = feed(board)
    stream = following.stream(READER, None)
    first = await told(stream)
    board.put(domain.acknowledge(opened, "staff-1", FLAGGED))
    following.look()
    then = await told(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    assert names(first) == ["snapshot", "time"]
    shown = first[0][2]["incidents"][0]
    assert first[0][2]["reader"] == {"id": "staff-1", "may_act": True}
    assert (shown["intervene_by"], shown["head_by"]) == (
        "2026-04-01T10:30:00+08:00", "2026-04-01T10:10:00+08:00",
    )  # fmt: skip
    assert shown["record_url"] == "https://records.example/client-1"
    assert names(then) == ["incident", "time"]
    assert then[0][2]["people"] == ["staff-1"]
    assert following.readers == 0


async def test_who_comes_back_hears_what_was_missed_and_a_stranger_hears_everything() -> None:
    board = Board()
    one, other = domain.open_incident(flag(id="1")), domain.open_incident(flag(id="2", client="client-2"))
    board.put(one)
    board.put(other)
    following = feed(board)
    last = (await told(following.stream(READER, None)))[-1][1]
    board.end(domain.resolve(other, "staff-1", FLAGGED, "safe"))
    back = await told(following.stream(READER, last))
    nothing_new = await told(following.stream(READER, back[-1][1]))
    stranger = await told(following.stream(READER, "another-7"))
    future = await told(following.stream(READER, f"{last.split('-')[0]}-99999"))
    assert names(back) == ["incident", "time"]
    assert (back[0][2]["client_id"], back[0][2]["state"]) == ("client-2", "resolved")
    assert names(nothing_new) == ["time"]
    assert names(stranger) == names(future) == ["snapshot", "time"]
    assert len(stranger[0][2]["incidents"]) == 2, "what has just ended is still shown"


async def test_a_slow_reader_gets_the_newest_words_and_no_backlog() -> None:
    board, incident = Board(), domain.open_incident(flag())
    board.put(incident)
    following = feed(board)
    stream = following.stream(READER, None)
    await told(stream)
    for number in range(500):
        incident = domain.join(incident, flag(id=f"more-{number}", at=FLAGGED))
        board.put(incident)
        following.look()
    late = await told(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    assert names(late) == ["incident", "time"]
    assert (late[0][2]["lines"], len(late[0][2]["timeline"])) == (501, live.LINES)


async def test_an_incident_that_became_part_of_another_is_taken_away() -> None:
    board, incident = Board(), domain.open_incident(flag())
    board.put(incident)
    following = feed(board)
    stream = following.stream(READER, None)
    await told(stream)
    del board.watches[incident.id]
    following.look()
    events = await told(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    assert events[0][0] == "gone"
    assert events[0][2] == {"incident_id": incident.id}


async def test_it_says_when_there_may_be_more_than_it_shows() -> None:
    events = await told(feed(Board(), whole=False).stream(READER, None))
    assert events[0][2]["whole"] is False


async def test_it_ends_with_the_service() -> None:
    draining = asyncio.Event()
    stream = feed(Board(), draining).stream(READER, None)
    await told(stream)
    draining.set()
    async with asyncio.timeout(5):
        assert [text async for text in stream] == []


async def test_nothing_is_rendered_while_nobody_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    following = feed(board)
    looked = asyncio.Event()
    monkeypatch.setattr(following, "look", looked.set)
    task = asyncio.create_task(following.follow())
    board.put(domain.open_incident(flag()))
    while board.stirred.is_set():  # noqa: ASYNC110 - that it was seen sets no event
        await asyncio.sleep(0)
    assert not looked.is_set()
    following.readers = 1
    board.put(domain.open_incident(flag(id="2")))
    await asyncio.wait_for(looked.wait(), 5)
    task.cancel()


def test_what_was_done_counts_from_the_last_opening() -> None:
    incident = domain.open_incident(flag())
    incident = domain.assess(incident, "staff-1", FLAGGED + minutes(1), "first-assessment")
    incident = domain.refer(incident, "staff-1", FLAGGED + minutes(2), "hospital")
    incident = domain.take_part(incident, "staff-2", FLAGGED + minutes(3))
    before = feed(Board()).show(incident)
    incident = domain.resolve(incident, "staff-1", FLAGGED + minutes(4))
    after = feed(Board()).show(domain.reopen(incident, "staff-3", FLAGGED + minutes(5)))
    assert (before.people, list(before.assessed), list(before.referred)) == (
        ("staff-1", "staff-2"), ["first-assessment"], ["hospital"],
    )  # fmt: skip
    assert (after.people, after.assessed, after.referred) == ((), {}, {})
    assert after.intervene_by == FLAGGED + minutes(35)
