"""One layer of a schedule: people who take turns, at a local time, perhaps on certain days and hours only.

Turns are counted on the wall clock of the layer's time zone: a hand-over at 09:00 is at 09:00 on both sides of a
change to summer time, so that one turn of that week is an hour shorter or longer. A time that is skipped that day
counts as the same number of minutes after the change, one that comes twice as its first coming.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo

from pydantic import Field, PlainValidator, model_validator

from services.crisis.parts import Part
from shared.contracts.types import Code, Id
from shared.policy.workdays import WorkCalendar

DAY = timedelta(days=1)
SHORTEST = timedelta(hours=4)
"""Longer than any change of a zone's offset, so that each turn ends after it has begun."""
LONGEST = timedelta(days=366)

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)
Days = Weekday | Literal["working-days", "days-off"]
"""`working-days`, `days-off`: by the State Council's calendar, make-up days included (shared/policy/workdays.py)."""

_UNITS = {"hour": timedelta(hours=1), "day": DAY, "week": timedelta(weeks=1)}


def _clock_time(value: Any) -> time:
    # YAML reads 18:00 without quotes as a number to the base 60, which is the minute of the day.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60:
        return time(value // 60, value % 60)
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("it must be a time of the day such as 09:00")
    return time(int(match[1]), int(match[2]))


def _length(value: Any) -> timedelta:
    match = re.fullmatch(r"(?:([1-9]\d{0,3}) )?(hour|day|week)s?", value) if isinstance(value, str) else None
    length = int(match[1] or 1) * _UNITS[match[2]] if match else timedelta()
    if not SHORTEST <= length <= LONGEST:
        raise ValueError(
            "it must be day, week, or a length such as 12 hours or 10 days, from 4 hours to a year"
        )
    return length


Day = Annotated[date, Field(ge=date(2000, 1, 1), lt=date(2200, 1, 1))]
ClockTime = Annotated[time, PlainValidator(_clock_time)]
Length = Annotated[timedelta, PlainValidator(_length)]


class Hours(Part):
    """A part of the day. `until` at or before `since` is on the next day."""

    since: ClockTime
    until: ClockTime


class Rotation(Part):
    """A layer whose people take turns."""

    name: Code
    people: Annotated[tuple[Id, ...], Field(min_length=1)]
    """In the order of their turns; who is named twice has two turns."""
    begins: Day
    """The first turn begins on this day, at `hand_over`."""
    ends: Day | None = None
    """The last turn ends on this day, at `hand_over`."""
    hand_over: ClockTime = time(9)
    every: Length = timedelta(weeks=1)
    """How long a turn lasts."""
    time_zone: ZoneInfo | None = None
    """Unset: that of the rota."""
    hours: Hours | None = None
    """Unset: the whole day, from one hand-over to the next."""
    only_on: tuple[Days, ...] = ()
    """Unset: every day. A day is that on which its `hours`, or its first hand-over, begin."""

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Rotation:
        if self.ends is not None and self.ends <= self.begins:
            raise ValueError("it must end after it begins")
        return self

    def runs_on(self, day: date, *, worked: bool) -> bool:
        """Whether the layer has somebody on this day, if it is worked or not."""
        kind: Days = "working-days" if worked else "days-off"
        return not self.only_on or kind in self.only_on or _WEEKDAYS[day.weekday()] in self.only_on


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody holds something from `start` (inclusive) to `end` (exclusive)."""

    person: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, from `start` (inclusive) to `end` (exclusive)."""

    start: datetime
    end: datetime


def instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant, in UTC, at which the wall clocks of a zone first show this time."""
    return wall.replace(tzinfo=zone).astimezone(UTC)


def turns(layer: Rotation, zone: ZoneInfo, span: Span) -> Iterator[Held]:
    """Whose turn it is, one after the other without a gap, for every turn that touches the span."""
    first = datetime.combine(layer.begins, layer.hand_over)
    over = instant(datetime.combine(layer.ends, layer.hand_over), zone) if layer.ends else None
    number = max((span.start.astimezone(zone).replace(tzinfo=None) - first) // layer.every - 1, 0)
    start = instant(first + number * layer.every, zone)
    while start < span.end and (over is None or start < over):
        end = instant(first + (number + 1) * layer.every, zone)
        if over is not None:
            end = min(end, over)
        if end > span.start:
            yield Held(layer.people[number % len(layer.people)], start, end)
        number, start = number + 1, end


def held(layer: Rotation, zone: ZoneInfo, span: Span, calendar: WorkCalendar) -> list[Held]:
    """Who holds the layer, in the order of time, whatever touches the span.

    In a year whose working days are unknown, what the calendar assumes counts (see `perhaps_held`).
    """
    found = turns(layer, zone, span)
    if not (layer.hours or layer.only_on):
        return list(found)
    days = [day for day in _days(span, zone) if layer.runs_on(day, worked=calendar.is_working(day))]
    return _within(found, _merged(_spans(layer, zone, days)))


def perhaps_held(layer: Rotation, zone: ZoneInfo, span: Span, calendar: WorkCalendar) -> list[Held]:
    """Who would hold the layer on days of an unknown year, if these are not what the calendar assumes of them.

    Such a shift stands behind all layers: nobody is left alone because nobody knows what day it is.
    """
    if not {"working-days", "days-off"}.intersection(layer.only_on):
        return []
    days = [
        day
        for day in _days(span, zone)
        if not calendar.known(day)
        and layer.runs_on(day, worked=not calendar.is_working(day))
        and not layer.runs_on(day, worked=calendar.is_working(day))
    ]
    return _within(turns(layer, zone, span), _merged(_spans(layer, zone, days)))


def _days(span: Span, zone: ZoneInfo) -> Iterator[date]:
    day, last = (edge.astimezone(zone).date() for edge in (span.start - DAY, span.end))
    while day <= last:
        yield day
        day += DAY


def _spans(layer: Rotation, zone: ZoneInfo, days: Iterable[date]) -> Iterator[Span]:
    since, until = (
        (layer.hours.since, layer.hours.until) if layer.hours else (layer.hand_over, layer.hand_over)
    )
    for day in days:
        end = datetime.combine(day if until > since else day + DAY, until)
        found = Span(instant(datetime.combine(day, since), zone), instant(end, zone))
        if found.start < found.end:  # a short part of the day may be just what summer time skips
            yield found


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in spans:
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def _within(found: Iterable[Held], spans: list[Span]) -> list[Held]:
    """The parts of what is held that lie in one of the spans."""
    return [
        Held(turn.person, max(turn.start, span.start), min(turn.end, span.end))
        for turn in found
        for span in spans
        if turn.start < span.end and span.start < turn.end
    ]
