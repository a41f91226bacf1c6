"""The notice for a year comes out: what was provisional moves, once, however many replicas start."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

from aftercare.doctor import check_provisional
from services.scheduler.domain.planning import Regime
from services.scheduler.provisional import Provisional
from services.scheduler.store import Store
from shared.contracts.envelope import Event
from shared.mongo.journal import Journal
from shared.policy.versions import load
from shared.policy.workdays import load_calendar
from tests.builders import at, case_closed
from tests.conftest import Start
from tests.system import System

CASES = 12


def notice(folder: Path) -> Path:
    """2027 becomes known, and Monday 4 January 2027 is off."""
    file = folder / "workdays.yaml"
    file.write_text(
        "notices:\n- reference: a notice\n  year: 2027\n  days_off: [2027-01-04]\n- reference: the next\n  year: 2028\n"
    )
    return file


def closings() -> list[Event]:
    """Closed on 20 December 2026: 15 days later is 4 January 2027, and 3 months later 22 March (a Monday)."""
    return [
        case_closed(case_id=f"case-{n}", client_id=f"client-{n}", closed_at="2026-12-20 10:00")
        for n in range(CASES)
    ]


async def agenda(system: System, rule: str) -> set[tuple[datetime, bool]]:
    found = system.db("scheduler").get_collection("agenda").find({"kind": "follow-up", "rule": rule})
    return {(item["scheduled_for"], item["provisional"]) async for item in found}


async def moved(system: System) -> list[Any]:
    told = [event.data for event in await system.events("follow-up-planned")]
    return [data for data in told if data.change == "moved"]  # type: ignore[attr-defined]


async def test_a_restart_with_the_notice_moves_what_was_provisional(stack: Start, tmp_path: Path) -> None:
    async with stack("intake", "scheduler", start="2026-12-20 18:00") as system:
        await system.publish(*closings())
        assert await agenda(system, "closed-15d") == {(at("2027-01-04"), True)}
        runtime = system.runtime("scheduler")
        before = await check_provisional(runtime.client, system.settings)

    async with stack(
        "intake", "scheduler", start="2026-12-21 09:00", scheduler={"workdays_file": notice(tmp_path)}
    ) as system:
        await system.settled()
        assert await agenda(system, "closed-15d") == {(at("2027-01-05"), False)}
        assert await agenda(system, "closed-3m") == {(at("2027-03-22"), False)}
        after = await check_provisional(system.runtime("scheduler").client, system.settings)
        await system.until(at("2027-01-03 12:00"))
        told = await moved(system)
        due = [event.data.scheduled_for for event in await system.events("follow-up-due")]  # type: ignore[attr-defined]

    assert Counter((data.rule, data.reason, data.scheduled_for, data.provisional) for data in told) == {
        ("closed-15d", "calendar-known", at("2027-01-05"), False): CASES,
        ("closed-3m", "calendar-known", at("2027-03-22"), False): CASES,
    }
    assert due == [at("2027-01-05")] * CASES
    (in_2027,) = before
    assert in_2027.what.endswith(
        "dates in 2027 are provisional: they need working days that are not announced"
    )
    assert int(in_2027.what.split()[0]) > 2 * CASES  # the regime's own dates are among them
    assert "workdays.yaml" in in_2027.advice
    assert [finding.what for finding in after] == ["no planned date is provisional"]


async def test_replicas_that_start_together_move_each_thing_once(stack: Start, tmp_path: Path) -> None:
    async with stack("intake", "scheduler", start="2026-12-20 18:00") as system:
        await system.publish(*closings())
        runtime = system.runtime("scheduler")
        regime = Regime(load(), load_calendar(notice(tmp_path)))
        woken: list[None] = []
        journals = [Journal("scheduler", runtime.db, runtime.publisher, system.progress) for _ in range(4)]
        replicas = [
            Provisional(
                Store(runtime.db),
                journal,
                regime,
                system.clock,
                system.progress,
                lambda: woken.append(None),
                5,
            )
            for journal in journals
        ]
        provisional = await Store(runtime.db).agenda.count_documents({"provisional": True})

        counts = await asyncio.gather(*(replica.recompute() for replica in replicas))
        await system.settled()
        told = await moved(system)
        await asyncio.gather(*(journal.close() for journal in journals))

        assert await agenda(system, "closed-15d") == {(at("2027-01-05"), False)}
    assert sum(counts) == provisional
    assert woken
    assert set(Counter(data.follow_up_id for data in told).values()) == {1}
    assert len(told) == 2 * CASES
