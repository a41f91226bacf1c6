"""An hour of crises under every fault: each flag pages, in time, and what came twice is explained."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from services.crisis import domain
from services.crisis.domain import UNKNOWN, Incident, Moment
from shared.contracts.envelope import parse_record
from shared.contracts.events import IncidentChanged
from tests.engines.kafka import JARS
from tests.failure.conftest import SAID
from tests.failure.crisis_faults import FAULTS, LAST, disturb_providers
from tests.failure.crisis_hour import ROLES, Hour, Raised, Received, records_of, running_hour
from tests.system import FAR

MINUTE = 60.0
HOUR_SECONDS = 60 * MINUTE
FLAGS = 30
RETRY = 30.0
"""After how long the chain starts again where nobody could be reached."""
SLOW = 8.0
"""What a machine that tests something else besides may take for what takes milliseconds, in its own seconds."""
BUS_TAKES_OVER = 12.0
"""How long Kafka waits for a reader that was killed, and a little: in its own seconds, which go no faster."""
WRITTEN_WITHIN_SECONDS = 90.0
"""Of ours: after everything is whole again."""
HEAD_WITHIN = 10 * MINUTE
CHAIN_PAUSE = 15 * MINUTE
"""The longest that the chain leaves anybody in peace within the first two hours."""
COPIES = 3
"""For each line that explains a repetition: two attempts at a bot that takes and does not answer, one at the next."""


@dataclass
class Ended:
    """What the database and the bus hold in the end."""

    incidents: list[Incident]
    lines: dict[str, list[Moment]]
    told: Counter[tuple[str, str, str | None]]
    """How often the bus was told: incident, change, step."""
    names: dict[str, str] = field(default_factory=dict)
    """Every id under which an incident was opened, and the one that it has."""


@pytest.mark.skipif(
    not any(JARS.glob("kafka_*.jar")), reason="Apache Kafka's jars are not there: run `make kafka`"
)
@pytest.mark.timeout(2400)
async def test_an_hour_of_faults(tmp_path: Path, seed: int, request: pytest.FixtureRequest) -> None:
    async with running_hour(tmp_path, seed, request.config.getoption("--rate")) as hour:
        over = hour.began + HOUR_SECONDS
        async with asyncio.TaskGroup() as people:
            people.create_task(disturb_providers(hour, over))
            people.create_task(_flags(hour, people))
            await _faults(hour)
            await hour.passes(max(over - hour.now(), 0))
        over = hour.now()
        ended = await _ended(hour)
        pages = [page for page in hour.pages() if page.at <= over]
        SAID.extend([f"an hour of faults, seed {seed}", *(f"  {line}" for line in hour.said)])
        SAID.append(f"  {len(hour.flags)} flags, {len(pages)} pages, {len(ended.incidents)} incidents")
        wrong = {
            "flags without a page, or with a late one": _unpaged(hour, pages),
            "the head not told within ten minutes (F59)": _head_untold(hour, pages, over),
            "nobody acknowledged, and silence": _silences(hour, ended, pages, over),
            "copies that no line explains": _unexplained(hour, ended),
            "changes that the bus was not told": _untold(ended),
        }
        assert {what: found for what, found in wrong.items() if found} == {}


async def _flags(hour: Hour, people: asyncio.TaskGroup) -> None:
    for _ in range(FLAGS):
        await hour.passes(hour.choice.expovariate(FLAGS / (40 * MINUTE)))
        people.create_task(_crisis(hour))


async def _crisis(hour: Hour) -> None:
    """One flag; in most cases somebody acknowledges after a while, and in half of these begins to intervene."""
    way = hour.choice.choice(["bus", "bus", "crisis", "intake"])
    answers, after, comes = hour.choice.random() < 0.6, hour.choice.uniform(30, 1500), hour.choice.random()
    raised = await hour.flag(way)
    page = await hour.first_page(raised.client)
    await hour.passes(after)
    if answers:
        await hour.acknowledge(page.incident)
        if comes < 0.5:
            await hour.intervene(page.incident)


async def _faults(hour: Hour) -> None:
    """Each fault at least once, in an order of the seed, and more of them until the hour is nearly over."""
    last_at = hour.began + HOUR_SECONDS - 5 * MINUTE
    coming = hour.choice.sample(FAULTS, len(FAULTS))
    while coming or hour.now() < last_at:
        await hour.passes(hour.choice.uniform(30, 120))
        await hour.whole()
        await (coming.pop() if coming else hour.choice.choice(FAULTS))(hour)
    await hour.whole()
    await LAST(hour)


async def _ended(hour: Hour) -> Ended:
    """Wait until everything is written down and published, and read it."""
    url = f"mongodb://127.0.0.1:{hour.mongo.target}/?directConnection=true"
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(url, tz_aware=True)
    db = client["hour-aftercare-crisis"]
    try:
        deadline = time.monotonic() + WRITTEN_WITHIN_SECONDS
        while missing := await _missing(hour, db):
            assert time.monotonic() < deadline, missing
            await asyncio.sleep(0.5)
        incidents = [Incident.model_validate(one) async for one in db.incidents.find()]
        lines: dict[str, list[Moment]] = defaultdict(list)
        async for line in db.timeline.find():
            lines[line["incident_id"]].append(Moment.model_validate(line["moment"]))
    finally:
        client.close()
    names = {name: one.id for one in incidents for name in (one.id, *one.aliases)}
    return Ended(incidents, dict(lines), await _told(hour), names)


async def _missing(hour: Hour, db: Any) -> list[str]:
    """What is not written down or not published yet."""
    flagged = {
        line["moment"]["flag"]["client_id"] async for line in db.timeline.find({"moment.kind": "flagged"})
    }
    lost = [f"{raised} is not written down" for raised in hour.flags if raised.client not in flagged]
    letters = await db.dead_letters.count_documents({"origin.topic": "hour.crisis-flagged"})
    unreadable = sum(raised.client == UNKNOWN for raised in hour.flags)
    if letters < unreadable:
        lost.append(f"{letters} dead letters for {unreadable} flags that nobody could read")
    unsent = await db.outbox.count_documents({"dispatched": False})
    return [*lost, *([f"{unsent} parcels are not published"] if unsent else [])]


async def _told(hour: Hour) -> Counter[tuple[str, str, str | None]]:
    told: Counter[tuple[str, str, str | None]] = Counter()
    for record in await records_of(hour, "incident-changed"):
        data = parse_record("incident-changed", record.headers, record.value, FAR).data
        assert isinstance(data, IncidentChanged)
        told[data.incident_id, data.change, data.step] += 1
    return told


# --- what must hold -------------------------------------------------------------------------------------------


def put_off(due: float, hour: Hour) -> float:
    """When at the latest something must have happened that was due then, and could not during outages."""
    afterwards = SLOW * hour.rate + RETRY
    for outage in sorted(hour.outages, key=lambda one: one.began):
        if outage.began - afterwards <= due <= outage.ended + afterwards:
            due = outage.ended + afterwards
    return due


def _unpaged(hour: Hour, pages: list[Received]) -> dict[Raised, float]:
    """How many seconds after it was taken each such flag had its first page; infinity: none."""
    first: dict[str, float] = {}
    for page in pages:
        first.setdefault(page.client, page.at)
    return {
        raised: first.get(raised.client, math.inf) - raised.taken
        for raised in hour.flags
        if first.get(raised.client, math.inf) > put_off(raised.taken + _patience(raised, hour), hour)
    }


def _patience(raised: Raised, hour: Hour) -> float:
    """How long a flag may take to its first page: one on the bus may have to wait for another reader."""
    return (SLOW + (BUS_TAKES_OVER if raised.way != "crisis" else 0)) * hour.rate


def _head_untold(hour: Hour, pages: list[Received], over: float) -> dict[Raised, float]:
    """F59: within ten minutes of the flag, whoever acknowledged. After how many minutes it was."""
    told: dict[str, float] = {}
    for page in pages:
        if page.recipient == "head":
            told.setdefault(page.client, page.at)
    late = {}
    for raised in hour.flags:
        limit = put_off(max(raised.flagged + HEAD_WITHIN, raised.taken + _patience(raised, hour)), hour)
        at = told.get(raised.client, math.inf)
        if limit < over and at > limit:
            late[raised] = (at - raised.flagged) / MINUTE
    return late


def _silences(hour: Hour, ended: Ended, pages: list[Received], over: float) -> dict[str, tuple[float, float]]:
    """From when to when, in minutes of the hour, nobody was paged about an incident that nobody had taken up."""
    by_incident: dict[str, list[float]] = defaultdict(list)
    for page in pages:
        by_incident[ended.names[page.incident]].append(page.at)
    taken_up = {ended.names[incident]: at for incident, at in hour.acknowledged.items()}
    silent = {}
    for incident, times in by_incident.items():
        until = taken_up.get(incident, over)
        for before, after in pairwise([*(at for at in times if at < until), until]):
            if after > put_off(before + CHAIN_PAUSE + SLOW * hour.rate, hour):
                silent[incident] = (hour.minute(before), hour.minute(after))
    return silent


def _unexplained(hour: Hour, ended: Ended) -> dict[tuple[str, str], list[str]]:
    """Who got pages more often than the timeline has lines for it, with no line there that says why; or less often.

    What they got and what was written down, by the minute.
    """
    got: dict[tuple[str, str], list[Received]] = defaultdict(list)
    for page in hour.pages():
        got[ended.names[page.incident], page.recipient].append(page)
    unexplained = {}
    for (incident, recipient), pages in got.items():
        lines = [line for line in ended.lines[incident] if _is_for(line, recipient)]
        paged = sum(line.kind == "paged" for line in lines)
        surely = sum(line.kind == "paged" and line.reached >= _recipients(line) for line in lines)
        doubts = sum(line.kind in ("repeated", "page-failed") for line in lines)
        if not surely <= len(pages) <= paged + COPIES * doubts:
            told = [(page.at, f"got it by {page.provider}") for page in pages]
            told += [(line.at.timestamp(), f"{line.id}: {line.kind} {line.note or ''}") for line in lines]
            unexplained[incident, recipient] = [f"{hour.minute(at):.1f} {what}" for at, what in sorted(told)]
    return unexplained


def _recipients(line: Moment) -> int:
    return len(ROLES) if line.step == "everyone" else 1


def _is_for(line: Moment, recipient: str) -> bool:
    if line.kind not in ("paged", "page-failed", "repeated"):
        return False
    return line.role == ROLES[recipient] or line.step in ("everyone", "worse")


def _untold(ended: Ended) -> list[tuple[str, str, str | None]]:
    untold = []
    for incident in ended.incidents:
        whole = domain.retold(incident, ended.lines[incident.id])
        changes = [(incident.id, change.change, change.step) for change in domain.announced(whole).values()]
        untold += [change for change in changes if not ended.told[change]]
    return untold
