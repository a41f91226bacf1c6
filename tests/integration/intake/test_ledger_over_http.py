"""The case as classified, and the follow-up ledger of a month (F15, F16)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from services.intake.domain import snapshots
from services.intake.domain.ledger import Case
from services.intake.snapshots import SnapshotTaker
from services.intake.store import Store, Those
from shared.contracts.envelope import Event
from shared.messaging.progress import Progress
from shared.mongo.client import Database, Session
from shared.mongo.journal import Journal
from tests.builders import (
    Timeline,
    at,
    attention_changed,
    case_closed,
    case_opened,
    client_erased,
    event,
    follow_up_recorded,
)
from tests.conftest import Start
from tests.system import System
from tests.unit.policy.regime import POLICIES


async def test_a_case_says_what_it_is_and_why(stack: Start) -> None:
    async with stack("intake") as system, system.client("intake", "operations") as client:
        await system.publish(
            *Timeline().opened("2026-03-02").session("2026-03-09").attention("2026-03-10").events
        )
        shown = (await client.get("/v1/cases/case-1")).json()
        unknown = await client.get("/v1/cases/case-2")

    assert (shown["class"], shown["status"], shown["revision"]) == ("key-attention", "open", 3)
    assert shown["cause"] == "attention-changed"
    assert shown["attention"] == {
        "reason": "career-crisis",
        "state": "decided",
        "decided_by": "counsellor-1",
        "since": "2026-03-10T10:00:00+08:00",
    }
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "unknown-case")


@pytest.mark.clause("F16")
async def test_the_ledger_of_a_month_comes_in_pages(stack: Start) -> None:
    async with stack("intake", start="2026-03-31 23:59:59") as system:
        await system.publish(
            *(case_opened(case_id=f"case-{n}", client_id=f"client-{n}") for n in range(5)),
        )
        await system.publish(attention_changed(case_id="case-3", client_id="client-3", at="2026-03-30 10:00"))
        async with system.client("intake", "compliance") as client:
            first = (await client.get("/v1/ledger?month=2026-03&limit=3")).json()
            rest = (await client.get(f"/v1/ledger?month=2026-03&limit=3&after={first['next']}")).json()
            before = (await client.get("/v1/ledger?month=2026-02")).json()
            wrong = await client.get("/v1/ledger?month=2026-13")
        async with system.client("intake", "counsellor") as client:
            refused = await client.get("/v1/ledger?month=2026-03")

    listed = [(one["case_id"], one["class"]) for one in [*first["items"], *rest["items"]]]
    assert listed == [
        ("case-0", "new"), ("case-1", "new"), ("case-2", "new"), ("case-3", "key-attention"), ("case-4", "new"),
    ]  # fmt: skip
    assert rest["next"] is None
    assert before["items"] == []
    assert (wrong.status_code, wrong.json()["field"]) == (422, "query.month")
    assert refused.status_code == 403


async def test_a_case_that_was_refused_says_by_which_gate(stack: Start) -> None:
    refused = case_opened(
        service="workplace-adaptation",
        eligibility={"acute_crisis": True, "severe_illness": False, "age": 61},
    )
    async with stack("intake") as system, system.client("intake", "operations") as client:
        await system.publish(refused)
        shown = (await client.get("/v1/cases/case-1")).json()
        flags = await system.events("crisis-flagged")

    assert (shown["status"], shown["class"]) == ("referred", "new")
    assert [(gate["ground"], gate["clause"]) for gate in shown["why"]["gates"]] == [
        ("acute-crisis", "W26"), ("age", "W23"),
    ]  # fmt: skip
    assert shown["why"]["facts"][0]["topic"] == "case-opened"
    assert [(flag.source, flag.subject) for flag in flags] == [("/aftercare/intake", "client-1")]


async def test_a_proposal_is_on_the_bus_and_its_return_changes_nothing(stack: Start) -> None:
    async with stack("intake") as system:
        await system.publish(case_closed(closed_at="2026-04-20 17:00"))
        await system.publish(follow_up_recorded(bands={"gad-7": "severe"}, conducted_at="2026-05-06 08:00"))
        proposals = [event.data for event in await system.events("attention-changed")]
        told = [event.data for event in await system.events("case-classified")]

    assert [(one.state, one.reason) for one in proposals] == [("proposed", "gad-7-severe")]  # type: ignore[attr-defined]
    assert [one.case_class for one in told] == ["closed", "key-attention"]  # type: ignore[attr-defined]


def due(month: str, when: str) -> Event:
    body = {"rule": "classification-5th", "clause": "F15", "month": month, "due_at": at(when)}
    return event("calendar-due", body, time=when, source="/aftercare/scheduler")


def opened(number: int, **given: Any) -> Event:
    given.setdefault("opened_at", "2026-03-02 10:00")
    return case_opened(case_id=f"case-{number}", client_id=f"client-{number}", **given)


async def ledger(client: httpx.AsyncClient, **query: str) -> dict[str, Any]:
    answer = await client.get("/v1/ledger", params={"month": "2026-03", **query})
    found: dict[str, Any] = answer.json()
    return found


async def as_classified(client: httpx.AsyncClient) -> dict[str, Any]:
    """The ledger, once the snapshot is taken."""
    async with asyncio.timeout(20):
        while not (found := await ledger(client))["snapshot"]:  # noqa: ASYNC110 - another task's work
            await asyncio.sleep(0.05)
    return found


def listed(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["case_id"], one["class"]) for one in found["items"]]


@pytest.mark.clause("F15", "F16")
async def test_f15_a_month_is_classified_by_the_facts_of_its_end_and_stays_so(stack: Start) -> None:
    story = [
        opened(1), opened(2, counsellor_id="counsellor-2", enterprise_id="enterprise-1"),
        opened(3, counsellor_id="counsellor-2"), opened(4, opened_at="2026-04-01 09:00"),
    ]  # fmt: skip
    late = case_closed(
        case_id="case-1", client_id="client-1", closed_at="2026-03-30 17:00"
    )  # known on the 3rd
    after = attention_changed(case_id="case-2", client_id="client-2", at="2026-04-02 10:00")
    async with (
        stack("intake", start="2026-04-03 09:00") as system,
        system.client("intake", "operations") as client,
    ):
        await system.publish(*story, after)
        live = await ledger(client)
        await system.publish(late, due("2026-03", "2026-04-03 09:00"))
        taken = await as_classified(client)
        await system.publish(attention_changed(case_id="case-3", client_id="client-3", at="2026-03-20 10:00"))
        filtered = [
            listed(await ledger(client, **query))
            for query in (
                {"counsellor": "counsellor-2"},
                {"enterprise": "enterprise-1"},
                {"class": "closed"},
                {"class": "key-attention"},
                {"counsellor": "counsellor-2", "limit": "1"},
                {"counsellor": "counsellor-2", "after": "case-2"},
            )
        ]
        await system.publish(client_erased(client_id="client-1", requested_at="2026-04-03 09:00"))
        without = await ledger(client)
        wrong = await client.get("/v1/ledger", params={"month": "2026-03", "class": "furious"})

    assert (live["snapshot"], listed(live)) == (False, [])  # in March nobody had told us of them
    assert (taken["snapshot"], taken["as_of"]) == (True, "2026-04-01T00:00:00+08:00")
    assert listed(taken) == [("case-1", "closed"), ("case-2", "new"), ("case-3", "new")]
    assert filtered == [
        [("case-2", "new"), ("case-3", "new")],
        [("case-2", "new")],
        [("case-1", "closed")],
        [],
        [("case-2", "new")],
        [("case-3", "new")],
    ]
    assert listed(without) == [("case-2", "new"), ("case-3", "new")]
    assert wrong.status_code == 422
    assert "furious" not in wrong.text


async def test_a_case_stays_in_the_live_ledger_of_its_month_when_it_is_classified_anew_later(
    stack: Start,
) -> None:
    async with stack("intake", start="2026-03-20 09:00") as system:
        await system.publish(opened(1))
        await system.until(at("2026-04-02 09:00"))
        await system.publish(attention_changed(case_id="case-1", client_id="client-1", at="2026-04-02 09:00"))
        async with system.client("intake", "manager") as client:
            live = await ledger(client)

    assert (live["snapshot"], live["as_of"]) == (False, "2026-04-02T09:00:00+08:00")
    assert listed(live) == [("case-1", "key-attention")]


async def test_the_live_ledger_is_filtered_as_well(stack: Start) -> None:
    async with stack("intake", start="2026-03-20 09:00") as system:
        await system.publish(opened(1), opened(2, counsellor_id="counsellor-2", enterprise_id="enterprise-1"))
        await system.publish(
            case_closed(case_id="case-1", client_id="client-1", closed_at="2026-03-19 17:00")
        )
        async with system.client("intake", "manager") as client:
            found = [
                listed(await ledger(client, **query))
                for query in ({"class": "closed"}, {"class": "new"}, {"counsellor": "counsellor-2"},
                              {"enterprise": "enterprise-2"})
            ]  # fmt: skip

    assert found == [[("case-1", "closed")], [("case-2", "new")], [("case-2", "new")], []]


def taker(system: System, batch: int) -> SnapshotTaker:
    runtime = system.runtime("intake")
    return SnapshotTaker(Store(runtime.db), runtime.journal, POLICIES, system.progress, batch)


async def test_a_snapshot_goes_on_where_it_was_left_and_two_replicas_take_each_case_once(
    stack: Start,
) -> None:
    async with stack("intake", start="2026-04-03 09:00") as system:
        await system.publish(*(opened(number) for number in range(1, 8)))
        store = Store(system.db("intake"))
        await store.snapshots.insert_one(snapshots.wanted("2026-03").to_mongo())

        assert await taker(system, batch=2).step()  # and then the process ends
        left = await store.snapshots.find_one({"_id": "2026-03"})
        first, second = taker(system, batch=2), taker(system, batch=2)
        await asyncio.gather(first.step(), second.step())
        between = await store.snapshot("2026-03")
        while await first.step():
            pass
        lines = await store.lines_of("2026-03", Those(), None, 100)
        done = await store.snapshot("2026-03")

    assert left
    assert left["after"] == "case-2"
    assert between is None  # until every case is in it, it is not shown
    assert done
    assert [line.case_id for line in lines] == [f"case-{number}" for number in range(1, 8)]


class SlowStore(Store):
    """Goes on with the cases that it has read only once it may."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self.has_read = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def cases_after(self, after: str, limit: int, session: Session) -> list[Case]:
        found = await super().cases_after(after, limit, session)
        self.has_read.set()
        await self.may_go_on.wait()
        return found


async def test_who_is_erased_while_a_month_is_classified_is_not_in_it(stack: Start) -> None:
    async with stack("intake", start="2026-04-03 09:00") as system:
        await system.publish(opened(1), opened(2))
        runtime = system.runtime("intake")
        store = SlowStore(runtime.db)
        await store.snapshots.insert_one(snapshots.wanted("2026-03").to_mongo())
        progress = Progress()  # the system need not wait for this one to be settled
        journal = Journal("intake", runtime.db, runtime.publisher, progress)
        slow = asyncio.create_task(SnapshotTaker(store, journal, POLICIES, progress).step())
        await store.has_read.wait()

        await system.publish(client_erased(client_id="client-1", requested_at="2026-04-03 09:00"))
        store.may_go_on.set()
        await slow
        await journal.close()
        lines = await store.lines_of("2026-03", Those(), None, 100)

    assert [line.case_id for line in lines] == ["case-2"]
