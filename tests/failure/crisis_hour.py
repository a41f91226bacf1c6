"""An hour of crises: two replicas of crisis and one of intake as processes, real engines, three providers.

Everything is done to them from outside: flags by every way, people who acknowledge, and faults at random moments of
a seed. Times are Unix seconds of the fast clock (`fast_service.py`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from starlette.types import Receive, Scope, Send

from aftercare import loopback
from aftercare.engines import Engines, free_port
from aftercare.fake_wecom import FakeWeCom, Mood
from aftercare.stack import settings_class
from services.crisis.domain import UNKNOWN
from shared.contracts.envelope import Event
from shared.messaging.bus import Outgoing, Publisher, create_topics
from shared.messaging.progress import Progress
from shared.web.auth import issue_token
from tests.builders import crisis_flagged
from tests.engines.kafka import KafkaCluster
from tests.engines.mongo import ReplicaSet
from tests.engines.process import Process
from tests.engines.proxy import Proxy
from tests.engines.services import production_settings, service

ROLES = {"duty": "on-call", "second": "on-call-second", "head": "head-of-psychology"}
"""The people who can be paged, each with one role."""

_CLIENT = re.compile(r"client-[\w-]+")

Way = Literal["bus", "crisis", "intake"]


@dataclass(frozen=True)
class Raised:
    """A flag that was taken."""

    client: str
    way: Way
    flagged: float
    taken: float
    """When bus, crisis or intake had said that they took it."""


@dataclass(frozen=True)
class Received:
    """A page that a provider took, by the provider's own count."""

    at: float
    incident: str
    client: str
    recipient: str
    provider: str
    path: str
    """Of the link to acknowledge."""


@dataclass(frozen=True)
class Outage:
    """A time in which no page could go out: nobody sent, or nobody took any."""

    what: str
    began: float
    ended: float


