"""`aftercare demo`: half a year in the life of some 40 clients, in a minute.

The real services on a real broker and database under a virtual clock. Staff and clients are played: most follow-ups
go well; some are refused, some bring a complaint or the wish for more counselling, a few are missed; one client's
answers on the questionnaire page show danger; one counsellor's flag is not acknowledged in time.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from aftercare.engines import EngineMissing
from aftercare.fake_gateway import FakeGateway
from aftercare.live import LiveView
from aftercare.simulate import POLICY_HELP, InputError, Run, isolate, prepared, read_input, summarise
from aftercare.stack import Stack
from aftercare.staff import DiligentStaff, SimulationFailed
from shared.contracts.events import DutyChanged, FollowUpDue, IncidentChanged
from shared.contracts.sampling import SampleKind
from shared.messaging.bus import Publisher
from shared.messaging.progress import Stuck
from shared.observability import logging as logs
from shared.policy.counting import end_of_day, local_day
from shared.policy.reading import PolicyError
from shared.policy.versions import Policies

EXAMPLE = Path(__file__).parents[1] / "examples" / "half-a-year.jsonl"
DAYS = 181
NAMESPACE = "demo"
"""On engines of one's own nothing else is touched."""

_SAMPLES: Mapping[str, SampleKind] = {"records-checked": "record", "recordings-checked": "recording"}
"""The duties that ask for the check of a sample."""

_NEXT = re.compile(r'/s/[^"/?]+/(?:q/[a-z-]+|send)')


class PlayedStaff(DiligentStaff):
    """Staff and clients as they are: mostly, but not always, all goes well. The same in every run."""

    def __init__(self, stack: Stack, publisher: Publisher, policies: Policies) -> None:
        super().__init__(stack, publisher, policies)
        self._pages = stack.client("survey")
        self._psychology = stack.client("survey", "psychology", subject="checker-simulated")
        self._invited: dict[str, str] = {}
        self._danger_told = False

    def take_message(self, message: dict[str, Any]) -> None:
        """A client finds the invitation and answers some hours later, where the client answers at all."""
        link = message["params"].get("link")
        if message["template"] == "questionnaire-invitation" and link:
            draw = _draw("answers", message["message_id"])
            if draw.random() < 0.25:
                at = self._clock.now() + timedelta(hours=draw.randint(2, 9))
                self._agenda.put(at, partial(self._answer_page, link, draw))

    def plan(self, due: FollowUpDue) -> None:
        # Who may still answer the questionnaire is not called before the evening of the next day.
        wait = timedelta(hours=30) if due.forms[0] == "questionnaire" else timedelta()
        at = max(due.scheduled_for + wait, self._heard_at)
        if _draw("conducted", due.follow_up_id).random() < 0.95:
            self._agenda.put(at, partial(self.conduct, due.follow_up_id, due.scheduled_for))

    def sheet(self, due: FollowUpDue) -> dict[str, Any]:
        draw = _draw("sheet", due.follow_up_id)
        chance = draw.random()
        if chance < 0.06:
            return {"outcome": "refused", "satisfaction": None}
        if chance < 0.10:
            return {"outcome": "unreachable", "satisfaction": None}
        dropped = {"dropped_reason": "price"} if due.case_class == "dropped" else {}
        if chance < 0.16:
            return {"flags": ["complaint"], "satisfaction": 2, **dropped}
        if chance < 0.26:
            return {"flags": ["needs-counselling"], "satisfaction": 4, **dropped}
        return {"satisfaction": draw.choice((3, 4, 4, 5, 5, 5)), **dropped}

    def _meet(self, duty: DutyChanged) -> None:
        """A sample is checked in survey, which then says itself that it is done."""
        kind = _SAMPLES.get(duty.rule)
        if kind:
            self._agenda.put(self._heard_at, partial(self._check_sample, kind, duty.subject))
        else:
            super()._meet(duty)

    async def _check_sample(self, kind: SampleKind, month: str) -> None:
        path = f"/v1/samples/{month}/{kind}"
        drawn = _accepted(await self._psychology.get(path)).json()["items"]
        for item in drawn:
            draw = _draw("check", item["follow_up_id"])
            good = {name: draw.random() < 0.95 for name in ("complete", "standard", "accurate")}
            _accepted(await self._psychology.put(f"{path}/{item['follow_up_id']}/check", json=good))
        if not drawn:
            _accepted(await self._psychology.post(f"{path}/done"))

    async def record(self, follow_up_id: str, body: dict[str, Any]) -> None:
        """Record, unless the client has answered the questionnaire meanwhile (409)."""
        answer = await self._survey.post(f"/v1/follow-ups/{follow_up_id}/record", json=body)
        if answer.is_error and answer.status_code != 409:
            raise SimulationFailed(f"survey refused a record sheet: {answer.status_code} {answer.text}")

    def answer_page(self, incident: IncidentChanged) -> None:
        """The first page of the run is slept through: it goes up the chain until somebody wakes."""
        minutes = 17 if len(self._incidents) == 1 else 2
        for verb, after in (("acknowledge", minutes), ("intervene", minutes + 6), ("resolve", minutes + 90)):
            at = self._heard_at + timedelta(minutes=after)
            self._agenda.put(at, partial(self.handle_incident, incident.incident_id, verb))

    async def _answer_page(self, link: str, draw: random.Random) -> None:
        """Go through the questionnaire as a browser would: page by page, a form each."""
        path = link[link.index("/s/") :]
        danger = not self._danger_told
        self._danger_told = True
        page = await self._pages.get(path)
        found = _NEXT.search(page.text)
        step = ""
        while page.status_code == 200 and found and found.group() != step:
            step = found.group()
            given = _given(step.rsplit("/", 1)[1], draw, danger)
            page = await self._pages.post(step, data=given, follow_redirects=True)
            found = _NEXT.search(str(page.url))  # the same page again: the form was stopped (F58)


