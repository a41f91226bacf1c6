"""The fold: an incident from the lines of its timeline, in whatever order and however often they come."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from services.crisis.domain.incident import RANK, Incident, Kind, Moment


def extend(incident: Incident, moments: Iterable[Moment]) -> Incident:
    """The incident with further lines in its timeline; known ones change nothing, order does not matter."""
    known = {moment.id for moment in incident.timeline}
    fresh = sorted((m for m in moments if m.id not in known), key=lambda moment: moment.order)
    if not fresh:
        return incident
    if incident.timeline and fresh[0].order < incident.timeline[-1].order:
        fresh = sorted((*incident.timeline, *fresh), key=lambda moment: moment.order)
        incident = blank(incident)
    timeline = (*incident.timeline, *fresh)
    for moment in fresh:
        incident = evolve(incident, moment)
    return incident.model_copy(update={"timeline": timeline})


def merge(stored: Incident, other: Incident) -> Incident:
    """Two versions of one incident: the stored one's id and marks, the lines of both."""
    merged = extend(stored, other.timeline)
    aliases = dict.fromkeys((*stored.aliases, other.id, *other.aliases))
    return merged.model_copy(
        update={
            "aliases": tuple(alias for alias in aliases if alias != stored.id),
            "erase": stored.erase or other.erase,
        }
    )


def retold(incident: Incident, lines: Iterable[Moment]) -> Incident:
    """The incident as these lines tell it, whatever it says of itself: to prove the one by the other."""
    return extend(blank(incident), lines)


def blank(incident: Incident) -> Incident:
    """The incident before its first line."""
    return Incident(
        id=incident.id, client_id=incident.client_id, drill=incident.drill, deadline=incident.deadline,
        aliases=incident.aliases, erase=incident.erase, awaiting=False, record=incident.record,
        flags_written=incident.flags_written,
    )  # fmt: skip


def evolve(incident: Incident, moment: Moment) -> Incident:
    """The state after one more line; the timeline itself is left to the caller, who has many to add."""
    change = _effect(incident, moment)
    return incident.model_copy(update=change) if change else incident


def _effect(incident: Incident, moment: Moment) -> dict[str, Any]:
    change: dict[str, Any] = {}
    match moment.kind:
        case "flagged":
            change |= _flagged(incident, moment)
        case "paged" | "page-failed":
            change |= _paged(incident, moment)
        case "lapsed":
            # Another replica may have heard of the intervention, or of the end, before the time was up.
            if incident.state == "acknowledged" and not incident.awaiting:
                change |= _start(incident, moment.at)
        case "acknowledged":
            change |= {"awaiting": False, "acknowledged_at": moment.at, "worse": None}
            change["acknowledged_by"] = moment.by
            if incident.state == "opened":
                change["state"] = "acknowledged" if incident.crisis else "resolved"
                change["resolved_at"] = None if incident.crisis else moment.at
        case "intervening":
            change |= {"state": "intervening", "awaiting": False, "worse": None}
            change["intervening_at"] = moment.at
        case "resolved":
            change |= {"state": "resolved", "awaiting": False, "resolved_at": moment.at, "worse": None}
        case "reopened":
            change |= _reopened(incident, moment.at)
        case "escalated" | "repeated" | "unanswered" | "assessed" | "referred" | "responded" | "joined":
            pass  # told to others; it moves nothing
        case "delivered" | "undelivered" | "answered" | "key-pressed":
            pass  # only noted: a key that acknowledges has a line of its own for that
    return change


def _flagged(incident: Incident, moment: Moment) -> dict[str, Any]:
    flag = moment.flag
    assert flag is not None
    if incident.opened_at is None:
        change = _start(incident, moment.at)
        return change | {"opened_at": moment.at, "since": flag.flagged_at, "level": flag.level}
    if not incident.open:
        return _reopened(incident, moment.at) | {"level": flag.level}
    worse = RANK[flag.level] > RANK[incident.level]
    # An unreadable flag may speak of another person than the one acknowledged.
    again = not incident.awaiting and (worse or flag.level == "unknown")
    change = {"level": flag.level} if worse else {}
    if again:
        return change | _start(incident, moment.at)
    return change | ({"worse": flag.name} if worse else {})


def _paged(incident: Incident, moment: Moment) -> dict[str, Any]:
    change: dict[str, Any] = {}
    if moment.note and moment.note.startswith("worse "):
        change["worse"] = None
    if moment.step == "head" and incident.head_told_at is None:
        if moment.kind == "paged":
            change["head_told_at"] = moment.at
        change |= {"head_tries": incident.head_tries + 1, "head_tried_at": moment.at}
    return change


def _start(incident: Incident, at: datetime) -> dict[str, Any]:
    return {"awaiting": True, "run": incident.run + 1, "run_at": at, "worse": None}


def _reopened(incident: Incident, at: datetime) -> dict[str, Any]:
    """A reopened incident has all its clocks anew."""
    return _start(incident, at) | {
        "state": "opened",
        "since": at,
        "reopenings": incident.reopenings + 1,
        "acknowledged_at": None,
        "acknowledged_by": None,
        "intervening_at": None,
        "resolved_at": None,
        "head_told_at": None,
        "head_tries": 0,
        "head_tried_at": None,
    }


def next_line(incident: Incident, key: str, kind: Kind, at: datetime, **more: Any) -> Moment:
    """A line to add at the end of its timeline."""
    seq = incident.timeline[-1].seq + 1 if incident.timeline else 0
    last = incident.timeline[-1].at if incident.timeline else at
    # A machine's clock may step back; a timeline does not.
    return Moment(id=key, seq=seq, at=max(at, last), kind=kind, **more)
