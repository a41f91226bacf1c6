"""More than can be settled now: it waits on the bus and not in memory, and nobody in danger waits behind it."""

from __future__ import annotations

import asyncio
import base64
import math
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count, islice
from pathlib import Path

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from aftercare import loopback
from aftercare.fake_wecom import PATH, UNLIMITED, FakeWeCom
from benchmarks.load import EVENTS_PER_CASE, closed_cases
from shared.clock import SystemClock
from shared.messaging.bus import Outgoing
from shared.web.auth import issue_token
from tests.builders import crisis_flagged
from tests.engines.kafka import KafkaCluster
from tests.engines.mongo import ReplicaSet
from tests.engines.process import memory_mib
from tests.engines.proxy import Proxy
from tests.failure.conftest import Begin, Networked, Told
from tests.failure.proof import prove
from tests.failure.run import EVERYBODY, STANDSTILL_SECONDS, TELL_SECONDS, Cluster, Keeper, Run

SLOW_SECONDS = 45.0
SLOW_FROM, SLOW_UNTIL = 0.1, 0.7
"""Between which parts of the input the database is slow, if not for `SLOW_SECONDS` before."""
SLOW_MIB = 64
"""What a process may take beyond what it had when the database became slow: as much as without that."""

FLAT_MIB = 16
"""What a process may take more at most in the last third of a backlog than in the second: nothing piles up. In the
first third the scheduler may still wait for its share of the machine."""
WHOLE_MIB = 96
"""What it may take more at any time than when it began: batches and what was fetched ahead, never the backlog. Of a
million events the scheduler took 66 more, all of them in the first third of the time."""
PORTION = 500
FLAG_EVERY_SECONDS = 0.5
PAGE_SECONDS = {"bus": 1.0, "crisis": 1.0, "intake": 2.0}
"""How late 99 of 100 pages may be at most, from publishing to the provider. On the bus and at crisis: what it costs
where flags share a subscriber with bulk work (design, facts about the libraries); without load it is 12 ms. At intake:
how long a flag may wait for the bus before it goes over HTTP (`crisis_patience_seconds`)."""
WAYS = tuple(PAGE_SECONDS)
"""How a flag comes in: on `crisis-flagged`, by `POST` at crisis, by `POST` at intake, which stores and publishes it."""


@dataclass
class Memory:
    """The resident memory of processes, in MiB, every second."""

    keeper: Keeper
    samples: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    async def sample(self) -> None:
        while True:
            for called, process in self.keeper.replicas.items():
                mib = memory_mib(process.pid, "VmRSS")
                assert mib, f"{called} has ended"
                self.samples[called].append(mib)
            await asyncio.sleep(1)


async def test_a_slow_database_slows_and_fills_nothing(
    begin: Begin, told: Told, networked: Networked
) -> None:
    """All input lies on the bus while each piece to and from the database takes 50 ms longer, for up to 45 s.

    From the moment at which it is slow until all is settled, intake and scheduler grow by less than 64 MiB each.
    """
    async with begin(on=networked.cluster) as run:
        memory = Memory(run.keeper)
        async with asyncio.TaskGroup() as tasks:
            slow = tasks.create_task(_slow(run, networked.mongo, memory))
            await run.play(told.events, ahead=1.0)
            sampling = await slow
            sampling.cancel()
        grown = {called: max(taken) - taken[0] for called, taken in memory.samples.items()}
        run.say("MiB grown: " + ", ".join(f"{called} {mib:.1f}" for called, mib in grown.items()))
        assert max(grown.values()) < SLOW_MIB
        await prove(run, told.ends)


async def _slow(run: Run, proxies: Iterable[Proxy], memory: Memory) -> asyncio.Task[None]:
    """Slow the database, and make it fast again; memory is sampled from then on until the task is cancelled."""
    while run.progress() < SLOW_FROM:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    for proxy in proxies:
        await proxy.slow()
    sampling = asyncio.create_task(memory.sample())
    run.say("the database is slow")
    began = time.monotonic()
    while run.progress() < SLOW_UNTIL and time.monotonic() < began + SLOW_SECONDS:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    left = await run.behind()
    for proxy in proxies:
        await proxy.open()
    run.say("the database is fast again; on the bus: " + ", ".join(f"{one} {n}" for one, n in left.items()))
    assert any(left.values()), "nothing waited on the bus"
    return sampling


