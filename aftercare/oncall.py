"""`aftercare oncall`: who is on call now and next, and when nobody will be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from pydantic import BaseModel

from aftercare.configuration import DATA, DataFolder, own_token, service_url
from aftercare.mistakes import Mistake
from aftercare.terminal import out
from services.crisis.oncall.rota import read_rota
from services.crisis.oncall.rotation import Span
from services.crisis.oncall.shifts import gaps, now_and_next
from services.crisis.oncall_api import GapView, RoleView
from shared.contracts.types import COMPANY_ZONE
from shared.policy.reading import PolicyError
from shared.policy.workdays import load_calendar


def oncall(
    days: Annotated[int, typer.Option(min=1, max=92, help="How far to look ahead.")] = 14,
    file: Annotated[
        Path | None,
        typer.Option(help="Look at this file alone, without overrides, before crisis is given it."),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Where crisis is; by default that of the running stack.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="AFTERCARE_TOKEN",
            help="A bearer token with the role engineer or supervisor; made by default.",
        ),
    ] = None,
    data: DataFolder = DATA,
) -> None:
    """Tell who is on call now and next, and the gaps of the days to come. Exit code 1 when there is a gap."""
    told = of_file(file, days, datetime.now(UTC)) if file else _of_running(url, token, data, days)
    for line in said(told, days):
        out.print(line, soft_wrap=True, style="bold red" if line.startswith("gap") else None, markup=False)
    if told["gaps"]:
        raise typer.Exit(1)


def of_file(path: Path, days: int, now: datetime) -> dict[str, Any]:
    """What `GET /v1/on-call` would tell of this file, as far as it is told here. Raises Mistake."""
    try:
        rota = read_rota(path, load_calendar())
    except PolicyError as error:
        raise Mistake(f"the rota cannot be used:\n{error}") from None
    span = Span(now, now + timedelta(days=days))
    found = {role: rota.shifts(role, span, []) for role in rota.roles}
    roles = [RoleView.model_validate(now_and_next(role, shifts, span)) for role, shifts in found.items()]
    empty = [
        GapView.model_validate(gap) for role, shifts in found.items() for gap in gaps(role, shifts, span)
    ]
    return {"roles": [_plain(one) for one in roles], "gaps": [_plain(one) for one in empty]}


def _plain(view: BaseModel) -> dict[str, Any]:
    return view.model_dump(mode="json")


def said(told: dict[str, Any], days: int) -> Iterator[str]:
    """The lines to print."""
    if not told["roles"]:
        yield "the rota covers no role: a page goes to everybody who has it"
        return
    for one in told["roles"]:
        line = f"{one['role']}: {_people(one['now'])}"
        if one["next_at"]:
            line += f" until {_time(one['next_at'])}, then {_people(one['next'])}"
        yield line
    for gap in told["gaps"]:
        yield f"gap: {gap['role']} from {_time(gap['start'])} to {_time(gap['end'])}"
    if not told["gaps"]:
        yield f"no gap in the next {days} days"


def _people(ids: Sequence[str]) -> str:
    return ", ".join(ids) or "nobody"


def _time(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(COMPANY_ZONE):%Y-%m-%d %H:%M}"


def _of_running(url: str | None, token: str | None, data: Path, days: int) -> dict[str, Any]:
    token = token or own_token(data, "aftercare-oncall", "engineer")
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url or service_url("crisis", data), headers=headers, timeout=20) as client:
        return of_service(client, days)


def of_service(client: httpx.Client, days: int) -> dict[str, Any]:
    """What crisis tells. Raises Mistake."""
    try:
        answer = client.get("/v1/on-call", params={"days": days})
        told: dict[str, Any] = answer.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise Mistake(
            f"crisis at {client.base_url} does not answer ({type(error).__name__}): start it, or name it with --url"
        ) from None
    if not answer.is_success:
        raise Mistake(f"crisis refused: {answer.status_code} {told.get('detail', '')}")
    return told
