"""What people change of the rota: somebody else is on call for a while, or two swap their shifts.

An override is written once and never changed; taken back it stays, marked. The later one counts where two overlap.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from services.crisis.oncall.rotation import Held, Span
from services.crisis.oncall.shifts import Shift
from shared.contracts.types import write_time
from shared.mongo.documents import Document

LONGEST_OVERRIDE = timedelta(days=92)
"""Longer ones belong into the file."""


class Override(Document):
    """Somebody is on call in a role from `start` (inclusive) to `end` (exclusive), whatever the layers say."""

    collection: ClassVar[str] = "overrides"

    role: str
    person: str
    start: datetime
    end: datetime
    number: Annotated[int, Field(ge=1)]
    """Which of them was made first: the time of two may be the same."""
    swap: str | None = None
    """What the two overrides of a swap have in common; taken back, they go together."""
    made_by: str
    made_at: datetime
    withdrawn_by: str | None = None
    withdrawn_at: datetime | None = None


class NotPossible(Exception):
    """It would change nothing, or not what was meant. The message says why."""


def in_force(overrides: Iterable[Override], role: str) -> list[Held]:
    """What holds for a role, the latest last."""
    valid = [one for one in overrides if one.role == role and one.withdrawn_at is None]
    return [
        Held(one.person, one.start, one.end) for one in sorted(valid, key=lambda one: (one.number, one.id))
    ]


def override(
    known: Sequence[Override], role: str, person: str, span: Span, by: str, now: datetime
) -> Override:
    """A new override, or the one that already says so. Raises NotPossible."""
    if span.end <= span.start:
        raise NotPossible("it must end after it begins")
    if span.end <= now:
        raise NotPossible("it is over already: the past cannot be changed")
    if span.end - span.start > LONGEST_OVERRIDE:
        raise NotPossible(
            f"an override may last {LONGEST_OVERRIDE.days} days: longer ones belong into the file"
        )
    for one in known:
        if _holds(one, known) and (one.role, one.person, one.start, one.end) == (
            role,
            person,
            span.start,
            span.end,
        ):
            return one
    return _new(known, role, person, span, by, now)


def swap(
    known: Sequence[Override], one: Shift, other: Shift, people: tuple[str, str], by: str, now: datetime
) -> tuple[Override, Override]:
    """Each takes the other's whole shift; `people` are those who are meant to have the shifts before.

    Returns the swap that already did so where there is one. Raises NotPossible.
    """
    if people[0] == people[1]:
        raise NotPossible("the same person has both shifts")
    if min(one.start, other.start) <= now:
        raise NotPossible("one of the shifts has begun: make an override for the rest of it")
    if (one.person, other.person) == (people[1], people[0]):
        done = [_swapped(known, shift) for shift in (one, other)]
        if done[0] and done[1] and done[0].swap == done[1].swap:
            return done[0], done[1]
    if (one.person, other.person) != people:
        raise NotPossible("the shifts are not theirs: look again who has them")
    taken = [
        _new(known, mine.role, yours.person, Span(mine.start, mine.end), by, now)
        for mine, yours in ((one, other), (other, one))
    ]
    name = _digest("swap", *sorted(part.id for part in taken))
    return taken[0].model_copy(update={"swap": name}), taken[1].model_copy(update={"swap": name})


def withdrawn(known: Sequence[Override], key: str, by: str, now: datetime) -> list[Override]:
    """The override of this id, or both of a swap, taken back; as they are if they are already. Empty: no such one."""
    named = {one.swap or one.id for one in known if key in (one.id, one.swap)}
    return [
        one if one.withdrawn_at else one.model_copy(update={"withdrawn_by": by, "withdrawn_at": now})
        for one in known
        if (one.swap or one.id) in named
    ]


def _holds(one: Override, known: Sequence[Override]) -> bool:
    """Whether it is in force alone: not of a swap, not taken back, not overtaken by a later one."""
    if one.withdrawn_at is not None or one.swap is not None:
        return False
    return not any(
        later.role == one.role
        and later.withdrawn_at is None
        and (later.number, later.id) > (one.number, one.id)
        and later.start < one.end
        and one.start < later.end
        for later in known
    )


def _swapped(known: Sequence[Override], shift: Shift) -> Override | None:
    """The half of a swap that a shift is, if it is one."""
    told = (shift.role, shift.person, shift.start, shift.end)
    halves = [one for one in known if one.swap and one.withdrawn_at is None]
    return next((one for one in halves if (one.role, one.person, one.start, one.end) == told), None)


def _new(known: Sequence[Override], role: str, person: str, span: Span, by: str, now: datetime) -> Override:
    # The id follows from what is asked and what is known: two replicas that are asked the same at once make one.
    number = max((one.number for one in known), default=0) + 1
    return Override(
        id=_digest(role, person, write_time(span.start), write_time(span.end), str(number)),
        role=role,
        person=person,
        start=span.start,
        end=span.end,
        number=number,
        made_by=by,
        made_at=now,
    )


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:20]
