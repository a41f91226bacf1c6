"""`aftercare simulate`: what would this policy have us do?

Runs the five real services on a real broker and database in time-lapse over a file of events, and writes every
event that was on the bus. Nothing leaves the machine: no setting of the
environment reaches the services, and pages go to a bot that listens here.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from aftercare.engines import EngineMissing, Engines, embedded_engines
from aftercare.fake_wecom import FakeWeCom
from aftercare.gate import FetchGate
from aftercare.recorder import GROUP, Recorder
from aftercare.stack import Stack, embedded_settings, running_stack
from aftercare.staff import AbsentStaff, DiligentStaff, SimulationFailed
from aftercare.timelapse import Delivery, Staff, TimeLapse, delivery
from shared.clock import VirtualClock
from shared.contracts.envelope import Event, Refused, parse_time
from shared.contracts.events import DutyChanged, FollowUpPlanned, FollowUpRecorded, IncidentChanged
from shared.contracts.topics import COMPANY_TOPICS, SERVICES, TOPICS
from shared.contracts.types import COMPANY_ZONE, write_time
from shared.messaging.bus import Publisher
from shared.messaging.progress import Progress, Stuck
from shared.observability import logging as logs
from shared.policy.counting import end_of_day
from shared.policy.reading import PolicyError
from shared.policy.versions import Policies, load_versions

POLICY_HELP = "A policy, or a folder with one for each version, instead of that of this release"


class InputError(ValueError):
    """A line of the input cannot be put on the bus; the message names the line and the mend."""


class StaffKind(StrEnum):
    diligent = "diligent"
    absent = "absent"


@dataclass(frozen=True)
class Lateness:
    """How deliveries are delayed: each by up to `days`, drawn from `seed`."""

    seed: int
    days: int

    @classmethod
    def parse(cls, text: str) -> Lateness:
        """Read `SEED:DAYS`. Raises InputError."""
        try:
            seed, days = map(int, text.split(":"))
        except ValueError:
            raise InputError("--late takes SEED:DAYS, two whole numbers, such as 7:20") from None
        return cls(seed, days)


def read_input(lines: Iterable[str], late: Lateness | None = None) -> list[Delivery]:
    """The deliveries of a file of CloudEvents JSON, one a line, in any order. Raises InputError.

    What can be routed is put on the bus as it stands, however wrong its body: refusing it is the services' affair.
    The delay of an event depends on the seed and its id, and not on its line.
    """
    found: list[Delivery] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            topic = str(document["type"]).split(".")[1]
            at = parse_time(document["time"])
        except (ValueError, KeyError, TypeError, IndexError, RecursionError, Refused):
            raise InputError(
                f"line {number} is not an event: it must be a JSON object with `type` and `time` (RFC 3339)"
            ) from None
        if topic not in COMPANY_TOPICS:
            raise InputError(f"line {number}: company systems publish no events of this type")
        if late:
            draw = random.Random(f"{late.seed} {document.get('source')} {document.get('id')}")
            at += timedelta(seconds=draw.randrange(late.days * 86_400 + 1))
        found.append(delivery(document, topic, at))
    return sorted(found)


class Outcome:
    """What came of a run, kept up as the events come."""

    def __init__(self) -> None:
        self.planned: dict[str, FollowUpPlanned] = {}
        self.recorded: dict[str, FollowUpRecorded] = {}
        self.duties: dict[str, dict[str, datetime]] = {}
        self.duty_rules: dict[str, str] = {}
        self.incidents: set[str] = set()
        self.pages = 0

    def note(self, event: Event) -> None:
        match event.data:
            case FollowUpPlanned() as planned:
                self.planned[planned.follow_up_id] = planned
            case FollowUpRecorded() as recorded:
                self.recorded[recorded.follow_up_id] = recorded
            case DutyChanged() as duty:
                self.duty_rules[duty.duty_id] = duty.rule
                self.duties.setdefault(duty.duty_id, {})[duty.change] = duty.at
            case IncidentChanged() as incident:
                if incident.change == "opened":
                    self.incidents.add(incident.incident_id)
                self.pages += incident.change == "paged"
            case _:
                pass

    def last_complete_by(self, otherwise: datetime) -> datetime:
        """The end of a run that names none: the last `complete_by` of a follow-up that stands."""
        standing = [
            planned.complete_by
            for planned in self.planned.values()
            if planned.change in ("planned", "moved") or planned.follow_up_id in self.recorded
        ]
        return max([otherwise, *standing])

    def follow_ups(self, until: datetime) -> dict[str, dict[str, int]]:
        """Rule to how many were planned, completed, missed, superseded, cancelled, each counted by its last state."""
        counts: dict[str, Counter[str]] = {}
        for key, planned in sorted(self.planned.items()):
            counter = counts.setdefault(planned.rule, Counter())
            counter["planned"] += 1
            recorded = self.recorded.get(key)
            if recorded:
                counter[recorded.outcome] += 1
            elif planned.change in ("cancelled", "superseded"):
                counter[planned.change] += 1
            elif planned.complete_by <= until:
                counter["missed"] += 1
        states = ("planned", "completed", "missed", "superseded", "cancelled")
        return {rule: {**dict.fromkeys(states, 0), **counter} for rule, counter in sorted(counts.items())}

    def duty_counts(self) -> dict[str, dict[str, int]]:
        """Rule to how many duties opened, were fulfilled, ran late."""
        counts: dict[str, Counter[str]] = {}
        for key, changes in self.duties.items():
            counts.setdefault(self.duty_rules[key], Counter()).update(changes.keys())
        states = ("opened", "fulfilled", "late")
        return {rule: {state: counter[state] for state in states} for rule, counter in sorted(counts.items())}


@dataclass
class Run:
    """A time-lapse run that is set up and can go."""

    stack: Stack
    recorder: Recorder
    outcome: Outcome
    timelapse: TimeLapse
    staff: Staff
    bot: FakeWeCom


StaffMaker = Callable[[Stack, Publisher, Policies], DiligentStaff | AbsentStaff]


FETCH_WAIT_MS = 20
"""How long a fetch may wait for records. The broker reads 1,000 batches of a partition in about 1 ms, and returns
nothing when it has found nothing in time: with a wait of 2 ms, consumers stood still once a partition was long."""


@asynccontextmanager
async def prepared(
    start: datetime,
    make_staff: StaffMaker,
    namespace: str = "",
    own: dict[str, dict[str, Any]] | None = None,
    policy: Path | None = None,
) -> AsyncIterator[Run]:
    """Engines, services, recorder and staff for a run that begins at `start`; all ended with the block.

    `policy`: a file, or a folder of versions, instead of the policy of the release. Raises PolicyError.
    """
    policies = load_versions(policy)
    # The drivers' threads and the event loop hand the interpreter to each other at every step of a transaction.
    sys.setswitchinterval(0.0005)
    clock, progress = VirtualClock(start), Progress()
    bot = FakeWeCom(clock=lambda: clock.now().timestamp())
    async with _engines() as engines, bot.serve() as address:
        common = embedded_settings(engines, "simulation", namespace)
        common |= {"kafka_max_wait_ms": FETCH_WAIT_MS, "policy_file": policy}
        channel = {"kind": "wecom", "url": f"{address}?key=simulation"}
        settings = {"crisis": {"crisis_channels": [channel]}, **(own or {})}
        async with running_stack(clock, progress, common, settings, SERVICES) as stack:
            publisher = Publisher(stack.settings["intake"], progress)
            outcome = Outcome()
            staff = make_staff(stack, publisher, policies)
            async with Recorder(stack.settings["intake"], clock, progress) as recorder:
                recorder.listeners += [outcome.note, staff.note]
                await publisher.start()
                progress.follower = gate = FetchGate(
                    progress, [*stack.consumers(), (GROUP, recorder.consumer)]
                )
                observers = {stack.settings[name].group(name) for name in staff.observing}
                try:
                    timelapse = TimeLapse(clock, progress, publisher, recorder, staff, gate, observers)
                    yield Run(stack, recorder, outcome, timelapse, staff, bot)
                finally:
                    await publisher.stop()


_KAFKA = "AFTERCARE_KAFKA_BOOTSTRAP_SERVERS"
_MONGO = "AFTERCARE_MONGO_URL"


def isolate(namespace: str) -> None:
    """Forget every setting of the environment but where external engines are. Raises InputError.

    Channels, gateways and heartbeats of the environment would otherwise be reached by a run that only simulates.
    """
    external = {name: os.environ[name] for name in (_KAFKA, _MONGO) if name in os.environ}
    if external and not namespace:
        raise InputError(
            f"{' and '.join(external)} name external engines: give the run a --namespace of its own"
        )
    if len(external) == 1:
        raise InputError(f"set both {_KAFKA} and {_MONGO}, or neither")
    for name in [name for name in os.environ if name.startswith("AFTERCARE_") and name not in external]:
        del os.environ[name]


@asynccontextmanager
async def _engines() -> AsyncIterator[Engines]:
    if _KAFKA in os.environ:
        yield Engines(os.environ[_KAFKA], os.environ[_MONGO], idempotence=True)
        return
    async with embedded_engines() as engines:
        yield engines


async def simulate_file(
    lines: Iterable[str],
    out: Path,
    *,
    staff: StaffKind = StaffKind.absent,
    until: datetime | None = None,
    late: Lateness | None = None,
    namespace: str = "",
    policy: Path | None = None,
) -> dict[str, Any]:
    """Run a simulation and write `events.jsonl` and `summary.json` into `out`; returns the summary.

    Raises InputError, PolicyError, Stuck (naming the service), SimulationFailed and EngineMissing.
    """
    began = time.monotonic()
    deliveries = read_input(lines, late)
    if not deliveries:
        raise InputError("the input holds no event")
    start = min(item.at for item in deliveries)
    deliveries = [item for item in deliveries if until is None or item.at <= until]
    make: StaffMaker = DiligentStaff if staff is StaffKind.diligent else lambda *_: AbsentStaff()
    async with prepared(start, make, namespace, policy=policy) as run:
        last = deliveries[-1].at if deliveries else start

        def end() -> datetime:
            return until or run.outcome.last_complete_by(last)

        await run.timelapse.run(deliveries, end)
        ended = end()
        summary = summarise(run, start, ended, time.monotonic() - began)
        out.mkdir(parents=True, exist_ok=True)
        (out / "events.jsonl").write_text("".join(f"{line}\n" for line in run.recorder.lines(ended)))
        (out / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return summary


def summarise(run: Run, start: datetime, until: datetime, seconds: float) -> dict[str, Any]:
    """The figures of a run."""
    counts = run.recorder.counts
    return {
        "from": write_time(start),
        "until": write_time(until),
        "events": {name: counts[name] for name in TOPICS if counts[name]},
        "follow_ups": run.outcome.follow_ups(until),
        "duties": run.outcome.duty_counts(),
        "incidents": len(run.outcome.incidents),
        "pages": run.outcome.pages,
        "dead_letters": run.recorder.dead_letters,
        "seconds": round(seconds, 1),
    }


def _day(text: str) -> datetime:
    try:
        return end_of_day(datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=COMPANY_ZONE).date())
    except ValueError:
        raise InputError("--until takes a date, such as 2026-06-30") from None


def simulate(
    file: Annotated[
        Path, typer.Argument(help="CloudEvents JSON, one event a line, in any order; - for standard input")
    ],
    out: Annotated[Path, typer.Option(help="The folder for events.jsonl and summary.json")],
    staff: Annotated[StaffKind, typer.Option(help="Who conducts the follow-ups")] = StaffKind.absent,
    until: Annotated[
        str | None, typer.Option(help="The last day, YYYY-MM-DD; else the last follow-up's end")
    ] = None,
    late: Annotated[
        str | None, typer.Option(help="SEED:DAYS: deliver each event up to that many days late")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Needed on external engines: what the run keeps to")] = "",
    policy: Annotated[Path | None, typer.Option(help=POLICY_HELP)] = None,
) -> None:
    """Run the real services in time-lapse over a file of events, and write all that was on the bus."""
    logs.configure("ERROR")
    try:
        isolate(namespace)
        lines: Sequence[str] = _lines(file)
        summary = asyncio.run(
            simulate_file(
                lines,
                out,
                staff=staff,
                until=_day(until) if until else None,
                late=Lateness.parse(late) if late else None,
                namespace=namespace,
                policy=policy,
            )
        )
    except (InputError, EngineMissing, PolicyError) as error:
        print(f"aftercare simulate: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except (Stuck, SimulationFailed) as error:
        print(f"aftercare simulate: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    print(json.dumps(summary, indent=2, ensure_ascii=False))


def _lines(file: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} cannot be read: {error}") from None
    return text.splitlines()
