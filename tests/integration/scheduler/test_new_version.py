"""A version of the policy begins while the scheduler runs, or while it is away."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from services.scheduler.domain.agenda import Applied
from services.scheduler.domain.planning import Regime
from services.scheduler.new_version import NewVersion
from services.scheduler.store import Store
from shared.contracts.envelope import Event
from shared.mongo.journal import Journal
from shared.policy.versions import load_versions
from tests.builders import at, case_closed
from tests.conftest import Start
from tests.system import System
from tests.versions import two_versions

CASES = 12
BEGINS = "2026-07-01"


def closings() -> list[Event]:
    """Closed on 22 June 2026: 15 days later is 7 July, 20 days 13 July (a Monday)."""
    return [
        case_closed(case_id=f"case-{n}", client_id=f"client-{n}", closed_at="2026-06-22 10:00")
        for n in range(CASES)
    ]


async def told(system: System, reason: str = "policy-changed") -> list[Any]:
    found: list[Any] = [event.data for event in await system.events("follow-up-planned")]
    return [data for data in found if data.reason == reason]


MOVED = {
    ("closed-15d", "moved", at("2026-07-13")): CASES,
    ("closed-3m", "cancelled", at("2026-09-22")): CASES,
}


def counted(planned: list[Any]) -> Counter[tuple[str, str, Any]]:
    return Counter((data.rule, data.change, data.scheduled_for) for data in planned)


async def test_it_begins_at_midnight_and_is_told(stack: Start, tmp_path: Path) -> None:
    own = {"policy_file": two_versions(tmp_path, BEGINS)}
    async with stack("intake", "scheduler", start="2026-06-22 18:00", scheduler=own, intake=own) as system:
        await system.publish(*closings())
        await system.until(at("2026-07-01 00:00"))
        assert counted(await told(system)) == MOVED
        await system.until(at("2026-07-13 12:00"))
        due: list[Any] = [event.data for event in await system.events("follow-up-due")]
        reports: list[Any] = [
            event.data
            for event in await system.events("calendar-due")
            if event.data.rule == "report-5th"  # type: ignore[attr-defined]
        ]
        assert counted(await told(system)) == MOVED
    assert Counter((one.rule, one.scheduled_for) for one in due) == {("closed-15d", at("2026-07-13")): CASES}
    assert [one.due_at for one in reports] == [at("2026-07-10")]


async def test_it_began_while_nobody_was_there(stack: Start, tmp_path: Path) -> None:
    own = {"policy_file": two_versions(tmp_path, BEGINS)}
    async with stack("intake", "scheduler", start="2026-06-22 18:00", scheduler=own, intake=own) as system:
        await system.publish(*closings())
    # The work would have begun on 5 July: none of it does, since the version is applied first.
    async with stack("intake", "scheduler", start="2026-07-06 18:00", scheduler=own, intake=own) as system:
        await system.settled()
        assert counted(await told(system)) == MOVED
        assert not await system.events("follow-up-due")


async def test_replicas_apply_it_together_and_once(stack: Start, tmp_path: Path) -> None:
    async with stack("intake", "scheduler", start="2026-06-22 18:00") as system:
        await system.publish(*closings())
        await system.until(at("2026-07-01 09:00"))
        runtime = system.runtime("scheduler")
        regime = Regime.of(load_versions(two_versions(tmp_path, BEGINS)))
        store = Store(runtime.db)
        journals = [Journal("scheduler", runtime.db, runtime.publisher, system.progress) for _ in range(4)]
        replicas = [
            NewVersion(store, journal, regime, system.clock, system.progress, batch=5) for journal in journals
        ]

        assert await asyncio.gather(*(replica.apply() for replica in replicas)) == [True] * 4
        await system.settled()
        planned = await told(system)
        stored = await runtime.db.get_collection(Applied.collection).find_one({"_id": "2026-2"})
        assert not await replicas[0].apply()
        await asyncio.gather(*(journal.close() for journal in journals))

    assert counted(planned) == MOVED
    assert stored is not None
    assert stored["part"] == "done"


async def test_it_goes_on_where_it_was(stack: Start, tmp_path: Path) -> None:
    async with stack("intake", "scheduler", start="2026-06-22 18:00") as system:
        await system.publish(*closings())
        await system.until(at("2026-07-01 09:00"))
        runtime = system.runtime("scheduler")
        regime = Regime.of(load_versions(two_versions(tmp_path, BEGINS)))
        killed, again = (
            NewVersion(Store(runtime.db), runtime.journal, regime, system.clock, system.progress, batch=5)
            for _ in range(2)
        )
        assert await killed._step("2026-2")
        await system.settled()
        some = len(await told(system))
        await again.apply()
        await system.settled()
        planned = await told(system)

    assert some == 10  # of five cases
    assert counted(planned) == MOVED
