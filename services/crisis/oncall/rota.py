"""The file of the rota: a schedule for each role that somebody is on call in.

```yaml
time_zone: Asia/Shanghai
schedules:
  - role: on-call                  # a role of the policy's crisis chain
    layers:                        # the first that has somebody counts
      - name: holidays
        only_on: [days-off]
        people: [staff-021, staff-022]
        begins: 2026-01-05
        every: week                # or day, 10 days, 12 hours
        hand_over: 09:00
      - name: visiting             # shifts out of a calendar, beside this file
        calendar: visiting.ics
        people: {visitor@example.com: staff-030}
      - name: weeks
        people: [staff-017, staff-018, staff-019]
        begins: 2026-01-05
```

People are the ids of the roster. All fields: docs/on-call.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Discriminator, Field, Tag, model_validator

from services.crisis.oncall.ical import CalendarError, Events, read_calendar
from services.crisis.oncall.overrides import Override, in_force
from services.crisis.oncall.rotation import LONGEST, Held, Rotation, Span, held, perhaps_held
from services.crisis.oncall.shifts import Shift, one_after_the_other, shifts
from services.crisis.parts import Part
from shared.contracts.types import COMPANY_ZONE, Code, Id
from shared.policy.reading import PolicyError, Problem, problem_at, read
from shared.policy.workdays import WorkCalendar


class CalendarLayer(Part):
    """A layer whose shifts are the events of a calendar file."""

    name: Code
    calendar: Path
    """Where the file is, from the folder of the rota's."""
    people: dict[str, Id] = Field(default_factory=dict)
    """Who is meant by an event's attendee (an address) or title; not needed where the title is the id itself."""
    time_zone: ZoneInfo | None = None
    """That of times without one. Unset: that of the rota."""


def _kind(layer: Any) -> str:
    given = layer if isinstance(layer, dict) else vars(layer)
    return "calendar" if "calendar" in given else "rotation"


Layer = Annotated[
    Annotated[Rotation, Tag("rotation")] | Annotated[CalendarLayer, Tag("calendar")], Discriminator(_kind)
]


class Schedule(Part):
    """Who is on call in one role."""

    role: Code
    layers: Annotated[tuple[Layer, ...], Field(min_length=1)]
    """The first that has somebody counts."""

    @model_validator(mode="after")
    def _names_once(self) -> Schedule:
        names = [layer.name for layer in self.layers]
        if len(names) != len(set(names)):
            raise ValueError("two layers have the same name: give each its own")
        return self


class RotaFile(Part):
    """What the file says."""

    time_zone: ZoneInfo = COMPANY_ZONE
    schedules: tuple[Schedule, ...] = ()

    @model_validator(mode="after")
    def _roles_once(self) -> RotaFile:
        roles = [schedule.role for schedule in self.schedules]
        if len(roles) != len(set(roles)):
            raise ValueError("a role has two schedules: put their layers into one")
        return self


@dataclass(frozen=True)
class Rota:
    """The rota with its calendars read. Says of any time who is on call in a role that it covers."""

    file: RotaFile
    calendars: Mapping[tuple[str, str], Events]
    """By role and name of the layer."""
    workdays: WorkCalendar
    files: tuple[Path, ...] = ()
    """Where it was read from: the rota's own and its calendars."""

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that are covered, in the order of the file."""
        return tuple(schedule.role for schedule in self.file.schedules)

    def shifts(self, role: str, span: Span, overrides: Sequence[Override]) -> list[Shift]:
        """The shifts of a role that touch the span, in the order of time. Raises KeyError where it has no schedule."""
        schedule = {schedule.role: schedule for schedule in self.file.schedules}[role]
        around = _around(schedule, span)
        layers = [self._held(role, layer, around) for layer in schedule.layers]
        perhaps = [self._perhaps(layer, around) for layer in schedule.layers]
        return shifts(role, [*layers, *perhaps], in_force(overrides, role), span)

    def people(self) -> frozenset[str]:
        """The ids of everybody in the file and its calendars."""
        named = (layer.people for schedule in self.file.schedules for layer in schedule.layers)
        ids = {one for people in named for one in (people.values() if isinstance(people, dict) else people)}
        return frozenset(ids).union(*(events.people for events in self.calendars.values()))

    def _zone(self, layer: Rotation | CalendarLayer) -> ZoneInfo:
        return layer.time_zone or self.file.time_zone

    def _held(self, role: str, layer: Rotation | CalendarLayer, span: Span) -> list[Held]:
        if isinstance(layer, CalendarLayer):
            return one_after_the_other(self.calendars[role, layer.name].held(span))
        return held(layer, self._zone(layer), span, self.workdays)

    def _perhaps(self, layer: Rotation | CalendarLayer, span: Span) -> list[Held]:
        if isinstance(layer, CalendarLayer):
            return []
        return perhaps_held(layer, self._zone(layer), span, self.workdays)


def _around(schedule: Schedule, span: Span) -> Span:
    """So much more that every turn that touches the span, and all that covers it, is seen whole."""
    turns = [layer.every for layer in schedule.layers if isinstance(layer, Rotation)]
    margin = max(turns, default=LONGEST / 12) * 2
    return Span(span.start - margin, span.end + margin)


def read_rota(path: Path, workdays: WorkCalendar) -> Rota:
    """The rota of a file, with the calendars that it names. Raises PolicyError with file, line and advice."""
    file = read(path, RotaFile)
    calendars: dict[tuple[str, str], Events] = {}
    files = [path]
    for number, schedule in enumerate(file.schedules):
        for place, layer in enumerate(schedule.layers):
            if isinstance(layer, CalendarLayer):
                loc = ("schedules", number, "layers", place, "calendar")
                files.append(path.parent / layer.calendar)
                calendars[schedule.role, layer.name] = _read_events(path, loc, layer, file.time_zone)
    return Rota(file, calendars, workdays, tuple(files))


def _read_events(rota: Path, loc: Sequence[str | int], layer: CalendarLayer, zone: ZoneInfo) -> Events:
    path = rota.parent / layer.calendar
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = f"the calendar cannot be read ({type(error).__name__})"
        raise PolicyError([problem_at(rota, loc, reason, "check the path; it must be UTF-8")]) from None
    try:
        return read_calendar(text, layer.people, layer.time_zone or zone)
    except CalendarError as error:
        raise PolicyError([Problem(path, error.line, error.field, error.reason, error.advice)]) from None
