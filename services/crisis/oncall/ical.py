"""Calendars as files (RFC 5545): the feed that we write, and shifts that we read.

The reader knows what calendar programs write for shifts: single and repeated events, whole days, time zones by their
IANA names, exceptions and moved occurrences. What it does not know it refuses with the line: a shift that is read
wrongly is worse than a file that is not read (docs/decisions/0047).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil.rrule import rrule, rrulestr

from services.crisis.oncall.rotation import DAY, LONGEST, Held, Span, instant
from shared.contracts.types import staff_id

PERSON = "X-AFTERCARE-PERSON"
"""Our own property: whose shift an event is."""
UTC_ZONE = ZoneInfo("UTC")
_OUTLOOK = {"China Standard Time": "Asia/Shanghai"}
"""Outlook has names of its own for time zones; this is the one that is met here."""
_REPEATS = {"DAILY", "WEEKLY", "MONTHLY", "YEARLY"}
_FOLD = 75


class CalendarError(ValueError):
    """The calendar cannot be used. `line` counts from 1; nothing repeats what the file says."""

    def __init__(self, line: int, where: str, reason: str, advice: str) -> None:
        super().__init__(f"line {line}: {where}: {reason} - {advice}")
        self.line = line
        self.field = where
        self.reason = reason
        self.advice = advice


# --- writing --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """An event to be written. `person` is an id, or None for what is nobody's."""

    uid: str
    title: str
    start: datetime
    end: datetime
    person: str | None = None


def write_calendar(name: str, entries: Iterable[Entry], now: datetime) -> str:
    """The text of a calendar, as programs subscribe to it."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Aftercare//On call//EN",
        f"X-WR-CALNAME:{_escaped(name)}",
        "REFRESH-INTERVAL;VALUE=DURATION:PT1H",
        "X-PUBLISHED-TTL:PT1H",
    ]
    for entry in entries:
        lines += [
            "BEGIN:VEVENT",
            f"UID:{entry.uid}",
            f"DTSTAMP:{_utc(now)}",
            f"DTSTART:{_utc(entry.start)}",
            f"DTEND:{_utc(entry.end)}",
            f"SUMMARY:{_escaped(entry.title)}",
            *([f"{PERSON}:{entry.person}"] if entry.person else []),
            "END:VEVENT",
        ]
    lines.append("END:VCALENDAR")
    return "".join(f"{folded}\r\n" for line in lines for folded in _folded(line))


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def _escaped(text: str) -> str:
    return re.sub(r"([\\,;])", r"\\\1", text).replace("\n", "\\n")


def _folded(line: str) -> Iterator[str]:
    """The line in pieces of at most 75 bytes, cut between characters, all but the first after a space."""
    piece, size = "", 0
    for letter in line:
        width = len(letter.encode())
        if size + width > _FOLD:
            yield piece
            piece, size = " ", 1
        piece, size = piece + letter, size + width
    yield piece


# --- reading --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Series:
    """An event that comes again, at the same time by the wall clock of its zone."""

    person: str
    rule: rrule
    zone: ZoneInfo
    length: timedelta
    without: frozenset[datetime]
    """Beginnings that are left out, or were moved elsewhere."""

    def held(self, span: Span) -> Iterator[Held]:
        first, last = (edge.astimezone(self.zone).replace(tzinfo=None) for edge in (span.start, span.end))
        for wall in self.rule.between(first - self.length - DAY, last + DAY, inc=True):
            start, end = instant(wall, self.zone), instant(wall + self.length, self.zone)
            if start not in self.without and start < end:
                yield Held(self.person, start, end)


@dataclass(frozen=True)
class Events:
    """The shifts of a calendar."""

    single: tuple[Held, ...] = ()
    series: tuple[Series, ...] = ()

    @property
    def people(self) -> frozenset[str]:
        return frozenset([*(one.person for one in self.single), *(one.person for one in self.series)])

    def held(self, span: Span) -> list[Held]:
        """What touches the span, in no order; two may lie over each other."""
        found = [*self.single, *(one for series in self.series for one in series.held(span))]
        return [one for one in found if one.start < span.end and span.start < one.end]


@dataclass(frozen=True, slots=True)
class Line:
    """One property: `name;params:value`, with the number of its first line in the file."""

    number: int
    name: str
    params: Mapping[str, str]
    value: str


@dataclass(frozen=True, slots=True)
class When:
    """A time on the wall clock of a zone."""

    wall: datetime
    zone: ZoneInfo
    whole_day: bool = False

    @property
    def instant(self) -> datetime:
        return instant(self.wall, self.zone)


@dataclass
class Event:
    """The lines of one VEVENT."""

    number: int
    lines: dict[str, list[Line]] = field(default_factory=dict)

    def one(self, name: str) -> Line | None:
        return self.lines[name][0] if name in self.lines else None

    def text(self, name: str) -> str:
        found = self.one(name)
        return found.value if found else ""


def read_calendar(text: str, people: Mapping[str, str], zone: ZoneInfo) -> Events:
    """The shifts of a calendar. `people`: whom an attendee's address or a title means; `zone`: where times that name
    none are. Raises CalendarError."""
    events = _events(text)
    moved: dict[str, set[datetime]] = {}
    for event in events:
        if replaced := event.one("RECURRENCE-ID"):
            moved.setdefault(event.text("UID"), set()).add(_when(replaced, zone).instant)
    single: list[Held] = []
    series: list[Series] = []
    known = {name.casefold(): person for name, person in people.items()}
    for event in events:
        if event.text("STATUS").upper() == "CANCELLED":
            continue
        if unread := event.one("RDATE"):
            raise CalendarError(
                unread.number, "RDATE", "such dates are not read", "write them as single events"
            )
        person, start, end = _person(event, known), _start(event, zone), _end(event, zone)
        if not timedelta() < end.instant - start.instant <= LONGEST:
            reason = "the event ends before it begins, or lasts longer than a year"
            raise CalendarError(event.number, "DTEND", reason, "correct its times")
        if rule := event.one("RRULE"):
            length = end.instant.astimezone(start.zone).replace(tzinfo=None) - start.wall
            without = moved.get(event.text("UID"), set()) | _exceptions(event, zone)
            series.append(Series(person, _rule(rule, start), start.zone, length, frozenset(without)))
        else:
            single.append(Held(person, start.instant, end.instant))
    return Events(tuple(single), tuple(series))


_PROPERTY = re.compile(
    r"""(?P<name>[A-Za-z0-9-]+)(?P<params>(?:;[A-Za-z0-9-]+=(?:"[^"]*"|[^";:]*)(?:,"[^"]*")*)*):(?P<value>.*)""",
    re.DOTALL,
)
_PARAM = re.compile(r""";([A-Za-z0-9-]+)=("[^"]*"|[^";:]*)""")


