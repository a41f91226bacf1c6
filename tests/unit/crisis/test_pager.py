"""The pager beside another replica: what that one wrote is taken over, and one defect holds up nobody else."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from services.crisis import domain
from services.crisis.auditor import HANGS_SECONDS, Auditor
from services.crisis.board import Board, Watch
from services.crisis.chains import Chains
from services.crisis.dispatch import Reach
from services.crisis.domain import Contact, Incident
from services.crisis.pager import Pager
from services.crisis.store import Claim, Store
from shared.clock import VirtualClock
from shared.messaging.progress import Progress
from shared.observability import metrics
from shared.policy.versions import load_versions
from tests.unit.crisis.stories import CHAIN, FLAGGED, flag, minutes

CHAINS = Chains(load_versions(None))
AT_ONCE = Contact(person="staff-1", channel="wecom")


@dataclass
class Shelf:
    """The database, as far as the pager asks it."""

    kept: dict[str, Incident] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)

    async def open_incidents(self) -> list[Incident]:
        return [one for one in self.kept.values() if one.open]

    async def incidents(self, ids: Any) -> list[Incident]:
        return [self.kept[key] for key in ids if key in self.kept]

    async def get(self, key: str) -> Incident | None:
        return self.kept.get(key)

    async def erased_of(self, ids: Any) -> list[str]:
        return [key for key in ids if key in self.kept and self.kept[key].client_id == domain.ERASED]

    async def known_flags(self, now: datetime) -> list[Any]:
        return []

    async def claim(self, key: str, by: str, now: datetime) -> Claim:
        return Claim()


@dataclass
class Sender:
    """The dispatcher: every page reaches one person."""

    clock: VirtualClock
    contact: Contact = AT_ONCE
    pages: list[tuple[str, ...]] = field(default_factory=list)
    ended: list[tuple[list[str], str]] = field(default_factory=list)
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, roles: tuple[str, ...], compose: Any) -> Reach:
        self.pages.append(roles)
        await self.answers.wait()
        return Reach(1, self.contact.channel, contacts=(self.contact,))

    async def send_later(self, people: Any, stage: float, compose: Any, seconds: float) -> Reach:
        return Reach(0, "over-budget")

    async def end(self, contacts: Any, topic: str, how: str, at: datetime) -> None:
        self.ended.append(([contact.person for contact in contacts], f"{how} {topic}"))


def pager_of(shelf: Shelf, clock: VirtualClock, *, answers: bool = True) -> tuple[Pager, Sender]:
    sender = Sender(clock)
    if answers:
        sender.answers.set()
    prepared = asyncio.Event()
    prepared.set()
    keeper: Any = SimpleNamespace(
        failing=False,
        prepared=prepared,
        is_dirty=lambda key: False,
        mark=lambda key: None,
        unmark=lambda key: None,
    )
    anything: Any = shelf
    telling: Any = sender
    composer: Any = None
    board = Board(anything, keeper, CHAINS, clock, Progress(), asyncio.Event())
    return Pager(board, anything, keeper, telling, composer, clock, Progress()), sender


async def settled(pager: Pager) -> None:
    for _ in range(1000):
        await asyncio.sleep(0.005)
        if not any(watch.worker for watch in pager.board.watches.values()):
            return
    raise AssertionError("it does not come to rest")


def told(incident: Incident) -> Incident:
    """As it stands once the head was told."""
    page = domain.Page("head 0.0", (CHAIN.head_role,), "head")
    return domain.sent(incident, page, FLAGGED + minutes(1), "wecom", 1)


def over(incident: Incident) -> Incident:
    return domain.resolve(domain.acknowledge(incident, "staff-1", FLAGGED), "staff-1", FLAGGED)


async def test_what_another_replica_ended_is_over_here_as_well() -> None:
    taken_up = domain.acknowledge(told(domain.open_incident(flag())), "staff-1", FLAGGED + minutes(2))
    clock = VirtualClock(FLAGGED + minutes(2))
    shelf = Shelf({taken_up.id: taken_up})
    pager, sender = pager_of(shelf, clock)
    await pager.board.sync()
    assert pager.board.find(taken_up.id) is not None

    shelf.kept[taken_up.id] = domain.resolve(taken_up, "staff-1", FLAGGED + minutes(10))
    await pager.board.sync()
    assert pager.board.find(taken_up.id) is None

    clock.advance(FLAGGED + minutes(20))
    # The next flag is a new incident, and pages at once: it joins none that only seemed to be open.
    pager.raise_flag(flag(id="2", at=FLAGGED + minutes(20)))
    await settled(pager)
    assert sender.pages == [("on-call",)]


async def test_an_incident_whose_next_step_cannot_be_told_holds_up_none_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = VirtualClock(FLAGGED)
    pager, sender = pager_of(Shelf(), clock)
    defect = pager.raise_flag(flag(id="1", client="client-1")).incident_id
    pager.raise_flag(flag(id="2", client="client-2"))
    await settled(pager)
    next_at = domain.next_at

    def failing(incident: Incident, chain: Any) -> datetime | None:
        if incident.id == defect:
            raise RuntimeError("a defect")
        return next_at(incident, chain)

    monkeypatch.setattr(domain, "next_at", failing)
    for watch in pager.board.watches.values():
        watch.planned = None
    running = asyncio.create_task(pager.run())
    sender.pages.clear()
    await asyncio.sleep(0.01)
    clock.advance(FLAGGED + minutes(6))
    await settled(pager)
    assert pager.running
    assert sender.pages  # of the other one
    assert {watch.incident.id for watch in pager.board.watches.values() if watch.held_until} == {defect}
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_stored_incident_that_cannot_be_read_does_not_keep_the_others_from_memory() -> None:
    whole = domain.open_incident(flag())
    documents = [{"_id": "damaged", "open": True, "state": "no such state"}, whole.to_mongo()]

    class Collection:
        def find(self, wanted: Any) -> Any:
            async def all_of_them() -> Any:
                for document in documents:
                    yield document

            return all_of_them()

    db: Any = SimpleNamespace(get_collection=lambda name: Collection())
    store = Store(db)
    assert [incident.id for incident in await store.open_incidents()] == [whole.id]
    assert store.unreadable == {"damaged"}
    del documents[0]
    await store.open_incidents()
    assert not store.unreadable


async def test_a_page_that_was_taken_after_somebody_took_it_up_is_called_off() -> None:
    pager, sender = pager_of(Shelf(), VirtualClock(FLAGGED), answers=False)
    raised = pager.raise_flag(flag())
    await asyncio.sleep(0.02)
    await pager.command(raised.incident_id, lambda known: domain.acknowledge(known, "staff-2", FLAGGED))
    assert not sender.ended  # nobody has taken anything yet
    sender.answers.set()
    await settled(pager)
    await asyncio.sleep(0.01)
    assert sender.ended == [(["staff-1"], f"acknowledged {raised.incident_id}")]


async def test_a_page_to_the_head_that_was_taken_after_the_end_is_called_off() -> None:
    clock = VirtualClock(FLAGGED)
    pager, sender = pager_of(Shelf(), clock)
    raised = pager.raise_flag(flag())
    await settled(pager)
    await pager.command(raised.incident_id, lambda known: domain.acknowledge(known, "staff-2", FLAGGED))
    await asyncio.sleep(0.01)
    sender.answers.clear()
    sender.ended.clear()
    at = FLAGGED + minutes(9)
    clock.advance(at)
    assert raised.watch is not None
    pager._work_on(raised.watch)
    await asyncio.sleep(0.01)
    assert sender.pages[-1] == (CHAIN.head_role,)
    await pager.command(raised.incident_id, lambda known: domain.resolve(known, "staff-2", at))
    await asyncio.sleep(0.01)
    sender.ended.clear()
    sender.answers.set()
    await settled(pager)
    await asyncio.sleep(0.01)
    assert sender.ended == [(["staff-1"], f"resolved {raised.incident_id}")]


async def test_a_head_who_is_told_of_what_is_over_is_not_called_off_at_once() -> None:
    pager, sender = pager_of(Shelf(), VirtualClock(FLAGGED))
    raised = pager.raise_flag(flag())
    await settled(pager)
    await pager.command(raised.incident_id, lambda known: over(known))
    await asyncio.sleep(0.01)
    sender.ended.clear()
    assert raised.watch is not None
    pager._work_on(raised.watch)
    await settled(pager)
    await asyncio.sleep(0.01)
    assert sender.pages[-1] == (CHAIN.head_role,)
    assert sender.ended == []


async def test_a_late_page_is_called_off_under_the_name_that_it_had() -> None:
    pager, sender = pager_of(Shelf(), VirtualClock(FLAGGED), answers=False)
    raised = pager.raise_flag(flag())
    await asyncio.sleep(0.02)
    await pager.command(raised.incident_id, lambda known: domain.acknowledge(known, "staff-1", FLAGGED))
    pager.raise_flag(flag("imminent", id="2"))
    await pager.command(raised.incident_id, lambda known: domain.resolve(known, "staff-1", FLAGGED))
    sender.answers.set()
    await settled(pager)
    await asyncio.sleep(0.01)
    assert (["staff-1"], f"resolved {raised.incident_id}") in sender.ended


async def test_a_send_that_hangs_has_reached_nobody_and_the_chain_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.crisis.pager.SENT_WITHIN_SECONDS", 0.01)
    pager, sender = pager_of(Shelf(), VirtualClock(FLAGGED), answers=False)
    running = asyncio.create_task(pager.run())
    raised = pager.raise_flag(flag())
    await asyncio.sleep(0.1)
    assert sender.pages[:2] == [("on-call",), ("on-call-second",)]
    assert raised.watch is not None
    assert raised.watch.incident.timeline[1].channel == "timeout"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("then", ["waits", "failed before", "is over"])
async def test_a_worker_that_hangs_stops_the_heartbeat_and_is_begun_anew(
    then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock(FLAGGED)
    pager, sender = pager_of(Shelf(), clock, answers=False)
    anything: Any = SimpleNamespace(reading=True, failing=False, backlog=0)
    nobody: Any = None
    auditor = Auditor(pager, anything, anything, clock, None, nobody)
    running = asyncio.create_task(pager.run())
    raised = pager.raise_flag(flag())
    await asyncio.sleep(0.02)
    watch, key = raised.watch, raised.incident_id
    assert watch is not None
    if then == "failed before":
        page = domain.Page("1.0.0", ("on-call",), "on-call", run=1)
        await pager.command(key, lambda known: domain.failed(known, page, FLAGGED, "timeout"))
    if then == "is over":
        await pager.command(key, lambda known: over(told(known)))
    clock.advance(FLAGGED + minutes(2))
    assert f"hangs {key}" not in auditor.look()  # the clock jumped: nobody has worked on it for long
    later = time.monotonic() + HANGS_SECONDS
    with monkeypatch.context() as later_on:
        later_on.setattr("services.crisis.auditor.time.monotonic", lambda: later)
        assert f"hangs {key}" in auditor.look()
    await asyncio.sleep(0.02)
    assert len(sender.pages) == (1 if then == "is over" else 2)
    assert (pager.board.find(key) is None) == (then == "is over")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_worker_that_has_not_begun_does_not_hang() -> None:
    clock = VirtualClock(FLAGGED)
    pager, _ = pager_of(Shelf(), clock, answers=False)
    anything: Any = SimpleNamespace(reading=True, failing=False, backlog=0)
    nobody: Any = None
    raised = pager.raise_flag(flag())
    assert raised.watch is not None
    assert raised.watch.worker is not None
    assert f"hangs {raised.incident_id}" not in Auditor(pager, anything, anything, clock, None, nobody).look()
    await pager._stop_workers()


async def test_an_erased_client_is_not_kept_among_what_has_ended() -> None:
    pager, _ = pager_of(Shelf(), VirtualClock(FLAGGED))
    page = domain.Page("head 0.0", (CHAIN.head_role,), "head")
    taken_up = domain.acknowledge(
        domain.sent(domain.open_incident(flag()), page, FLAGGED, "wecom", 1), "staff-1", FLAGGED
    )
    shelf_of(pager).kept[taken_up.id] = taken_up
    await pager.board.sync()
    ended = over(taken_up)
    await pager.command(taken_up.id, lambda known: ended)
    pager.board.written(ended, ended)
    assert pager.board.latest(taken_up.id) is not None
    shelf_of(pager).kept[ended.id] = domain.scrubbed(ended)  # by another replica
    await asyncio.gather(pager.board.forget_erased(), pager.board.forget_erased())
    assert pager.board.latest(taken_up.id) is None


async def test_what_became_part_of_an_incident_that_is_over_does_not_open_it_again() -> None:
    pager, sender = pager_of(Shelf(), VirtualClock(FLAGGED), answers=False)
    board, raised = pager.board, pager.raise_flag(flag())
    await asyncio.sleep(0.02)
    assert raised.watch is not None
    other = domain.acknowledge(told(domain.open_incident(flag(id="0"))), "staff-1", FLAGGED)
    board.watches[other.id] = Watch(other)
    ours = raised.watch.incident
    board.written(ours, domain.merge(other, ours))  # while its page is being sent
    await pager.command(other.id, lambda known: domain.resolve(known, "staff-1", FLAGGED))
    ended = board.snapshot(other.id)
    assert ended is not None
    board.written(ended, ended)
    assert board.find(other.id) is None
    sender.answers.set()
    await asyncio.sleep(0.05)
    back = board.find(other.id)
    assert back is None or not back.incident.open


def test_who_is_not_on_the_board_takes_nobody_off_it() -> None:
    pager, _ = pager_of(Shelf(), VirtualClock(FLAGGED))
    ended = over(told(domain.open_incident(flag())))
    reopened = Watch(domain.reopen(ended, "staff-1", FLAGGED + minutes(1)))
    pager.board.watches[ended.id] = reopened
    pager.board.drop_if_over(Watch(ended))
    assert pager.board.find(ended.id) is reopened


def shelf_of(pager: Pager) -> Shelf:
    assert isinstance(pager._store, Shelf)
    return pager._store


@pytest.mark.parametrize("asked", ["claim", "get"])
async def test_a_database_whose_answer_cannot_be_read_keeps_no_page_back(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreadable(*_: Any) -> None:
        raise ValueError("written by another release")

    clock = VirtualClock(FLAGGED)
    shelf = Shelf()
    pager, sender = pager_of(shelf, clock)
    raised = pager.raise_flag(flag())
    await settled(pager)
    monkeypatch.setattr(shelf, asked, unreadable)
    clock.advance(FLAGGED + minutes(6))
    assert raised.watch is not None
    pager._work_on(raised.watch)
    await settled(pager)
    assert sender.pages == [("on-call",), ("on-call-second",)]
    assert raised.watch.held_until is None


async def test_a_later_stage_that_reaches_nobody_is_no_page_to_nobody() -> None:
    clock = VirtualClock(FLAGGED)
    pager, sender = pager_of(Shelf(), clock)
    sender.contact = AT_ONCE.model_copy(update={"later": (60.0,)})
    raised = pager.raise_flag(flag())
    await settled(pager)
    before = metrics.PAGES_TO_NOBODY._value.get()
    clock.advance(FLAGGED + minutes(1.1))
    assert raised.watch is not None
    pager._work_on(raised.watch)
    await settled(pager)
    assert [line.kind for line in raised.watch.incident.timeline] == ["flagged", "paged", "page-failed"]
    assert metrics.PAGES_TO_NOBODY._value.get() == before
