"""What time does: when something must happen next, what lapses, and which pages are due (F59, A30)."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

from services.crisis.domain.chain import (
    HEAD_MARGIN,
    Page,
    attempt,
    later_stages,
    position,
    retry_after,
    steps,
)
from services.crisis.domain.fold import extend, next_line
from services.crisis.domain.incident import Incident
from shared.policy.model import CrisisChain

GRACE = timedelta(minutes=10)
"""Who acknowledges only after A30's time is up gets this long before the chain starts again."""
HEAD_RETRIES_ONCE_RESOLVED = 5
SHORTEST_STAGE, LONGEST_STAGE = 5.0, 45.0
"""Seconds that a page over the later channels of a step may take."""


def settled(incident: Incident, chain: CrisisChain) -> bool:
    """Nothing will happen any more unless a person does something."""
    return not incident.open and _head_at(incident, chain) is None


def next_at(incident: Incident, chain: CrisisChain) -> datetime | None:
    """When something must happen next; never None while somebody must acknowledge."""
    instants = [_lapses_at(incident, chain), _head_at(incident, chain)]
    if incident.worse:
        instants.append(incident.timeline[-1].at)
    if incident.awaiting:
        instants.append(position(incident, chain).at)
        instants += [at for at, _ in later_stages(incident)]
    return min((instant for instant in instants if instant is not None), default=None)


def elapse(incident: Incident, chain: CrisisChain, now: datetime) -> Incident:
    """What became of the incident by time alone: A30 has lapsed, the chain stayed unanswered, a drill is over."""
    lapses_at = _lapses_at(incident, chain)
    if lapses_at is not None and lapses_at <= now:
        key = f"lapsed {incident.run}"
        incident = extend(incident, [next_line(incident, key, "lapsed", now, step="no-intervention")])
    if not incident.awaiting:
        return incident
    place = position(incident, chain)
    if place.round != 1 or not place.opens or place.at > now:
        return incident
    if incident.drill:
        # A forgotten drill must not page for ever: one round measures the whole path.
        return extend(
            incident,
            [next_line(incident, f"resolved {incident.reopenings}", "resolved", now, step="drill-over")],
        )
    key = f"unanswered {incident.run}"
    line = next_line(incident, key, "unanswered", now, run=incident.run)
    return extend(incident, [line])


def due(incident: Incident, chain: CrisisChain, now: datetime) -> tuple[Page, ...]:
    """The pages that must go out now. Call `elapse` first."""
    pages: list[Page] = []
    if incident.awaiting:
        place = position(incident, chain)
        if place.at <= now:
            step = steps(incident, chain)[place.index]
            key = f"{incident.run}.{place.round}.{place.index}"
            pages.append(
                Page(key, (step.role,), step.name, incident.run, place.round, place.index, place.opens)
            )
    if incident.worse:
        roles = tuple(
            step.role
            for index, step in enumerate(steps(incident, chain))
            if attempt(incident, incident.run, 0, index)
        )
        pages.append(Page(f"worse {incident.worse}", roles or (steps(incident, chain)[0].role,), "worse"))
    head = _head_at(incident, chain)
    if head is not None and head <= now and not pages:  # else the chain may be about to reach the head
        key = f"head {incident.reopenings}.{_tries_outside_chain(incident)}"
        pages.append(Page(key, (chain.head_role,), "head"))
    if incident.awaiting:
        within = _seconds_left(incident, chain, now)
        stages = (page for at, page in later_stages(incident) if at <= now)
        pages += [dataclasses.replace(page, within=within) for page in stages]
    return tuple(pages)


def _head_at(incident: Incident, chain: CrisisChain) -> datetime | None:
    """F59: when the head must be paged outside the chain; None once told. An early end does not lift it."""
    if not incident.crisis or incident.head_told_at or incident.since is None:
        return None
    first = incident.resolved_at or incident.since + chain.head_within - HEAD_MARGIN
    if incident.head_tried_at is None:
        return max(first, incident.opened_at or first)
    if not incident.open and incident.head_tries >= HEAD_RETRIES_ONCE_RESOLVED:
        return None
    return max(first, incident.head_tried_at + retry_after(incident.head_tries))


def _lapses_at(incident: Incident, chain: CrisisChain) -> datetime | None:
    """A30: when an acknowledged incident without intervention pages again."""
    if not incident.crisis or incident.awaiting or incident.state != "acknowledged":
        return None
    assert incident.since is not None
    assert incident.acknowledged_at is not None
    limit = incident.since + chain.intervention_within
    return limit if incident.acknowledged_at < limit else incident.acknowledged_at + GRACE


def _seconds_left(incident: Incident, chain: CrisisChain, now: datetime) -> float:
    """How long a later stage may take: until the chain or F59 goes on, but long enough for one answer."""
    coming = (position(incident, chain).at, _head_at(incident, chain))
    following = min((at for at in coming if at is not None and at > now), default=None)
    left = (following - now).total_seconds() if following else LONGEST_STAGE
    return min(max(left, SHORTEST_STAGE), LONGEST_STAGE)


def _tries_outside_chain(incident: Incident) -> int:
    told = (m for m in incident.timeline if m.kind in ("paged", "page-failed"))
    return sum(1 for m in told if m.step == "head" and m.index < 0)
