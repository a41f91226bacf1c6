"""Two and four replicas of each service: they share the work, and come and go under load without a trace of it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from aftercare.fake_wecom import UNLIMITED, FakeWeCom
from services.scheduler.domain.agenda import SLOTS
from shared.clock import SystemClock
from shared.messaging.bus import Outgoing
from tests.builders import crisis_flagged
from tests.failure.conftest import Begin, Told
from tests.failure.proof import prove, prove_readers, unique
from tests.failure.run import EVERYBODY, Act, Run

FLAGS = 60
TIMED = ("follow-up-due", "reminder-due", "escalation-required")
"""What only timers say."""


def called(name: str, replica: int) -> str:
    return f"{name}-{replica}" if replica else name


async def counted(run: Run, replica: str, metric: str, **labels: str) -> float:
    """The sum of a metric of one process, over all labels that are not named."""
    async with httpx.AsyncClient(timeout=30) as http:
        text = (await http.get(f"{run.keeper.address(replica)}/metrics")).raise_for_status().text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == metric and labels.items() <= sample.labels.items()
    )


async def shares(run: Run, replicas: Iterable[str], metric: str, **labels: str) -> dict[str, float]:
    return {replica: await counted(run, replica, metric, **labels) for replica in replicas}


async def leased(run: Run, replicas: int) -> None:
    """Wait until so many schedulers have the same number of timer slots each."""
    leases = run.databases["scheduler"].get_collection("leases")
    async with asyncio.timeout(60):
        while True:
            now = SystemClock().now()
            held = Counter([lease["owner"] async for lease in leases.find({"until": {"$gt": now}})])
            if sorted(held.values()) == [SLOTS // replicas] * replicas:
                return
            await asyncio.sleep(0.3)


@pytest.mark.parametrize("count", [2, 4])
async def test_replicas_share_the_work(begin: Begin, told: Told, count: int) -> None:
    """Each replica does at least a third of its fair share, of events, of timers and of flags; nothing twice."""
    bot = FakeWeCom(per_minute=UNLIMITED)
    async with bot.serve() as address, begin(EVERYBODY, started=False) as run:
        told_of = {"AFTERCARE_WECOM_WEBHOOKS": f"{address}?key=duty", "AFTERCARE_PAGE_BUDGETS": "false"}
        replicas = {name: [run.keeper.add(name, n, told_of).name for n in range(count)] for name in EVERYBODY}
        await run.keeper.ready([one for those in replicas.values() for one in those])
        await leased(run, count)
        await run.play(told.events)
        await prove(run, told.ends)
        await prove_readers(run)
        for name, those in replicas.items():
            done = await shares(run, those, "aftercare_events_handled_total", service=name)
            shared(run, done)
            marks = run.databases[name].get_collection("journal")
            assert sum(done.values()) == await marks.count_documents({"_id": {"$regex": "^in "}})
        done = await shares(run, replicas["scheduler"], "aftercare_timers_fired_total")
        shared(run, done, "timers")
        items = run.databases["scheduler"].get_collection("agenda").find({}, {"fired": 1})
        assert sum(done.values()) == sum([item["fired"] async for item in items])
        await _timers_fired_once(run)
        await _flags_are_shared(run, bot, replicas["crisis"])
        assert run.keeper.restarts == 0


def shared(run: Run, done: dict[str, float], what: str = "events") -> None:
    run.say(f"{what}: " + ", ".join(f"{replica} {number:.0f}" for replica, number in done.items()))
    assert min(done.values()) > sum(done.values()) / len(done) / 3, done


async def _timers_fired_once(run: Run) -> None:
    """Nobody crashed, so that what timers say lies on the bus once, and not only under one id."""
    bus = await run.bus()
    said = Counter(unique(record) for topic in TIMED for record in bus.get(topic, ()))
    assert said, "no timer was due"
    assert [key for key, times in said.items() if times > 1] == []


async def _flags_are_shared(run: Run, bot: FakeWeCom, replicas: list[str]) -> None:
    """Flags go round by client; each is paged by the one that read it, and by no other."""
    now = SystemClock().now()
    flags = [crisis_flagged(client_id=f"flagged-{n}.", flagged_at=now) for n in range(FLAGS)]
    bot.pages.clear()
    await run.publisher.publish([Outgoing.of(flag) for flag in flags])

    def paged() -> Counter[str]:
        return Counter(name for page in bot.pages for name in set(re.findall(r"flagged-\d+\.", page.text)))

    async with asyncio.timeout(30):
        while len(paged()) < FLAGS:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    done = await shares(run, replicas, "aftercare_events_handled_total", topic="crisis-flagged")
    shared(run, done, "flags")
    assert set(paged().values()) == {1}


def scaling_out(run: Run, replicas: Iterable[int]) -> Act:
    """So many more of every service, all at once."""

    async def act() -> str:
        added = [run.keeper.add(name, n).name for n in replicas for name in EVERYBODY]
        await run.keeper.ready(added)
        return f"joined: {', '.join(added)}"

    return act


def scaling_in(run: Run, replicas: Iterable[int]) -> Act:
    """SIGTERM to these of every service, all at once: each drains and ends well."""

    async def act() -> str:
        leaving = [called(name, n) for n in replicas for name in EVERYBODY]
        codes = await asyncio.gather(*(run.keeper.remove(one) for one in leaving))
        assert set(codes) == {0}, dict(zip(leaving, codes, strict=True))
        return f"left: {', '.join(leaving)}"

    return act


async def test_replicas_come_and_go_under_load(begin: Begin, told: Told) -> None:
    """One of each service, then two, four, two others, one that was not there at first."""
    async with begin(EVERYBODY) as run:
        acts = [
            scaling_out(run, [1]),
            scaling_out(run, [2, 3]),
            scaling_in(run, [0, 1]),
            scaling_out(run, [4]),
            scaling_in(run, [2, 3]),
        ]
        await run.play(told.events, list(zip(run.moments(len(acts)), acts, strict=True)))
        await prove(run, told.ends)
        await prove_readers(run)
        await _crisis_has_lost_nothing(run)


async def _crisis_has_lost_nothing(run: Run) -> None:
    journal = run.databases["crisis"].get_collection("journal")
    marks = {mark["_id"] async for mark in journal.find({}, {"_id": 1})}
    escalated = (await run.bus()).get("escalation-required", [])
    assert escalated, "no deadline was missed"
    assert [unique(record) for record in escalated if f"in {unique(record)}" not in marks] == []
