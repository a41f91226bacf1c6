"""Escalations that do not page: one message for each role within working hours; nothing is lost, little doubled."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from aftercare.fake_wecom import FakeWeCom
from services.crisis.main import build
from services.crisis.settings import CrisisSettings
from services.crisis.store import Store
from shared.contracts.envelope import Event
from tests.builders import at
from tests.conftest import Start
from tests.integration.crisis.conftest import START
from tests.integration.crisis.test_reactions import escalation
from tests.system import System


def missed(count: int, name: str = "one", **given: Any) -> list[Event]:
    return [escalation("notify", id=f"{name}-{number}", **given) for number in range(count)]


async def test_a_friday_evening_is_told_on_monday_morning(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any]
) -> None:
    async with stack("crisis", start="2026-04-10 20:15", crisis=paging) as system:
        await system.publish(*missed(2))
        await system.until(at("2026-04-13 08:59"))
        assert bot.pages == []
        await system.publish(*missed(3, "two"))
        await system.until(at("2026-04-13 09:00"))
    assert [page.text.splitlines()[0].count("5") > 0 for page in bot.pages] == [True]


async def test_a_bad_morning_of_5000_is_one_message_with_counts_by_rule(
    system: System, bot: FakeWeCom
) -> None:
    for portion in range(10):
        await system.publish(*missed(400, f"f62-{portion}"))
        await system.publish(*missed(100, f"f63-{portion}", rule="complaint-3wd", clause="F63"))
    await system.until(at("2026-04-01 18:00"))
    assert len(bot.pages) == 1
    text = bot.pages[0].text
    assert ("5000" in text, "match-2wd (F62) × 4000" in text, "complaint-3wd (F63) × 1000" in text) == (
        True, True, True,
    )  # fmt: skip


async def test_each_role_has_its_own(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any], tmp_path: Path
) -> None:
    url = paging["wecom_webhooks"]
    people = [
        {"id": role, "roles": [role], "channels": [{"kind": "wecom", "url": f"{url}-{role}"}]}
        for role in ("department-manager", "psychology")
    ]
    roster = tmp_path / "roster.yaml"
    roster.write_text(json.dumps({"people": people}))
    async with stack("crisis", start=START, crisis={**paging, "roster_file": roster}) as system:
        await system.publish(*missed(2), *missed(3, "two", role="psychology"))
        await system.until(at("2026-04-01 12:00"))
    assert sorted(page.key for page in bot.pages) == ["one-department-manager", "one-psychology"]


async def test_a_provider_that_fails_is_tried_again_and_what_came_meanwhile_goes_along(
    system: System, bot: FakeWeCom
) -> None:
    bot.mood = "busy"
    await system.publish(*missed(2))
    await system.until(at("2026-04-01 11:05"))
    assert (bot.attempts > 0, bot.pages) == (True, [])
    await system.publish(*missed(1, "later"))
    bot.mood = "well"
    await system.until(at("2026-04-01 17:00"))
    assert ["× 3" in page.text for page in bot.pages] == [True]


async def test_a_crash_after_the_provider_took_it_repeats_it_once_and_loses_nothing(
    stack: Start, bot: FakeWeCom, paging: dict[str, Any]
) -> None:
    async with stack("crisis", start=START, crisis=paging) as system:
        await system.publish(*missed(2))
        bot.mood = "accepts-silently"  # ended before the answer comes
        system.clock.advance(at("2026-04-01 11:00"))
        await bot.wait_for(1)
    bot.mood = "well"
    async with stack("crisis", start="2026-04-01 11:00", crisis=paging) as system:
        await system.until(at("2026-04-01 17:00"))
    assert [page.text for page in bot.pages] == [bot.pages[0].text] * 2


async def test_what_was_told_is_not_told_again_because_the_database_was_away_after_it(
    system: System, bot: FakeWeCom, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, failures = Store.told, iter([True, True])

    async def away_twice(self: Store, *given: Any) -> None:
        if next(failures, False):
            raise AutoReconnect("away")
        await told(self, *given)

    monkeypatch.setattr(Store, "told", away_twice)
    await system.publish(*missed(2))
    await system.until(at("2026-04-01 11:00"))
    await bot.wait_for(1)
    async with asyncio.timeout(20):
        while next(failures, False):  # noqa: ASYNC110 - until both have happened
            await asyncio.sleep(0.05)
    await system.until(at("2026-04-01 17:00"))
    assert len(bot.pages) == 1


async def test_two_replicas_tell_once(
    system: System, settings: dict[str, Any], bot: FakeWeCom, paging: dict[str, Any]
) -> None:
    other = build(CrisisSettings(**settings, **paging), system.clock, system.progress)
    async with other.router.lifespan_context(other):
        await asyncio.wait_for(other.state.runtime.connected.wait(), 30)
        await system.publish(*missed(3))
        for hour in (11, 12, 13):
            await system.until(at(f"2026-04-01 {hour}:01"))
        await system.publish(*missed(3, "two"))
        await system.until(at("2026-04-01 17:00"))
    assert ["× 3" in page.text for page in bot.pages] == [True, True]
