"""The calendar to subscribe to: its address cannot be made by others, and it holds ids and roles alone."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest

from services.crisis.oncall.feed import Feed, UnknownAddress, calendar
from services.crisis.oncall.ical import read_calendar
from services.crisis.oncall.rotation import Held
from services.crisis.oncall.shifts import gaps
from tests.builders import at
from tests.unit.crisis.oncall.rotas import ROLE, override, rota, rotation, span

FEED = Feed(bytes(96), "https://crisis.example/", 1)
ADDRESS = FEED.address("staff-1")
TOKEN = ADDRESS.removeprefix("https://crisis.example/v1/on-call/calendar/").removesuffix(".ics")


def test_an_address_says_whose_shifts_it_shows() -> None:
    everybody = FEED.address(None).rpartition("/")[2].removesuffix(".ics")
    assert (FEED.read(TOKEN), FEED.read(everybody)) == ("staff-1", None)


@pytest.mark.parametrize("token", ["", "A", TOKEN[:-1], TOKEN[1:], TOKEN + "AA", "é", "A" * 22, "*" * 40])
def test_an_address_that_was_tampered_with_shows_nothing(token: str) -> None:
    with pytest.raises(UnknownAddress):
        FEED.read(token)


@pytest.mark.parametrize("other", [Feed(bytes(96), "", 2), Feed(bytes([1]) * 96, "", 1)])
def test_another_edition_or_key_takes_the_address_back(other: Feed) -> None:
    with pytest.raises(UnknownAddress):
        other.read(TOKEN)


def test_the_calendar_can_be_read_again_and_an_override_keeps_the_event() -> None:
    week = span("2026-03-23 09:00", 6)
    among = rota(rotation("a", "b"))
    before = among.shifts(ROLE, week, [])
    after = among.shifts(ROLE, week, [override("c", "2026-03-23 09:00", "2026-03-30 09:00")])
    said = [calendar(shifts, [], week.start) for shifts in (before, after)]
    read = [read_calendar(text, {}, ZoneInfo("UTC")).single for text in said]
    start, end = at("2026-03-23 09:00"), at("2026-03-30 09:00")
    assert read == [(Held("b", start, end),), (Held("c", start, end),)]
    uids = [next(line for line in text.splitlines() if line.startswith("UID")) for text in said]
    assert uids[0] == uids[1]


def test_a_gap_is_an_event_that_is_nobodys() -> None:
    week = span("2026-03-23 09:00", 1)
    text = calendar(
        [], gaps(ROLE, rota(rotation("a", begins="2027-01-01")).shifts(ROLE, week, []), week), week.start
    )
    assert "SUMMARY:无人值班：on-call / Nobody is on call: on-call" in text
    assert "X-AFTERCARE-PERSON" not in text
