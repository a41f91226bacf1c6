"""`aftercare drill`: a marked incident through the whole path of a page, and how long each part took."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
import typer

from aftercare.configuration import DATA, DataFolder, own_token, service_url
from aftercare.mistakes import Mistake
from aftercare.terminal import out
from shared.contracts.types import write_time


@dataclass(frozen=True)
class Measured:
    """The parts of the time, in seconds from the flag; None: it did not come."""

    taken: float
    """Until crisis answered: the page is out or the incident is stored."""
    opened: float | None
    paged: float | None
    channel: str | None
    acknowledged: float | None = None
    by: str | None = None
    """Who acknowledged."""
    written: float | None = None
    """Until the database was seen to hold it, to a tenth of a second."""


@dataclass(frozen=True)
class Wait:
    """For what a drill waits, in seconds from the flag."""

    paged: float
    acknowledged: float = 0.0
    """0: it is not waited for."""

    def over(self, measured: Measured, passed: float) -> bool:
        """Whether all has come that is waited for, or has had its time."""
        accepted = measured.paged is not None or passed > self.paged
        answered = measured.acknowledged is not None or passed > self.acknowledged or measured.paged is None
        written = measured.written is not None or passed > self.paged
        return accepted and answered and written


def drill(
    wait: Annotated[float, typer.Option(min=1, help="Seconds to wait for an accepted page.")] = 30,
    wait_acknowledged: Annotated[
        float, typer.Option(min=0, help="Seconds to wait until somebody acknowledges; 0: not at all.")
    ] = 0,
    url: Annotated[
        str | None, typer.Option(help="Where crisis is; by default that of the running stack.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="AFTERCARE_TOKEN", help="A bearer token with the role supervisor; made by default."
        ),
    ] = None,
    data: DataFolder = DATA,
) -> None:
    """Flag a crisis that is marked as a drill, and measure each part of the way to a page. It plans nothing.

    People on duty are paged. Ends with exit code 1 when no provider accepted the page in time, or when nobody
    acknowledged it although that was waited for.
    """
    url = url or service_url("crisis", data)
    token = token or own_token(data, "aftercare-drill", "supervisor")
    with httpx.Client(
        base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=wait + 20
    ) as client:
        try:
            incident, measured = run_drill(client, Wait(wait, wait_acknowledged))
        except httpx.TransportError as error:
            raise Mistake(
                f"crisis at {url} does not answer ({type(error).__name__}): start it, or name it with --url"
            ) from None
    out.print(f"drill: incident {incident}", soft_wrap=True)
    out.print(f"  flag -> answered       {_seconds(measured.taken)}")
    out.print(f"  flag -> incident       {_seconds(measured.opened)}")
    out.print(f"  flag -> page accepted  {_seconds(measured.paged)} {measured.channel or ''}".rstrip())
    out.print(f"  flag -> written down   {_seconds(measured.written)}")
    if wait_acknowledged:
        by = f"by {measured.by}" if measured.by else ""
        out.print(f"  flag -> acknowledged   {_seconds(measured.acknowledged)} {by}".rstrip())
    if measured.written is None:
        out.print(f"not written down within {wait:g} s: look at the database", style="yellow", soft_wrap=True)
    if measured.paged is None:
        out.print(
            f"no provider accepted the page within {wait:g} s: check that AFTERCARE_ROSTER_FILE or "
            "AFTERCARE_WECOM_WEBHOOKS names a channel, and the log of crisis",
            style="red",
            soft_wrap=True,
        )
        raise typer.Exit(1)
    if wait_acknowledged and measured.acknowledged is None:
        out.print(
            f"nobody acknowledged within {wait_acknowledged:g} s: ask who was on duty whether they saw it",
            style="red",
            soft_wrap=True,
        )
        raise typer.Exit(1)


def run_drill(client: httpx.Client, wait: Wait) -> tuple[str, Measured]:
    """Flag, then look at the incident until all has come that is waited for. Raises Mistake."""
    flagged = datetime.now(UTC)
    began = time.monotonic()
    taken = _checked(client.post("/v1/crises", json=_flag(flagged)))
    answered = time.monotonic() - began
    incident_id = str(taken["incident_id"])
    written = None
    while True:
        incident = _checked(client.get(f"/v1/incidents/{incident_id}"))
        passed = time.monotonic() - began
        if written is None and incident["written_down"]:
            written = passed
        measured = replace(measure(incident["timeline"], flagged, answered), written=written)
        if wait.over(measured, passed):
            return incident_id, measured
        time.sleep(0.1)


def measure(timeline: list[dict[str, Any]], flagged: datetime, answered: float) -> Measured:
    """The parts of the time, out of the incident's own timeline."""
    found: dict[str, tuple[float, dict[str, Any]]] = {}
    for line in timeline:
        # The timeline is kept to the millisecond, the flag is not.
        since = max((datetime.fromisoformat(line["at"]) - flagged).total_seconds(), 0.0)
        found.setdefault(line["what"], (since, line))

    def part(what: str) -> float | None:
        return found[what][0] if what in found else None

    def said(what: str, name: str) -> str | None:
        return found[what][1].get(name) if what in found else None

    return Measured(
        taken=answered,
        opened=part("flagged"),
        paged=part("paged"),
        channel=said("paged", "channel"),
        acknowledged=part("acknowledged"),
        by=said("acknowledged", "by"),
    )


def _flag(flagged: datetime) -> dict[str, Any]:
    name = f"drill-{uuid.uuid4().hex[:16]}"
    return {
        "specversion": "1.0",
        "id": name,
        "source": "/aftercare-drill",
        "type": "aftercare.crisis-flagged.v1",
        "time": write_time(flagged),
        "data": {
            "client_id": name,
            "flagged_at": write_time(flagged),
            "source": "other",
            "signals": [],
            "level": "drill",
        },
    }


def _checked(answer: httpx.Response) -> dict[str, Any]:
    try:
        document: dict[str, Any] = answer.json()
    except ValueError:
        document = {}
    if not answer.is_success:
        raise Mistake(f"crisis refused the drill: {answer.status_code} {document.get('detail', '')}")
    return document


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 10 else f"{value:.0f} s"
