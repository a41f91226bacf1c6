"""`aftercare incidents`: the record of each incident, as it lies in the database of crisis. List, show, prove, export.

How entries are chained and what that proves: `services/crisis/record.py` and docs/decisions/0050.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Column, Table

from aftercare.configuration import DATA, DataFolder, stack_settings
from aftercare.dead_letters import service_databases
from aftercare.mistakes import Mistake
from aftercare.terminal import out
from services.crisis import domain, record
from services.crisis.domain import ERASED, Incident, Moment
from services.crisis.record import Finding, Head
from services.crisis.store import Store
from shared.contracts.types import COMPANY_ZONE
from shared.settings import Settings

app = typer.Typer(no_args_is_help=True, help="The record of incidents: list, show, verify, export.")

SUMMARY = (
    "state", "level", "opened_at", "since", "acknowledged_at", "acknowledged_by", "intervening_at", "resolved_at",
)  # fmt: skip
"""What an incident says of itself, and its record proves."""

OneIncident = Annotated[str | None, typer.Option("--incident", help="Only the one with this id.")]


@dataclass(frozen=True)
class Kept:
    """One incident's record, from the database or from an export."""

    incident_id: str
    head: Head | None
    entries: Sequence[Mapping[str, Any]]
    incident: Incident | None = None
    """None in an export, or where it is gone."""


@app.command("list")
def list_incidents(
    everything: Annotated[bool, typer.Option("--all", help="Those that are over as well.")] = False,
    data: DataFolder = DATA,
) -> None:
    """Show the open incidents, oldest first. Clients are pseudonyms."""
    incidents = [kept.incident for kept in asyncio.run(_read(stack_settings(data))) if kept.incident]
    table = Table(Column("id", no_wrap=True), "client", "level", "state", "opened", "entries")
    shown = [incident for incident in incidents if everything or incident.open]
    for one in shown:
        entries = str(one.record.count + one.record.before) if one.record else "-"
        table.add_row(one.id, one.client_id or "-", one.level, one.state, _clock(one.opened_at), entries)
    if shown:
        out.print(table)
    out.print(f"{len(shown)} incidents")


@app.command()
def show(
    incident_id: Annotated[str, typer.Argument(help="The id of an incident.")], data: DataFolder = DATA
) -> None:
    """Show every entry of an incident's record, in the order written."""
    (kept,) = asyncio.run(_read(stack_settings(data), incident_id))
    for entry in kept.entries:
        line = Moment.model_validate(entry["moment"])
        facts = {
            "by": line.by, "step": line.step, "channel": line.channel, "reached": line.reached, "note": line.note,
        }  # fmt: skip
        said = " ".join(f"{name}={value}" for name, value in facts.items() if value)
        mark = str(entry.get("hash", "not-chained"))[:12]
        text = f"{entry.get('number', '-'):>4}  {_clock(line.at)}  {mark}  {line.kind}  {said}"
        out.print(text.rstrip(), markup=False, highlight=False, soft_wrap=True)


@app.command()
def verify(
    incident_id: OneIncident = None,
    file: Annotated[Path | None, typer.Option(help="Prove an export instead of the database.")] = None,
    since: Annotated[
        Path | None, typer.Option(help="An earlier export: prove that what it knew is still there.")
    ] = None,
    data: DataFolder = DATA,
) -> None:
    """Prove that no entry was changed, removed, inserted or reordered since it was written.

    Ends with exit code 1 and names the entries where one was. Someone who may write the database can write a whole
    record anew: only an earlier export, kept where they cannot reach it, shows that (`--since`).
    """
    records = _exported(file) if file else asyncio.run(_read(stack_settings(data), incident_id))
    if incident_id and file:
        records = _only(records, incident_id)
    findings = [finding for kept in records for finding in prove(kept)]
    if since:
        earlier = _exported(since)
        findings += prove_since(records, _only(earlier, incident_id) if incident_id else earlier)
    for finding in findings:
        place = f", entry {finding.number}" if finding.number else ""
        line = f"incident {finding.incident_id}{place}: {finding.what}: {finding.said}"
        out.print(line, markup=False, soft_wrap=True, style="red")
    entries = sum(len(kept.entries) for kept in records)
    old = sum(1 for kept in records for entry in kept.entries if "hash" not in entry)
    unproven = f"; {old} were written before entries were chained, and are not proven" if old else ""
    verdict = f"{len(findings)} findings" if findings else "whole"
    out.print(f"{len(records)} incidents, {entries} entries: {verdict}{unproven}", soft_wrap=True)
    if findings:
        raise typer.Exit(1)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="The JSON Lines file to be written; it must not exist.")],
    incident_id: OneIncident = None,
    data: DataFolder = DATA,
) -> None:
    """Write the records to a file that verifies by itself, to be kept where nobody can change it.

    It leads to no client: in place of whom a flag is about stands a digest.
    """
    records = asyncio.run(_read(stack_settings(data), incident_id))
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Mistake(f"{file} cannot be written ({type(error).__name__}): name a new file") from None
    with open(descriptor, "w", encoding="utf-8") as lines:
        for kept in records:
            head = kept.head.model_dump() if kept.head else None
            entries = [record.exported(entry) for entry in kept.entries]
            said = {"incident_id": kept.incident_id, "record": head, "entries": entries}
            lines.write(json.dumps(said, default=str) + "\n")
    out.print(f"{len(records)} incidents, {sum(len(kept.entries) for kept in records)} entries: {file}")