def _accepted(answer: httpx.Response) -> httpx.Response:
    if answer.is_error:
        raise SimulationFailed(f"survey refused a step of a check: {answer.status_code} {answer.text}")
    return answer


def _draw(*what: str) -> random.Random:
    return random.Random(" ".join(what))


def _given(key: str, draw: random.Random, danger: bool) -> dict[str, str]:
    """What a client answers to a question."""
    match key:
        case "risk":
            return {"answer": "often" if danger else "never"}
        case "need":
            return {"answer": draw.choice(("nothing", "nothing", "more-sessions"))}
        case "dropped-reason":
            return {"answer": "time"}
        case "comment" | "send":
            return {"answer": ""}
        case _:
            return {"answer": draw.choice(("3", "4", "4", "5"))}


async def run_demo(out: Path, console: Console, policy: Path | None = None) -> dict[str, Any]:
    """Run it and write summary, events and the last month's report into `out`; returns the summary."""
    began = time.monotonic()
    deliveries = read_input(EXAMPLE.read_text(encoding="utf-8").splitlines())
    start = deliveries[0].at
    until = end_of_day(local_day(start) + timedelta(days=DAYS))
    gateway = FakeGateway()
    async with gateway.serve() as url:
        own = {"survey": {"gateway_url": url, "public_url": "http://survey"}}
        async with prepared(start, PlayedStaff, NAMESPACE, own, policy) as run:
            assert isinstance(run.staff, PlayedStaff)
            gateway.listeners.append(run.staff.take_message)
            view = LiveView(run, start, until, console)
            with view.shown():
                await run.timelapse.run([item for item in deliveries if item.at <= until], lambda: until)
            summary = summarise(run, start, until, time.monotonic() - began)
            summary["messages"] = len(gateway.messages)
            out.mkdir(parents=True, exist_ok=True)
            (out / "events.jsonl").write_text("".join(f"{line}\n" for line in run.recorder.lines(until)))
            (out / "summary.json").write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
            summary["report"] = str(await _write_report(run, out, until))
    return summary


async def _write_report(run: Run, out: Path, until: datetime) -> Path:
    """The report of the last whole month, as a manager would open it."""
    month = f"{local_day(until).replace(day=1) - timedelta(days=1):%Y-%m}"
    async with run.stack.client("reporting", "manager") as client:
        answer = await client.get(f"/v1/reports/{month}.html")
        answer.raise_for_status()
    path = out / f"report-{month}.html"
    path.write_text(answer.text, encoding="utf-8")
    return path


def _show(summary: dict[str, Any], console: Console) -> None:
    table = Table(
        "rule", "planned", "completed", "missed", "superseded", "cancelled", "other", title="Follow-ups"
    )
    shown = ("planned", "completed", "missed", "superseded", "cancelled")
    for rule, counts in summary["follow_ups"].items():
        other = sum(count for name, count in counts.items() if name not in shown)
        table.add_row(rule, *(str(counts[name]) for name in shown), str(other))
    console.print(table)
    duties = Table("duty", "opened", "fulfilled", "late", title="Duties")
    for rule, counts in summary["duties"].items():
        duties.add_row(rule, *(str(counts[name]) for name in ("opened", "fulfilled", "late")))
    console.print(duties)
    console.print(
        f"{sum(summary['events'].values())} events, {summary['messages']} messages to clients, "
        f"{summary['incidents']} incidents, {summary['pages']} pages, {summary['dead_letters']} dead letters "
        f"in {summary['seconds']} s",
        highlight=False,
    )
    console.print(f"Monthly report: {summary['report']}", highlight=False, soft_wrap=True)


def demo(
    out: Annotated[Path, typer.Option(help="The folder for events, summary and report")] = Path("out/demo"),
    policy: Annotated[Path | None, typer.Option(help=POLICY_HELP)] = None,
) -> None:
    """Half a year in the life of some 40 clients, in a minute."""
    logs.configure("ERROR")
    console = Console()
    try:
        isolate(NAMESPACE)
        summary = asyncio.run(run_demo(out, console, policy))
    except (InputError, EngineMissing, PolicyError) as error:
        print(f"aftercare demo: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except (Stuck, SimulationFailed) as error:
        print(f"aftercare demo: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    _show(summary, console)