class Hook:
    """The last resort: a URL that takes the pages that no bot took."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.status = 204
        self.pages: list[Received] = []
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if self.status == 204:
            said = json.loads(body)["data"]
            path = "/a/" + said["acknowledge_url"].split("/a/")[1]
            self.pages.append(
                Received(
                    self._clock(), said["incident_id"], said["client_id"], said["recipient"], "hook", path
                )
            )
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


@dataclass
class Hour:
    """The hour under way."""

    choice: random.Random
    kafka: Proxy
    mongo: Proxy
    wire: Proxy
    """Before the first bot."""
    front: Proxy
    """Before crisis, for intake: leads to a replica that runs, as a Service of Kubernetes does."""
    first: FakeWeCom
    second: FakeWeCom
    hook: Hook
    settings: dict[str, Any]
    folder: Path
    publisher: Publisher
    since: float
    rate: float
    """So many seconds of the hour pass in one of ours."""
    services: dict[str, Process] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    flags: list[Raised] = field(default_factory=list)
    acknowledged: dict[str, float] = field(default_factory=dict)
    """By incident: when a person had pressed the button."""
    outages: list[Outage] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    providers: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One disturbs the providers at a time."""
    began: float = 0.0

    # --- time ---------------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.since + (time.time() - self.since) * self.rate

    def minute(self, at: float) -> float:
        return round((at - self.began) / 60, 1)

    async def passes(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.rate)

    def say(self, what: str) -> None:
        self.said.append(f"{self.minute(self.now()):5.1f} min  {what}")
        print(self.said[-1], flush=True)  # noqa: T201

    # --- services -----------------------------------------------------------------------------------------------

    def add(self, name: str, replica: int = 0) -> None:
        port = free_port()
        own = {
            "FAST_FROM": repr(self.since),
            "FAST_RATE": str(self.rate),
            "FAST_JUMP": str(self.jump),
        }
        process = service(
            name, self.settings, self.folder, port, replica, own, ("tests.failure.fast_service",)
        )
        self.services[process.name], self.ports[process.name] = process, port
        process.start()

    @property
    def jump(self) -> Path:
        return self.folder / "jump"

    @property
    def replicas(self) -> list[str]:
        return [name for name in self.services if name.startswith("crisis")]

    def url(self, called: str) -> str:
        return f"http://127.0.0.1:{self.ports[called]}"

    async def ready(self, *called: str) -> None:
        """Wait until these reach bus and database and have partitions."""
        async with asyncio.timeout(120), httpx.AsyncClient(timeout=5) as http:
            for name in called:
                while True:
                    with contextlib.suppress(httpx.HTTPError):
                        answer = await http.get(f"{self.url(name)}/readyz")
                        if all(answer.json()["dependencies"].values()):
                            break
                    assert self.services[name].running, self.services[name].last_words()
                    await asyncio.sleep(0.1)

    async def whole(self) -> None:
        """Wait until all is up and every replica has written down what it knows."""
        await self.ready(*self.services)
        async with asyncio.timeout(180), httpx.AsyncClient(timeout=5) as http:
            for name in self.replicas:
                while True:
                    with contextlib.suppress(httpx.HTTPError):
                        exported = (await http.get(f"{self.url(name)}/metrics")).text
                        if "\naftercare_incidents_unwritten 0.0" in exported:
                            break
                    await asyncio.sleep(0.2)

    async def kill(self, *called: str) -> None:
        for name in called:
            self.services[name].kill()
        running = [name for name in self.replicas if self.services[name].running]
        if running:
            self.front.target = self.ports[running[0]]

    async def start(self, *called: str) -> None:
        for name in called:
            self.services[name].start()
        await self.ready(*called)
        self.front.target = self.ports[called[0]]

    @asynccontextmanager
    async def outage(self, what: str) -> AsyncIterator[None]:
        """No page can go out meanwhile."""
        began = self.now()
        self.say(f"{what} ...")
        try:
            yield
        finally:
            self.outages.append(Outage(what, began, self.now()))
            self.say(f"... over: {what}")

    # --- people -------------------------------------------------------------------------------------------------

    def pages(self) -> list[Received]:
        """Every page that a provider took, oldest first."""
        found = list(self.hook.pages)
        for provider, bot in (("first", self.first), ("second", self.second)):
            for page in bot.pages:
                path = "/a/" + page.link.split("/a/")[1]
                said = path.removeprefix("/a/").split(".")[0]
                incident, recipient, _ = base64.urlsafe_b64decode(said + "==").decode().split(" ")
                client = _CLIENT.search(page.text)
                found.append(
                    Received(page.at, incident, client[0] if client else UNKNOWN, recipient, provider, path)
                )
        return sorted(found, key=lambda page: page.at)

    async def flag(self, way: Way, *, id: str | None = None) -> Raised:
        """Somebody flags a client of their own, and does not give up before it is taken."""
        client = id or f"client-{len(self.flags)}-{self.choice.randrange(10**6)}"
        flagged = self.now()
        level = self.choice.choice(["watch", "high", "imminent"])
        at = datetime.fromtimestamp(flagged, UTC)
        event = crisis_flagged(client_id=client, flagged_at=at, level=level, id=client)
        await {"bus": self._by_bus, "crisis": self._over_http, "intake": self._over_http}[way](event, way)
        raised = Raised(client, way, flagged, self.now())
        self.flags.append(raised)
        return raised

    async def flag_unreadably(self) -> Raised:
        """Half a flag on the bus: nobody can tell about whom it is."""
        flagged = self.now()
        await self._publish(Outgoing("crisis-flagged", b"", b'{"client_id": "cli', ()))
        raised = Raised(UNKNOWN, "bus", flagged, self.now())
        self.flags.append(raised)
        return raised

    async def _by_bus(self, event: Event, way: Way) -> None:
        await self._publish(Outgoing.of(event))

    async def _publish(self, record: Outgoing) -> None:
        while True:
            with contextlib.suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(15):
                    await self.publisher.publish([record])
                    return
            await self.publisher.stop()
            await asyncio.sleep(0.2)

    async def _over_http(self, event: Event, way: Way) -> None:
        path = "/v1/crises" if way == "crisis" else "/v1/events"
        await self._ask(
            self.replicas if way == "crisis" else ["intake"],
            lambda http: http.post(path, json=event.structured()),
            (202,),
        )

    async def _ask(
        self,
        called: Sequence[str],
        what: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]],
        well: tuple[int, ...],
    ) -> httpx.Response:
        token = issue_token(
            self.settings["token_secret"], "staff-1", ["supervisor", "publisher"], timedelta(days=1)
        )
        headers = {"Authorization": f"Bearer {token}"}
        for attempt in range(1000):
            name = called[attempt % len(called)]
            with contextlib.suppress(httpx.HTTPError):
                async with httpx.AsyncClient(base_url=self.url(name), headers=headers, timeout=4) as http:
                    answer = await what(http)
                    if answer.status_code in well:
                        return answer
            await asyncio.sleep(0.1)
        raise AssertionError("nobody answered for too long")

    async def acknowledge(self, incident: str) -> None:
        """A person taps the link in the newest page about it."""
        newest = [page for page in self.pages() if page.incident == incident][-1]
        await self._ask(self.replicas, lambda http: http.post(newest.path), (200,))
        self.acknowledged[incident] = self.now()

    async def intervene(self, incident: str) -> None:
        path = f"/v1/incidents/{incident}/intervene"
        await self._ask(self.replicas, lambda http: http.post(path), (200, 202))

    async def first_page(self, client: str) -> Received:
        """Wait for the first page about a client."""
        async with asyncio.timeout(120):
            while True:
                found = [page for page in self.pages() if page.client == client]
                if found:
                    return found[0]
                await asyncio.sleep(0.05)

    def moods(self, first: Mood, second: Mood = "well", hook: int = 204) -> None:
        self.first.mood, self.second.mood, self.hook.status = first, second, hook


