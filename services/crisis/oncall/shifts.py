"""Who is on call in a role: layers and overrides laid over each other, the gaps, and who comes next."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from services.crisis.oncall.rotation import Held, Span

Source = Literal["rotation", "override"]


@dataclass(frozen=True, slots=True)
class Shift:
    """Somebody is on call in a role, from `start` (inclusive) to `end` (exclusive)."""

    role: str
    person: str
    start: datetime
    end: datetime
    source: Source


@dataclass(frozen=True, slots=True)
class Gap:
    """Nobody is on call in a role, from `start` (inclusive) to `end` (exclusive)."""

    role: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class NowAndNext:
    """Who holds a role, until when, and who does then. Nobody: a gap. `next_at` is None where nothing changes."""

    role: str
    now: tuple[str, ...]
    next_at: datetime | None
    next: tuple[str, ...]


def shifts(role: str, layers: Iterable[Sequence[Held]], overrides: Sequence[Held], span: Span) -> list[Shift]:
    """The shifts that touch the span, in the order of time, no two at once.

    A layer covers those after it, a later override earlier ones and all layers. Shifts are whole, not cut at the
    edges of the span.
    """
    found: list[Shift] = []
    for override in reversed(overrides):
        found = _under(found, [Shift(role, override.person, override.start, override.end, "override")])
    for layer in layers:
        found = _under(found, [Shift(role, one.person, one.start, one.end, "rotation") for one in layer])
    return [shift for shift in found if shift.start < span.end and span.start < shift.end]


def one_after_the_other(events: Iterable[Held]) -> list[Held]:
    """The same without two at once: who begins first keeps it to the end."""
    kept: list[Held] = []
    for event in sorted(events, key=lambda event: (event.start, event.end, event.person)):
        if kept and event.start < kept[-1].end:
            if event.end <= kept[-1].end:
                continue
            event = replace(event, start=kept[-1].end)
        kept.append(event)
    return kept


def gaps(role: str, found: Sequence[Shift], span: Span) -> list[Gap]:
    """When nobody holds the role within the span, given the shifts that touch it."""
    empty: list[Gap] = []
    since = span.start
    for shift in found:
        if shift.start > since:
            empty.append(Gap(role, since, shift.start))
        since = max(since, shift.end)
    if since < span.end:
        empty.append(Gap(role, since, span.end))
    return empty


def holder(found: Sequence[Shift], now: datetime) -> str | None:
    """Who is on call at this instant."""
    return next((shift.person for shift in found if shift.start <= now < shift.end), None)


def now_and_next(role: str, found: Sequence[Shift], span: Span) -> NowAndNext:
    """Who is on call at the beginning of the span, and when in it somebody else is, or nobody."""
    present = holder(found, span.start)
    edges = sorted({edge for shift in found for edge in (shift.start, shift.end) if edge > span.start})
    for edge in edges:
        if edge >= span.end:
            break  # what comes then was not asked for
        following = holder(found, edge)
        if following != present:
            return NowAndNext(role, _one(present), edge, _one(following))
    return NowAndNext(role, _one(present), None, ())


def _one(person: str | None) -> tuple[str, ...]:
    return () if person is None else (person,)


def _under(upper: Sequence[Shift], lower: Sequence[Shift]) -> list[Shift]:
    """Both, in the order of time, with only that of the lower which the upper leaves free."""
    ends = [shift.end for shift in upper]
    free = [part for shift in lower for part in _free(shift, upper[bisect_right(ends, shift.start) :])]
    return sorted([*upper, *free], key=lambda shift: shift.start)


def _free(shift: Shift, upper: Iterable[Shift]) -> Iterator[Shift]:
    start = shift.start
    for cover in upper:
        if cover.start >= shift.end:
            break
        if cover.start > start:
            yield replace(shift, start=start, end=cover.start)
        start = cover.end
    if start < shift.end:
        yield replace(shift, start=start)