def _lines(text: str) -> Iterator[Line]:
    whole: list[tuple[int, str]] = []
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text.removeprefix("\ufeff")), 1):
        if line[:1] in (" ", "\t") and whole:
            whole[-1] = (whole[-1][0], whole[-1][1] + line[1:])
        elif line.strip():
            whole.append((number, line))
    for number, line in whole:
        match = _PROPERTY.fullmatch(line)
        if match is None:
            raise CalendarError(
                number, "file", "this is no line of a calendar", "export the file again as iCalendar"
            )
        params = {name.upper(): value.strip('"') for name, value in _PARAM.findall(match["params"])}
        yield Line(number, match["name"].upper(), params, match["value"])


def _events(text: str) -> list[Event]:
    found: list[Event] = []
    inside: list[str] = []
    for line in _lines(text):
        if line.name == "BEGIN":
            inside.append(line.value.upper())
            if inside[-1] == "VEVENT":
                found.append(Event(line.number))
        elif line.name == "END":
            if not inside or inside.pop() != line.value.upper():
                raise CalendarError(line.number, "END", "it ends what was not begun", "export the file again")
        elif inside and inside[-1] == "VEVENT":
            found[-1].lines.setdefault(line.name, []).append(line)
        elif not inside:
            raise CalendarError(line.number, "file", "this is outside of a calendar", "export the file again")
    if inside:
        raise CalendarError(1, "file", "the file ends in the middle", "export the file again")
    return found


