"""`aftercare doctor`: is everything as it should be? Each finding says what to do."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import typer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from motor.motor_asyncio import AsyncIOMotorClient
from prometheus_client.parser import text_string_to_metric_families
from pymongo.errors import PyMongoError
from rich.text import Text

from aftercare.configuration import DATA, DataFolder, service_url, stack_settings, variable
from aftercare.stack import PORTS
from aftercare.terminal import out
from services.crisis.roster import read_roster
from shared.contracts.topics import SERVICES, TOPICS, dead_letter_topic
from shared.contracts.types import COMPANY_ZONE
from shared.messaging.bus import connection
from shared.mongo.client import connect, database
from shared.mongo.encryption import master_key
from shared.policy.reading import PolicyError
from shared.policy.versions import in_force_from, load_versions
from shared.policy.workdays import WorkCalendar, load_calendar
from shared.settings import Settings

Level = Literal["ok", "warn", "fail"]
_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}

SKEW_WARN = timedelta(seconds=2)
SKEW_FAIL = timedelta(minutes=1)
UNDISPATCHED = timedelta(minutes=1)
"""A parcel of the outbox that waits longer than this was left by more than a slow moment."""
NOTICE_EXPECTED = 12
"""The month by which the State Council's notice for the next year is usually out."""


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and what to do where it is not well."""

    level: Level
    what: str
    advice: str = ""


def doctor(
    services: Annotated[
        str | None,
        typer.Option(
            help="Where the services are, such as http://{service}:{port}; by default the running stack."
        ),
    ] = None,
    data: DataFolder = DATA,
) -> None:
    """Check engines, services, clocks, dead letters, journals, calendar, rota and secrets. Exit code 1 on a failure."""
    settings = stack_settings(data)
    urls = {
        service: services.format(service=service, port=port) if services else service_url(service, data)
        for service, port in PORTS.items()
    }
    failed = asyncio.run(_show_all(settings, urls))
    if failed:
        raise typer.Exit(1)


async def _show_all(settings: Settings, urls: dict[str, str]) -> int:
    failed = 0
    async for finding in examine(settings, urls):
        failed += finding.level == "fail"
        text = Text().append(f"{finding.level:<5}", style=_STYLES[finding.level]).append(finding.what)
        if finding.advice:
            text.append(f"\n     -> {finding.advice}")
        out.print(text, soft_wrap=True)
    return failed


async def examine(settings: Settings, urls: dict[str, str]) -> AsyncIterator[Finding]:
    """Every finding, in the order in which one would mend things."""
    for finding in check_secrets(settings):
        yield finding
    for finding in check_policy(settings.policy_file, datetime.now(UTC)):
        yield finding
    for finding in check_roster(os.environ.get(variable("roster_file"))):
        yield finding
    for finding in await check_bus(settings):
        yield finding
    client: AsyncIOMotorClient[dict[str, Any]] = connect(settings)
    try:
        found = await check_database(client)
        for finding in found:
            yield finding
        if all(finding.level != "fail" for finding in found):
            for look in (check_dead_letters, check_journals, check_provisional):
                for finding in await look(client, settings):
                    yield finding
    finally:
        client.close()
    for finding in check_calendar(load_calendar(), datetime.now(COMPANY_ZONE).date()):
        yield finding
    for finding in await check_services(urls):
        yield finding
    for finding in await check_rota(urls["crisis"]):
        yield finding


# --- settings -------------------------------------------------------------------------------------------------


def check_secrets(settings: Settings) -> Iterator[Finding]:
    """Sign-in and the master key."""
    if settings.oidc_issuer and settings.token_secret:
        yield Finding(
            "fail",
            "tokens signed with the development secret are taken although an OIDC issuer is set",
            "unset AFTERCARE_TOKEN_SECRET for every service (and remove it from .data/secrets.json)",
        )
    elif settings.oidc_issuer:
        yield Finding("ok", f"sign-in by OIDC: {settings.oidc_issuer}")
    elif settings.token_secret:
        yield Finding(
            "warn", "sign-in by development tokens", "set AFTERCARE_OIDC_ISSUER before real people use it"
        )
    else:
        yield Finding("fail", "nobody can sign in", "set AFTERCARE_OIDC_ISSUER, or start `aftercare up`")
    try:
        master_key(settings.master_key.get_secret_value() if settings.master_key else None)
    except ValueError as error:
        yield Finding("fail", "the master key of the field encryption cannot be used", str(error))
    else:
        yield Finding("ok", "the master key of the field encryption has its 96 bytes")


def check_roster(path: str | None) -> Iterator[Finding]:
    """Whether everybody who can be paged has a channel of their own; nothing where no roster is known here."""
    if not path:
        return
    try:
        roster = read_roster(Path(path))
    except PolicyError as error:
        yield Finding("fail", "the roster cannot be used: crisis does not start with it", str(error))
        return
    if without := roster.without_channel():
        yield Finding(
            "warn",
            f"no channel of their own: {', '.join(without)}",
            "give each one in the roster (docs/channels.md); until then they hear of a crisis with everybody else",
        )
    else:
        yield Finding("ok", f"all {len(roster.people)} people of the roster have a channel")


def check_policy(path: Path | None, now: datetime) -> Iterator[Finding]:
    """Which version of the policy is in force, and which are to come."""
    try:
        policies = load_versions(path)
    except PolicyError as error:
        for problem in error.problems:
            yield Finding("fail", f"the policy cannot be used: {problem}", "see `aftercare policy lint`")
        return
    in_force = policies.by(now)
    for version in policies.versions:
        if in_force_from(version) > now:
            yield Finding("ok", f"policy {version.version} comes into force on {version.effective_from}")
        elif version is in_force:
            yield Finding("ok", f"policy {version.version} is in force since {version.effective_from}")


def check_calendar(calendar: WorkCalendar, today: date) -> Iterator[Finding]:
    """Whether the working days of this year and the next are known (collision 8)."""
    advice = "add the State Council's notice to shared/policy/workdays.yaml"
    for year, needed in ((today.year, True), (today.year + 1, today.month >= NOTICE_EXPECTED)):
        if calendar.known(date(year, 1, 2)):
            yield Finding("ok", f"the working days of {year} are known")
        elif needed:
            yield Finding(
                "fail" if year == today.year else "warn", f"the working days of {year} are unknown", advice
            )
        else:
            yield Finding(
                "ok", f"the working days of {year} are not announced yet: its dates are provisional"
            )


# --- engines --------------------------------------------------------------------------------------------------


async def check_bus(settings: Settings) -> list[Finding]:
    """The broker answers and has every topic with at least the wanted partitions."""
    admin = AIOKafkaAdminClient(**connection(settings))
    try:
        await admin.start()
        brokers = (await admin.describe_cluster())["brokers"]
        there = set(await admin.list_topics())
    except (KafkaError, OSError) as error:
        return [
            Finding(
                "fail",
                f"the bus at {settings.kafka_bootstrap_servers} does not answer ({type(error).__name__})",
                "start the broker, or correct AFTERCARE_KAFKA_*",
            )
        ]
    finally:
        with suppress(KafkaError, OSError):
            await admin.close()
    wanted = {settings.topic(name) for name in (*TOPICS, *map(dead_letter_topic, SERVICES))}
    missing = sorted(wanted - there)
    topics = (
        Finding(
            "fail",
            f"{len(missing)} of {len(wanted)} topics are missing, such as {missing[0]}",
            "run `aftercare topics apply`",
        )
        if missing
        else Finding("ok", f"all {len(wanted)} topics are there")
    )
    few = settings.kafka_replication > len(brokers)
    return [
        Finding("ok", f"the bus at {settings.kafka_bootstrap_servers} answers: {len(brokers)} broker(s)"),
        topics,
        *([Finding("warn", "fewer brokers than replicas are wanted", "start the missing brokers")] * few),
    ]


async def check_database(client: AsyncIOMotorClient[dict[str, Any]]) -> list[Finding]:
    """MongoDB answers, is a replica set with a primary, and has our time."""
    try:
        version = (await client.admin.command("buildInfo"))["version"]
        asked, began = datetime.now(UTC), time.monotonic()
        hello = await client.admin.command("hello")
        took = timedelta(seconds=time.monotonic() - began)
    except PyMongoError as error:
        return [
            Finding(
                "fail",
                f"MongoDB does not answer ({type(error).__name__})",
                "start it, or correct AFTERCARE_MONGO_URL",
            )
        ]
    if "setName" not in hello:
        return [
            Finding(
                "fail",
                f"MongoDB {version} is no replica set: there are no transactions",
                "start it with --replSet and initiate it",
            )
        ]
    return [
        Finding("ok", f"MongoDB {version} answers: replica set {hello['setName']}"),
        check_skew(hello["localTime"].replace(tzinfo=UTC) - (asked + took / 2), took),
    ]


def check_skew(skew: timedelta, took: timedelta) -> Finding:
    """How far the database's clock is from this machine's; `took`: how long the asking took."""
    off = max(abs(skew) - took / 2 - timedelta(milliseconds=1), timedelta())
    level: Level = "fail" if off >= SKEW_FAIL else "warn" if off >= SKEW_WARN else "ok"
    advice = "" if level == "ok" else "keep every machine's time with NTP: deadlines are counted by it"
    return Finding(
        level, f"the clocks of this machine and of MongoDB differ by {off.total_seconds():.1f} s", advice
    )


# --- what the services left in their databases ----------------------------------------------------------------


async def _count(
    client: AsyncIOMotorClient[dict[str, Any]], settings: Settings, collection: str, where: dict[str, Any]
) -> dict[str, int]:
    counts = {
        service: await database(client, settings.database(service))
        .get_collection(collection)
        .count_documents(where)
        for service in SERVICES
    }
    return {service: count for service, count in counts.items() if count}


def _named(counts: dict[str, int]) -> str:
    return ", ".join(f"{service} {count}" for service, count in counts.items())


async def check_dead_letters(client: AsyncIOMotorClient[dict[str, Any]], settings: Settings) -> list[Finding]:
    """Records that could not be taken and wait for somebody."""
    counts = await _count(client, settings, "dead_letters", {"state": "open"})
    if not counts:
        return [Finding("ok", "no dead letters are open")]
    return [
        Finding(
            "warn",
            f"dead letters are open: {_named(counts)}",
            "see `aftercare dead-letters list`, mend the cause, then `aftercare dead-letters replay`",
        )
    ]


async def check_journals(client: AsyncIOMotorClient[dict[str, Any]], settings: Settings) -> list[Finding]:
    """Events that were stored but have not reached the bus."""
    limit = datetime.now(UTC) - UNDISPATCHED
    counts = await _count(client, settings, "outbox", {"dispatched": False, "at": {"$lte": limit}})
    if not counts:
        return [Finding("ok", "every stored event has reached the bus")]
    return [
        Finding(
            "fail",
            f"events wait for the bus longer than a minute: {_named(counts)}",
            "the service's relay publishes them: see that it runs and reaches the bus (/readyz)",
        )
    ]


async def check_provisional(client: AsyncIOMotorClient[dict[str, Any]], settings: Settings) -> list[Finding]:
    """Planned dates that need a year whose working days were unknown when they were computed."""
    agenda = database(client, settings.database("scheduler")).get_collection("agenda")
    day = {"$ifNull": ["$scheduled_for", "$due_at"]}
    counted = agenda.aggregate(
        [
            {"$match": {"provisional": True, "next_at": {"$type": "date"}}},
            {
                "$group": {
                    "_id": {"$year": {"date": day, "timezone": COMPANY_ZONE.key}},
                    "count": {"$sum": 1},
                }
            },
        ]
    )
    by_year = {found["_id"]: found["count"] async for found in counted}
    return list(judge_provisional(by_year, load_calendar()))


def judge_provisional(by_year: dict[int, int], calendar: WorkCalendar) -> Iterator[Finding]:
    """How many dates are provisional, by the year in which they lie, and what to do about it."""
    if not by_year:
        yield Finding("ok", "no planned date is provisional")
    for year, count in sorted(by_year.items()):
        # A date at the end of a year may have needed days of the next one.
        if calendar.known(date(year, 1, 2)) and calendar.known(date(year + 1, 1, 2)):
            yield Finding(
                "warn",
                f"{count} dates in {year} are provisional although its working days are known",
                "restart the scheduler: it computes them again at its start",
            )
        else:
            yield Finding(
                "ok",
                f"{count} dates in {year} are provisional: they need working days that are not announced",
                "once the State Council's notice is out, add it to shared/policy/workdays.yaml (or to "
                "AFTERCARE_WORKDAYS_FILE) and restart scheduler and crisis",
            )


# --- services -------------------------------------------------------------------------------------------------


async def check_services(urls: dict[str, str]) -> list[Finding]:
    """What every service's /readyz says."""
    async with httpx.AsyncClient(timeout=5) as client:
        return list(await asyncio.gather(*(_service(client, *place) for place in urls.items())))


