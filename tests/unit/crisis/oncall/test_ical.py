"""Calendars: what we write can be read by the rules of RFC 5545, and shifts of others' files are read or refused."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.crisis.oncall.ical import CalendarError, Entry, Events, read_calendar, write_calendar
from services.crisis.oncall.rotation import Held
from tests.builders import at
from tests.unit.crisis.oncall.rotas import span

SHANGHAI = ZoneInfo("Asia/Shanghai")
PEOPLE = {"Visitor@Example.com": "staff-30", "Ms Visitor": "staff-30"}
NOW = at("2026-03-01 10:00")


def calendar(*events: str, end: str = "END:VCALENDAR") -> str:
    written = [f"BEGIN:VEVENT\nUID:{place}\n{event}\nEND:VEVENT" for place, event in enumerate(events)]
    return "\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *written, end]).replace("\n", "\r\n")


def read(*events: str) -> Events:
    return read_calendar(calendar(*events), PEOPLE, SHANGHAI)


def locally(events: Events, start: str = "2026-03-01 00:00", days: float = 60) -> list[str]:
    found = sorted(events.held(span(start, days)), key=lambda one: one.start)
    return [
        f"{one.person} {one.start.astimezone(SHANGHAI):%m-%d %H:%M} {one.end.astimezone(SHANGHAI):%m-%d %H:%M}"
        for one in found
    ]


# --- writing --------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=200))
def test_a_title_comes_back_through_the_file(title: str) -> None:
    start = at("2026-03-02 09:00")
    text = write_calendar(
        title, [Entry("1@aftercare", title, start, start + timedelta(days=1), "staff-1")], NOW
    )
    assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))
    unfolded = text.replace("\r\n ", "")
    written = title.replace("\\", "\\\\").replace(",", "\\,").replace(";", "\\;")
    assert f"\r\nSUMMARY:{written}\r\n" in unfolded


def test_what_we_write_we_read() -> None:
    start = at("2026-03-02 09:00")
    entry = Entry("1@aftercare", "on-call: staff-1", start, start + timedelta(days=7), "staff-1")
    text = write_calendar("rota", [entry], NOW)
    assert "DTSTAMP:20260301T020000Z" in text
    assert read_calendar(text, {}, SHANGHAI).single == (Held("staff-1", start, entry.end),)


# --- reading --------------------------------------------------------------------------------------------------

NIGHT = "DTSTART;TZID=Asia/Shanghai:20260302T180000\nDTEND;TZID=Asia/Shanghai:20260303T080000"


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (NIGHT, "03-02 18:00 03-03 08:00"),
        ("DTSTART:20260302T100000Z\nDURATION:PT14H", "03-02 18:00 03-03 08:00"),
        ("DTSTART:20260302T180000\nDURATION:P1DT2H", "03-02 18:00 03-03 20:00"),
        ("DTSTART;VALUE=DATE:20260302", "03-02 00:00 03-03 00:00"),
        ("DTSTART;VALUE=DATE:20260302\nDTEND;VALUE=DATE:20260309", "03-02 00:00 03-09 00:00"),
        ('DTSTART;TZID="China Standard Time":20260302T180000\nDURATION:PT1H', "03-02 18:00 03-02 19:00"),
        ("DTSTART;TZID=Europe/London:20260302T100000\nDTEND:20260302T110000Z", "03-02 18:00 03-02 19:00"),
    ],
)
def test_times_in_their_forms(times: str, expected: str) -> None:
    assert locally(read(f"{times}\nSUMMARY:staff-1")) == [f"staff-1 {expected}"]


@pytest.mark.parametrize(
    "whose",
    [
        "SUMMARY:staff-30",
        "SUMMARY: Ms Visitor ",
        'SUMMARY:night\nATTENDEE;CN="A: B; C";RSVP=TRUE:mailto:visitor@example.com\nATTENDEE:mailto:boss@example.com',
        "SUMMARY:night\nX-AFTERCARE-PERSON:staff-30",
        "SUMM\n ARY:staf\n\tf-30",
    ],
)
def test_whose_shift_it_is(whose: str) -> None:
    assert read(f"{NIGHT}\n{whose}").people == {"staff-30"}


def test_a_repeated_shift_stays_at_its_local_time_and_ends_with_its_rule() -> None:
    weekly = (
        "DTSTART;TZID=Europe/London:20260320T200000\nDTEND;TZID=Europe/London:20260321T080000\n"
        "RRULE:FREQ=WEEKLY;BYDAY=FR;UNTIL=20260403T190000Z\nSUMMARY:staff-1"
    )
    found = read(weekly).held(span("2026-03-01", 90))
    assert [one.start for one in found] == [
        datetime(2026, 3, 20, 20, tzinfo=UTC),
        datetime(2026, 3, 27, 20, tzinfo=UTC),
        datetime(2026, 4, 3, 19, tzinfo=UTC),
    ]
    assert [one.end - one.start for one in found] == [timedelta(hours=12)] * 3


def test_occurrences_may_be_left_out_moved_and_called_off() -> None:
    daily = (
        f"{NIGHT}\nRRULE:FREQ=DAILY;COUNT=5\nEXDATE;TZID=Asia/Shanghai:20260303T180000,20260304T180000\n"
        "SUMMARY:staff-1"
    )
    moved = "DTSTART:20260305T120000Z\nDURATION:PT1H\nRECURRENCE-ID:20260305T100000Z\nSUMMARY:staff-2"
    off = f"{NIGHT}\nRECURRENCE-ID:20260306T100000Z\nSTATUS:CANCELLED\nSUMMARY:staff-1"
    text = calendar(daily, moved, off)
    same = text.replace("UID:1", "UID:0").replace("UID:2", "UID:0")
    assert locally(read_calendar(same, {}, SHANGHAI)) == [
        "staff-1 03-02 18:00 03-03 08:00",
        "staff-2 03-05 20:00 03-05 21:00",
    ]


def test_a_shift_without_an_end_repeats_for_ever() -> None:
    weekly = f"{NIGHT}\nRRULE:FREQ=WEEKLY\nSUMMARY:staff-1"
    assert locally(read(weekly), "2036-03-03 10:00", 1) == ["staff-1 03-03 18:00 03-04 08:00"]


def test_alarms_and_zones_inside_a_calendar_are_passed_over() -> None:
    alarm = f"{NIGHT}\nSUMMARY:staff-1\nBEGIN:VALARM\nDURATION:PT1M\nTRIGGER:-PT15M\nEND:VALARM"
    assert locally(read(alarm)) == ["staff-1 03-02 18:00 03-03 08:00"]


BAD = {
    "no beginning": ("SUMMARY:staff-1", "DTSTART", 3),
    "no such day": ("DTSTART:20260230T180000\nSUMMARY:staff-1", "DTSTART", 5),
    "an unknown zone": ("DTSTART;TZID=Nowhere/City:20260302T180000\nSUMMARY:staff-1", "DTSTART", 5),
    "a zone outside the list": ("DTSTART;TZID=../passwd:20260302T180000\nSUMMARY:staff-1", "DTSTART", 5),
    "an end before the beginning": (
        "DTSTART:20260302T180000\nDTEND:20260302T170000\nSUMMARY:staff-1",
        "DTEND",
        3,
    ),
    "no length": ("DTSTART:20260302T180000\nSUMMARY:staff-1", "DTEND", 3),
    "a strange length": ("DTSTART:20260302T180000\nDURATION:1 day\nSUMMARY:staff-1", "DURATION", 6),
    "a name": (f"{NIGHT}\nSUMMARY:Zhang Wei", "SUMMARY", 3),
    "nobody": (NIGHT, "SUMMARY", 3),
    "dates in a list": (f"{NIGHT}\nRDATE:20260305T100000Z\nSUMMARY:staff-1", "RDATE", 7),
    "every second": (f"{NIGHT}\nRRULE:FREQ=SECONDLY\nSUMMARY:staff-1", "RRULE", 7),
    "several times a day": (f"{NIGHT}\nRRULE:FREQ=DAILY;BYHOUR=1,2\nSUMMARY:staff-1", "RRULE", 7),
    "a rule that is none": (f"{NIGHT}\nRRULE:FREQ=DAILY;COUNT=many\nSUMMARY:staff-1", "RRULE", 7),
    "no interval": (f"{NIGHT}\nRRULE:FREQ=DAILY;INTERVAL=0\nSUMMARY:staff-1", "RRULE", 7),
    "longer than a year": ("DTSTART:20260302T180000\nDURATION:P60W\nSUMMARY:staff-1", "DTEND", 3),
    "a year far away": ("DTSTART:99991231T180000\nDURATION:P2D\nSUMMARY:staff-1", "DTSTART", 5),
    "no property": (f"{NIGHT}\nnonsense\nSUMMARY:staff-1", "file", 7),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_understood_is_refused_with_its_line(name: str) -> None:
    event, where, line = BAD[name]
    with pytest.raises(CalendarError) as refused:
        read(event)
    assert (refused.value.field, refused.value.line) == (where, line)
    assert "Zhang" not in str(refused.value)


WORDS = (
    "FREQ DAILY YEARLY COUNT INTERVAL UNTIL 20260305 BYDAY MO BYMONTHDAY BYSETPOS WKST BYEASTER DTSTART RRULE"
)
PIECES = st.sampled_from([*"0123456789TZ;,:=-", *WORDS.split()])


@settings(deadline=None)
@given(
    st.sampled_from(
        ["DTSTART:", "DTEND:", "DURATION:P", "RRULE:FREQ=DAILY;", "EXDATE:", "RECURRENCE-ID;TZID="]
    ),
    st.lists(PIECES),
)
def test_whatever_stands_in_a_calendar_it_is_read_or_refused(name: str, pieces: list[str]) -> None:
    before = "" if name == "DTSTART:" else f"{NIGHT}\n"
    with suppress(CalendarError):
        found = read(f"{before}{name}{''.join(pieces)}\nSUMMARY:staff-1").held(span("2026-03-01", 30))
        assert all(one.start < one.end for one in found)


def test_an_event_of_two_people_is_refused() -> None:
    two = f"{NIGHT}\nATTENDEE:mailto:a@example.com\nATTENDEE:mailto:b@example.com"
    with pytest.raises(CalendarError, match="two people"):
        read_calendar(calendar(two), {"a@example.com": "staff-1", "b@example.com": "staff-2"}, SHANGHAI)


@pytest.mark.parametrize("text", [calendar(end=""), "BEGIN:VCALENDAR\nEND:VEVENT", "VERSION:2.0", "<html>"])
def test_half_a_file_and_another_file_are_refused(text: str) -> None:
    with pytest.raises(CalendarError):
        read_calendar(text, {}, SHANGHAI)