@asynccontextmanager
async def running_hour(folder: Path, seed: int, rate: float) -> AsyncIterator[Hour]:
    """Engines, providers and services, all of them up; they are gone at the end."""
    choice = random.Random(f"crisis {seed}")
    kafka, mongo, wire, front = proxies = [Proxy() for _ in range(4)]
    brokers = KafkaCluster(folder / "kafka", 1, advertised=[kafka.port])
    members = ReplicaSet(folder / "mongo", 1, advertised=[mongo.port])
    kafka.target, mongo.target = brokers.ports[0], members.ports[0]
    since = time.time()

    def clock() -> float:
        return since + (time.time() - since) * rate

    first, second, hook = FakeWeCom(clock=clock), FakeWeCom(clock=clock), Hook(clock)
    hour: Hour | None = None
    async with contextlib.AsyncExitStack() as stack:
        addresses = [await stack.enter_async_context(bot.serve()) for bot in (first, second)]
        hook_at = await stack.enter_async_context(loopback.serve(hook))
        wire.target = httpx.URL(addresses[0]).port or 0
        for proxy in proxies:
            await proxy.start()
            stack.push_async_callback(proxy.stop)
        stack.callback(brokers.stop)
        stack.callback(members.stop)
        await asyncio.to_thread(brokers.start)
        await asyncio.to_thread(members.start)
        settings = _settings(Engines(brokers.bootstrap, members.url, idempotence=True), folder, rate)
        behind_wire = str(httpx.URL(addresses[0]).copy_with(port=wire.port))
        _write_roster(settings["roster_file"], [behind_wire, addresses[1]])
        settings["crisis_channels"] = json.dumps([{"kind": "webhook", "url": f"{hook_at}/hook"}])
        settings["crisis_url"] = f"http://127.0.0.1:{front.port}"
        shared = settings_class("intake")(**{k: v for k, v in settings.items() if k in _SHARED})
        await create_topics(shared)
        publisher = Publisher(shared, Progress())
        stack.push_async_callback(publisher.stop)
        hour = Hour(
            choice, kafka, mongo, wire, front, first, second, hook, settings, folder, publisher, since, rate
        )
        hour.jump.write_text("0")
        stack.callback(lambda: [process.kill() for process in hour.services.values()])
        hour.add("crisis")
        hour.add("crisis", 1)
        hour.add("intake")
        front.target = hour.ports["crisis"]
        await hour.ready("crisis", "crisis-1", "intake")
        hour.began = hour.now()
        yield hour


_SHARED = ("kafka_bootstrap_servers", "kafka_idempotence", "kafka_replication", "kafka_partitions", "mongo_url",
           "namespace", "token_secret", "master_key")  # fmt: skip


def _settings(engines: Engines, folder: Path, rate: float) -> dict[str, Any]:
    return production_settings(
        engines,
        "hour",
        kafka_partitions=2,
        roster_file=folder / "roster.yaml",
        page_budgets=False,  # of both bots, to which the pages of an hour go; what they refuse is among the faults
        public_url="http://crisis.example",
        page_timeout=5.0 / rate,
        crisis_patience_seconds=2.0 / rate,
    )


def _write_roster(path: Path, bots: Sequence[str]) -> None:
    people = [
        {
            "id": person,
            "roles": [role],
            "channels": [{"kind": "wecom", "url": f"{bot}?key={person}"} for bot in bots],
        }
        for person, role in ROLES.items()
    ]
    path.write_text(json.dumps({"people": people}))


async def records_of(hour: Hour, topic: str) -> list[Any]:
    """Every record that was on a topic."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=hour.settings["kafka_bootstrap_servers"], auto_offset_reset="earliest"
    )
    places = [TopicPartition(f"hour.{topic}", partition) for partition in range(2)]
    await consumer.start()
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        found: list[Any] = []
        async with asyncio.timeout(30):
            while len(found) < sum(ends.values()):
                for records in (await consumer.getmany(timeout_ms=1_000)).values():
                    found += records
        return found
    finally:
        await consumer.stop()
