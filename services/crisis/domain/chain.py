"""The chain of an incident (F59): which step is next and when, and the later channels of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.crisis.domain.incident import Incident, Moment
from shared.policy.model import CrisisChain, CrisisStep

HEAD_MARGIN = timedelta(seconds=105)
"""F59 says *told* within 10 minutes: the page leaves this much earlier. So it is in time though a replica dies at it
(another waits 60 s for its claim) and providers take all the 45 s that they have."""


@dataclass(frozen=True)
class Page:
    """A page that must go out now, to everyone who has one of the roles."""

    key: str
    """Unique within the incident: sending it again writes nothing new."""
    roles: tuple[str, ...]
    step: str
    run: int = 0
    round: int = 0
    index: int = -1
    opens: bool = False
    """Whether it is the first of its round."""
    stage: float = 0.0
    """Seconds after the step's first page, for the later channels of those whom it reached."""
    people: tuple[str, ...] = ()
    """Of a later stage: who it goes to, whatever roles they have by now."""
    within: float | None = None
    """Of a later stage: so many seconds it has, so that it does not hold up the chain."""


def steps(incident: Incident, chain: CrisisChain) -> Sequence[CrisisStep]:
    """The chain of this incident. A deadline begins with the role that it names."""
    if incident.deadline is None:
        return chain.escalation
    first = chain.escalation[0].model_copy(update={"name": "role", "role": incident.deadline.role})
    later = [step for step in chain.escalation[1:] if step.role != incident.deadline.role]
    return [first, *later]


@dataclass(frozen=True)
class Place:
    """A step of the running chain, and when it is due."""

    round: int
    index: int
    at: datetime
    opens: bool
    """Whether it is the first of its round."""


def position(incident: Incident, chain: CrisisChain) -> Place:
    """The next step of the running chain, and when it is due.

    A step is due at its time after the start of its round. Where one before reached nobody it comes at once, and
    those after it keep their distance: nobody is waited for who was not reached.
    """
    assert incident.run_at is not None
    attempts = _attempts(incident)
    # Only the last two rounds are kept with the incident: begin at the one before the newest, if it is whole.
    newest = max((number for number, _ in attempts), default=0)
    number = newest - 1 if (newest - 1, len(steps(incident, chain)) - 1) in attempts else newest
    begun = [moment.at for (round_, _), moment in attempts.items() if round_ == number]
    start = min(begun, default=incident.run_at) if number else incident.run_at
    while True:
        place = _within_round(incident, chain, attempts, number, start)
        if place is not None:
            return place
        start = _next_round_at(incident, chain, attempts, number)
        number += 1


def _attempts(incident: Incident) -> dict[tuple[int, int], Moment]:
    """The line of each step of the running chain, by round and index: where one replica reached somebody and another
    nobody, somebody was reached."""
    found: dict[tuple[int, int], Moment] = {}
    for moment in incident.timeline:
        place = (moment.round, moment.index)
        if is_attempt(moment, incident.run) and (place not in found or found[place].kind == "page-failed"):
            found[place] = moment
    return found


def _within_round(
    incident: Incident,
    chain: CrisisChain,
    attempts: dict[tuple[int, int], Moment],
    number: int,
    start: datetime,
) -> Place | None:
    chain_steps = steps(incident, chain)
    first = _first_index(incident, chain, number, start)
    due_at, before = start, _offset(chain_steps[first], chain)
    for index, step in enumerate(chain_steps[first:], first):
        offset = _offset(step, chain)
        if index > first:
            last = attempts[number, index - 1]
            distance = timedelta(0) if last.kind == "page-failed" else offset - before
            due_at = min(start + offset, last.at + distance)
        if (number, index) not in attempts:
            return Place(number, index, due_at, opens=index == first)
        before = offset
    return None


def _first_index(incident: Incident, chain: CrisisChain, number: int, start: datetime) -> int:
    """The step at which a round begins that starts then: in the first round always the first."""
    assert incident.since is not None
    name = chain.repetition(max(start - incident.since, timedelta(0))).begin_at if number else None
    return next((index for index, step in enumerate(steps(incident, chain)) if step.name == name), 0)


def _next_round_at(
    incident: Incident, chain: CrisisChain, attempts: dict[tuple[int, int], Moment], number: int
) -> datetime:
    done = [moment for (round_, _), moment in attempts.items() if round_ == number]
    last = max(moment.at for moment in done)
    assert incident.since is not None
    widening = chain.repetition(max(last - incident.since, timedelta(0))).every
    ended_well = max(done, key=lambda moment: moment.index).kind == "paged"
    if ended_well or all(moment.channel == "no-channel" for moment in done):
        return last + widening
    return last + min(retry_after(number), widening)


def _offset(step: CrisisStep, chain: CrisisChain) -> timedelta:
    if step.role == chain.head_role:  # F59: told, not just sent, within the limit
        return min(step.after, chain.head_within - HEAD_MARGIN)
    return step.after


def retry_after(tries: int) -> timedelta:
    """How long to wait after nobody could be reached: providers are down, and come back soon or late."""
    if tries < 20:
        return timedelta(seconds=30)
    return timedelta(minutes=1 if tries < 80 else 5)


def later_stages(incident: Incident) -> list[tuple[datetime, Page]]:
    """The later channels of those whom a step of the newest round reached, each with its time.

    Seen beside the chain: whether they reach anybody moves none of its steps. Who was reached over a later channel
    at once, because the first took nothing, is not tried over it again.
    """
    pages = [m for m in incident.timeline if _is_page(m, incident.run) and m.index >= 0]
    newest = max((moment.round for moment in pages), default=0)
    coming: list[tuple[datetime, Page]] = []
    for first in pages:
        if first.round != newest or first.stage:
            continue
        same = [m for m in pages if (m.round, m.index) == (first.round, first.index) and m.stage]
        done = {moment.stage for moment in same}
        for stage in sorted({later for contact in first.contacts for later in contact.later} - done):
            beyond = {c.person for moment in same for c in moment.contacts if c.after >= stage}
            people = tuple(c.person for c in first.contacts if stage in c.later and c.person not in beyond)
            if people:
                coming.append((first.at + timedelta(seconds=stage), _stage_of(first, stage, people)))
    return coming


def _stage_of(first: Moment, stage: float, people: tuple[str, ...]) -> Page:
    key = f"{first.run}.{first.round}.{first.index}+{stage:g}"
    roles = (first.role,) if first.role else ()
    return Page(key, roles, first.step or "", first.run, first.round, first.index, stage=stage, people=people)


def _is_page(moment: Moment, run: int) -> bool:
    return moment.kind in ("paged", "page-failed") and moment.run == run


def is_attempt(moment: Moment, run: int) -> bool:
    """Whether the line is a step of the chain; its later stages are not, and move nothing."""
    return _is_page(moment, run) and moment.index >= 0 and not moment.stage


def attempt(incident: Incident, run: int, number: int, index: int) -> Moment | None:
    """The line of a step of the chain; None as long as it was not tried."""
    wanted = (number, index)
    found = (m for m in incident.timeline if is_attempt(m, run) and (m.round, m.index) == wanted)
    return next(found, None)