async def _service(client: httpx.AsyncClient, service: str, url: str) -> Finding:
    try:
        answer = await client.get(f"{url}/readyz")
        said = answer.json()
        required, dependencies = said["required"], said["dependencies"]
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        return Finding(
            "fail",
            f"{service} at {url} does not answer ({type(error).__name__})",
            f"start it (`aftercare up`, or `aftercare run {service}`), or say where it is with --services",
        )
    return judge(service, required, dependencies)


def judge(service: str, required: dict[str, bool], dependencies: dict[str, bool]) -> Finding:
    """A service that is not ready fails; one that does without something is worth a warning."""
    if lacking := [name for name, fine in required.items() if not fine]:
        return Finding(
            "fail", f"{service} is not ready: {', '.join(lacking)}", "its log says what it waits for"
        )
    if lacking := [name for name, fine in dependencies.items() if not fine]:
        return Finding(
            "warn", f"{service} is ready without: {', '.join(lacking)}", "its log says what it waits for"
        )
    return Finding("ok", f"{service} is ready")


# --- the rota -------------------------------------------------------------------------------------------------


async def check_rota(url: str) -> list[Finding]:
    """Whether somebody is on call in the days to come. Crisis tells it among its metrics, which need no sign-in."""
    try:
        async with httpx.AsyncClient(timeout=5) as client:
            answer = await client.get(f"{url}/metrics")
        answer.raise_for_status()
        return list(judge_rota(answer.text))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        return []  # that it does not answer was found above


def judge_rota(metrics: str) -> Iterator[Finding]:
    """What the metrics of crisis say of the rota."""
    samples = [sample for family in text_string_to_metric_families(metrics) for sample in family.samples]
    until = {
        one.labels["role"]: one.value for one in samples if one.name == "aftercare_rota_next_gap_seconds"
    }
    if any(one.value for one in samples if one.name == "aftercare_rota_unreadable"):
        yield Finding(
            "fail",
            "the file of the rota cannot be used: what was read before holds, or pages go to everybody",
            "the log of crisis says the line; try it with `aftercare oncall --file`",
        )
    for role, seconds in sorted(until.items()):
        if seconds == 0:
            yield Finding("fail", f"nobody is on call as {role}: pages go to everybody with that role", _GAP)
        elif seconds < float("inf"):
            days = seconds / 86_400
            yield Finding("warn", f"nobody will be on call as {role} in {days:.1f} days", _GAP)
        else:
            yield Finding("ok", f"somebody is on call as {role} for the next 14 days")
    if not until:
        yield Finding("ok", "no rota: a page to a role goes to everybody who has it")


_GAP = "see `aftercare oncall`, then docs/runbooks/rota-has-a-gap.md"