def _person(event: Event, people: Mapping[str, str]) -> str:
    if own := event.text(PERSON):
        names = {own}
    else:
        attendees = [
            line.value.casefold().removeprefix("mailto:") for line in event.lines.get("ATTENDEE", ())
        ]
        names = {people[attendee] for attendee in attendees if attendee in people}
    title = re.sub(r"\\(.)", r"\1", event.text("SUMMARY")).strip()
    names = names or {people.get(title.casefold(), title)}
    person = names.pop()
    if names:
        raise CalendarError(event.number, "ATTENDEE", "the event is of two people", "make an event for each")
    if staff_id(person) != person:
        advice = "let the title be the person's id, or say under `people` of the layer whom it means"
        raise CalendarError(event.number, "SUMMARY", "it is not said whose shift this is", advice)
    return person


def _start(event: Event, zone: ZoneInfo) -> When:
    line = event.one("DTSTART")
    if line is None:
        raise CalendarError(event.number, "DTSTART", "the event has no beginning", "add it")
    return _when(line, zone)


def _end(event: Event, zone: ZoneInfo) -> When:
    start = _start(event, zone)
    if line := event.one("DTEND"):
        return _when(line, zone)
    if line := event.one("DURATION"):
        return When(start.wall + _duration(line), start.zone)
    return When(start.wall + (DAY if start.whole_day else timedelta()), start.zone)


_FORMS = (
    (re.compile(r"[0-9]{8}"), "%Y%m%d"),
    (re.compile(r"[0-9]{8}T[0-9]{6}"), "%Y%m%dT%H%M%S"),
    (re.compile(r"[0-9]{8}T[0-9]{6}Z"), "%Y%m%dT%H%M%SZ"),
)


def _when(line: Line, zone: ZoneInfo, value: str | None = None) -> When:
    """A date, a time on the wall clock, or one in UTC."""
    text = line.value if value is None else value
    own = _zone(line, zone)
    for pattern, form in _FORMS:
        if pattern.fullmatch(text):
            with suppress(ValueError):  # there is no such day: told below
                wall = datetime.strptime(text, form)  # noqa: DTZ007 - the zone is kept beside it
                if 2000 <= wall.year < 2200:
                    return When(wall, UTC_ZONE if form.endswith("Z") else own, whole_day="T" not in text)
    raise CalendarError(line.number, line.name, "this is no date or time between 2000 and 2199", "correct it")


def _zone(line: Line, zone: ZoneInfo) -> ZoneInfo:
    name = line.params.get("TZID")
    if name is None:
        return zone
    try:
        return ZoneInfo(_OUTLOOK.get(name, name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        advice = "use an IANA name such as Asia/Shanghai"
        raise CalendarError(line.number, line.name, "this time zone is not known", advice) from None


_DURATION = re.compile(
    r"\+?P(?:(\d{1,4})W)?(?:(\d{1,4})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,4})M)?(?:(\d{1,4})S)?)?"
)


def _duration(line: Line) -> timedelta:
    match = _DURATION.fullmatch(line.value)
    if match is None:
        raise CalendarError(line.number, "DURATION", "this is no length of time", "correct it")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


def _exceptions(event: Event, zone: ZoneInfo) -> set[datetime]:
    return {
        _when(line, zone, value).instant
        for line in event.lines.get("EXDATE", ())
        for value in line.value.split(",")
    }


def _rule(line: Line, start: When) -> rrule:
    parts = dict(part.partition("=")[::2] for part in line.value.upper().split(";") if part)
    # Within a day, or without an interval, a rule can give endlessly many.
    often = parts.keys() & {"BYHOUR", "BYMINUTE", "BYSECOND"}
    interval = re.fullmatch(r"[1-9][0-9]{0,2}", parts.get("INTERVAL", "1"))
    if parts.get("FREQ") not in _REPEATS or often or not interval:
        advice = "let it repeat by days, weeks, months or years"
        raise CalendarError(line.number, "RRULE", "such a repetition is not read", advice)
    if until := parts.get("UNTIL"):
        # The rule runs on the wall clock of the event's zone; its end may be told in UTC, or as a whole day.
        end = _when(Line(line.number, "RRULE", {}, until), start.zone)
        wall = end.instant.astimezone(start.zone).replace(tzinfo=None)
        parts["UNTIL"] = f"{wall + (DAY if end.whole_day else timedelta()):%Y%m%dT%H%M%S}"
    try:
        rule = rrulestr(";".join(f"{name}={value}" for name, value in parts.items()), dtstart=start.wall)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
    ):  # the parser has no error of its own
        raise CalendarError(line.number, "RRULE", "this is no rule of repetition", "correct it") from None
    assert isinstance(rule, rrule)
    return rule