# --- a backlog -------------------------------------------------------------------------------------------------


@pytest.fixture
def roomy(folder: Path, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A cluster of `--engines` brokers and members, with the memory that a large database needs; no small disk."""
    mine = folder / "roomy"
    engines = request.config.getoption("--engines")
    kafka, mongo = KafkaCluster(mine / "kafka", engines), ReplicaSet(mine / "mongo", engines, cache_gb=3)
    cluster = Cluster(kafka, mongo, mine)
    with ExitStack() as stack:
        stack.callback(cluster.stop)
        cluster.kafka.start()
        cluster.mongo.start()
        yield cluster


class Bot:
    """The fake bot, and when it first took a page about each client; keeps no pages."""

    def __init__(self) -> None:
        self.links: dict[str, asyncio.Future[tuple[float, str]]] = {}
        """By client: when the first page came, by the monotonic clock, and its link. Who waits puts it there."""
        self._wecom = FakeWeCom(per_minute=UNLIMITED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._wecom(scope, receive, send)
        for page in self._wecom.pages:
            found = re.search(r"flagged-\d+", page.text)
            waiting = self.links.get(found[0]) if found else None
            if waiting and not waiting.done():
                waiting.set_result((time.monotonic(), page.link))
        self._wecom.pages.clear()


class Company:
    """Flags one client after the other, each way in turn, and ends each incident once it was paged."""

    def __init__(self, run: Run, bot: Bot) -> None:
        self.delays: dict[str, list[float]] = {way: [] for way in WAYS}
        """Seconds from publishing to the page, for each way."""
        self._run = run
        self._bot = bot
        roles = ["publisher", "supervisor"]
        token = issue_token(run.settings["token_secret"], "staff-1", roles, timedelta(days=1))
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/cloudevents+json"}

    async def warm_up(self) -> None:
        """One each way, of which no time is taken: crisis reads flags once it reads anything."""
        async with httpx.AsyncClient(headers=self._headers, timeout=60) as http:
            for n, way in enumerate(WAYS):
                await self._flag(http, n, way)
                self.delays[way].clear()

    async def flag(self) -> None:
        """Until cancelled: one every half second, whether or not the last one was paged."""
        async with httpx.AsyncClient(headers=self._headers, timeout=60) as http, asyncio.TaskGroup() as tasks:
            for n in count(len(WAYS)):
                tasks.create_task(self._flag(http, n, WAYS[n % len(WAYS)]))
                await asyncio.sleep(FLAG_EVERY_SECONDS)

    async def _flag(self, http: httpx.AsyncClient, n: int, way: str) -> None:
        client = f"flagged-{n}"
        page = self._bot.links[client] = asyncio.get_running_loop().create_future()
        event = crisis_flagged(client_id=client, flagged_at=SystemClock().now())
        began = time.monotonic()
        if way == "bus":
            await self._run.publisher.publish([Outgoing.of(event)])
        else:
            path = "/v1/crises" if way == "crisis" else "/v1/events"
            answer = await http.post(f"{self._run.keeper.address(way)}{path}", json=event.structured())
            assert answer.status_code == 202, answer.text
        async with asyncio.timeout(60):
            came, link = await page
        self.delays[way].append(came - began)
        del self._bot.links[client]
        said = link.rpartition("/")[2].partition(".")[0]
        incident = base64.urlsafe_b64decode(said + "=" * (-len(said) % 4)).decode().split()[0]
        done = await http.post(f"{self._run.keeper.address('crisis')}/v1/incidents/{incident}/resolve")
        assert done.is_success, done.text


@pytest.mark.timeout(0)  # as long as the backlog is; what stands still fails by itself
async def test_a_backlog_is_worked_off(begin: Begin, roomy: Cluster, request: pytest.FixtureRequest) -> None:
    """`--backlog` events lie on the bus before any service starts; then all five do, and people are flagged.

    No process takes 16 MiB more in the last third of the time than it did in the second, nor 96 MiB more at any time
    than when it began. Of the pages for flags on the bus and at crisis 99 of 100 are with the provider within a
    second, of those for flags at intake within two.
    """
    cases = request.config.getoption("--backlog") // EVENTS_PER_CASE
    bot = Bot()
    async with loopback.serve(bot) as base, begin(EVERYBODY, roomy, started=False, batch_records=500) as run:
        backlog = closed_cases(cases, SystemClock().now())
        while portion := list(islice(backlog, PORTION)):
            await run.publisher.publish(portion)
        run.say(f"{cases * EVENTS_PER_CASE} events lie on the bus")
        for name in ("crisis", "intake", "scheduler", "survey", "reporting"):
            own = {"AFTERCARE_WECOM_WEBHOOKS": f"{base}{PATH}?key=duty", "AFTERCARE_PAGE_BUDGETS": "false"}
            if name == "intake":
                own["AFTERCARE_CRISIS_URL"] = run.keeper.address("crisis")
            run.keeper.add(name, environment=own)
        memory, company = Memory(run.keeper), Company(run, bot)
        await run.keeper.ready(EVERYBODY)
        await company.warm_up()
        tasks = [asyncio.create_task(memory.sample()), asyncio.create_task(company.flag())]
        try:
            await _worked_off(run, tasks)
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
        await run.settle()
        _tell(run, memory, company)
        assert run.keeper.restarts == 0
        await _all_is_settled(run, cases)
        _memory_is_flat(memory)
        _pages_were_in_time(company)


async def _worked_off(run: Run, tasks: Iterable[asyncio.Task[None]]) -> None:
    """Wait until everybody has read the backlog and what came of it, but for a remainder: flags still come in."""
    seen = math.inf
    since = told = time.monotonic()
    while True:
        left = await run.behind()
        for task in tasks:
            if task.done():
                task.result()
        most = sum(left.values())
        if most < PORTION:
            return
        if abs(most - seen) > PORTION:
            seen, since = most, time.monotonic()
        if time.monotonic() > told + TELL_SECONDS:
            told = time.monotonic()
            run.say("behind: " + ", ".join(f"{group} {n}" for group, n in left.items()))
        assert time.monotonic() - since < STANDSTILL_SECONDS, left
        await asyncio.sleep(2)


def _tell(run: Run, memory: Memory, company: Company) -> None:
    for called, taken in memory.samples.items():
        third = len(taken) // 3
        parts = [max(taken[n * third : (n + 1) * third]) for n in range(3)]
        run.say(
            f"{called}: MiB at first {taken[0]:.0f}, at most in each third of the time "
            + ", ".join(f"{mib:.1f}" for mib in parts)
        )
    for way, delays in company.delays.items():
        run.say(
            f"flags by {way}: {len(delays)}, p50 {_share(delays, 0.5) * 1000:.0f} ms, "
            f"p99 {_share(delays, 0.99) * 1000:.0f} ms, at most {max(delays) * 1000:.0f} ms"
        )


def _share(delays: list[float], share: float) -> float:
    return sorted(delays)[math.ceil(share * len(delays)) - 1]


def _memory_is_flat(memory: Memory) -> None:
    for called, taken in memory.samples.items():
        third = len(taken) // 3
        assert max(taken[-third:]) < max(taken[third:-third]) + FLAT_MIB, called
        assert max(taken) < taken[0] + WHOLE_MIB, called


def _pages_were_in_time(company: Company) -> None:
    for way, delays in company.delays.items():
        assert _share(delays, 0.99) < PAGE_SECONDS[way], way


async def _all_is_settled(run: Run, cases: int) -> None:
    """By counts: each event by whoever reads it, none refused, and all know of the same follow-ups."""
    for name, db in run.databases.items():
        assert await db.get_collection("dead_letters").count_documents({}) == 0, name
        if name in ("intake", "reporting"):
            mine = {"_id": {"$regex": "^in /company/benchmark "}}
            assert await db.get_collection("journal").count_documents(mine) == cases * EVENTS_PER_CASE, name
    cased = run.databases["intake"].get_collection("cases")
    assert await cased.count_documents({}) == cases
    agenda = run.databases["scheduler"].get_collection("agenda")
    follow_ups = await agenda.count_documents({"kind": "follow-up"})
    assert follow_ups >= cases
    for name in ("survey", "reporting"):
        known = run.databases[name].get_collection("follow_ups")
        assert await known.count_documents({}) == follow_ups, name