# --- proving --------------------------------------------------------------------------------------------------


def prove(kept: Kept) -> list[Finding]:
    """What is wrong with one record."""
    if kept.incident is None:
        return record.check(kept.incident_id, kept.head, kept.entries)
    erased = kept.incident.client_id == ERASED or kept.incident.erase
    findings = record.check(kept.incident_id, kept.head, kept.entries, erased=erased)
    return findings or _summary(kept.incident, kept.entries)


def _summary(incident: Incident, entries: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Whether the incident says of itself what its record tells."""
    try:
        told = domain.retold(incident, [Moment.model_validate(entry["moment"]) for entry in entries])
    except (
        ValidationError,
        KeyError,
    ):  # chained entries are as we wrote them: it is one from before the chain
        return [Finding(incident.id, "changed", None, "an entry that is in no chain cannot be read")]
    differing = [name for name in SUMMARY if getattr(told, name) != getattr(incident, name)]
    if not entries or not differing:  # an escalated deadline is stored before its first entry
        return []
    return [Finding(incident.id, "changed", None, f"its record tells otherwise of: {', '.join(differing)}")]


def prove_since(records: Sequence[Kept], earlier: Sequence[Kept]) -> list[Finding]:
    """What an earlier export knew and is not there any more."""
    now = {kept.incident_id: kept for kept in records}
    findings: list[Finding] = []
    for known in earlier:
        present = now.get(known.incident_id)
        if present is None:
            findings.append(Finding(known.incident_id, "removed", None, "an earlier export knows it"))
        elif known.head is not None:
            findings += record.holds(known.head, known.incident_id, present.entries)
    return findings


# --- reading --------------------------------------------------------------------------------------------------


async def _read(settings: Settings, incident_id: str | None = None) -> list[Kept]:
    async with _store(settings) as store:
        ids = await store.kept(incident_id)
        if incident_id and not ids:
            raise Mistake(f"there is no incident {incident_id}: `aftercare incidents list --all` shows them")
        return [await _one(store, one) for one in ids]


async def _one(store: Store, incident_id: str) -> Kept:
    try:
        incident, entries = await store.record(incident_id)
    except ValidationError:
        raise Mistake(f"incident {incident_id} cannot be read: somebody changed it in the database") from None
    return Kept(incident_id, incident.record if incident else None, entries, incident)


@asynccontextmanager
async def _store(settings: Settings) -> AsyncIterator[Store]:
    async with service_databases(settings) as databases:
        yield Store(databases["crisis"])


def _exported(file: Path) -> list[Kept]:
    """The records of an export. Raises Mistake."""
    try:
        documents = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]
        return [
            Kept(
                one["incident_id"],
                Head.model_validate(one["record"]) if one["record"] else None,
                one["entries"],
            )
            for one in documents
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Mistake(f"{file} is no export of incidents ({type(error).__name__})") from None


def _only(records: Sequence[Kept], incident_id: str) -> list[Kept]:
    return [kept for kept in records if kept.incident_id == incident_id]


def _clock(instant: Any) -> str:
    return f"{instant.astimezone(COMPANY_ZONE):%Y-%m-%d %H:%M:%S}" if instant else "-"
