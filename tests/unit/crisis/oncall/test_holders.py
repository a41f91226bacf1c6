"""Whom a page is for: the holder, or everybody; never nobody."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.crisis.addresses import WeComAddress
from services.crisis.oncall import holders
from services.crisis.oncall.holders import OnCall
from services.crisis.roster import Person, Roster, recipients
from shared.clock import VirtualClock
from tests.builders import at
from tests.unit.crisis.oncall.rotas import ROLE, override, written

WEEKS = {"name": "weeks", "people": ["staff-1", "staff-2"], "begins": "2026-01-05"}
ENDING = {**WEEKS, "ends": "2026-03-25"}
KNOWN = ["staff-1", "staff-2", "staff-3"]
BOT = WeComAddress(url="https://bot.example/send?key=one")  # type: ignore[arg-type]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(at("2026-03-24 12:00"))


def on_call(folder: Path, clock: VirtualClock, *layers: dict[str, Any], known: list[str] = KNOWN) -> OnCall:
    return OnCall(written(folder, list(layers)), None, known, clock)


def fallbacks(reason: str, role: str = ROLE) -> float:
    labels = {"role": role, "reason": reason}
    return REGISTRY.get_sample_value("aftercare_rota_fallbacks_total", labels) or 0.0


def metric(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"aftercare_rota_{name}", {"role": ROLE})


def test_the_holder_of_this_moment_is_paged(tmp_path: Path, clock: VirtualClock) -> None:
    asked = on_call(tmp_path, clock, WEEKS)
    assert asked.holders(ROLE) == ("staff-2",)
    clock.advance(at("2026-03-30 08:59"))
    assert asked.holders(ROLE) == ("staff-2",)
    clock.advance(at("2026-03-30 09:00"))
    assert asked.holders(ROLE) == ("staff-1",)


def test_a_role_that_the_rota_does_not_cover_is_everybodys(tmp_path: Path, clock: VirtualClock) -> None:
    assert on_call(tmp_path, clock, WEEKS).holders("head-of-psychology") is None
    assert OnCall(None, None, KNOWN, clock).holders(ROLE) is None


def test_in_a_gap_everybody_is_paged_and_it_is_counted(tmp_path: Path, clock: VirtualClock) -> None:
    asked, before = on_call(tmp_path, clock, ENDING), fallbacks("gap")
    clock.advance(at("2026-03-25 09:00"))
    assert asked.holders(ROLE) is None
    assert fallbacks("gap") == before + 1


def test_a_holder_without_an_entry_in_the_roster_is_not_relied_on(
    tmp_path: Path, clock: VirtualClock
) -> None:
    before = fallbacks("not-on-the-roster")
    assert on_call(tmp_path, clock, WEEKS, known=["staff-1"]).holders(ROLE) is None
    assert fallbacks("not-on-the-roster") == before + 1


def test_an_empty_rota_pages_everybody(tmp_path: Path, clock: VirtualClock) -> None:
    path = tmp_path / "rota.yaml"
    path.write_text("schedules: []")
    before = fallbacks("empty")
    assert OnCall(path, None, KNOWN, clock).holders(ROLE) is None
    assert fallbacks("empty") == before + 1


def test_a_defect_in_the_rota_pages_everybody(
    tmp_path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, before = on_call(tmp_path, clock, WEEKS), fallbacks("defect")
    monkeypatch.setattr(asked, "shifts", lambda role, span: 1 / 0)
    assert asked.holders(ROLE) is None
    assert fallbacks("defect") == before + 1


def test_an_override_counts_from_when_it_is_known(tmp_path: Path, clock: VirtualClock) -> None:
    asked = on_call(tmp_path, clock, WEEKS)
    change = override("staff-3", "2026-03-24 10:00", "2026-03-24 20:00")
    asked.learn([change])
    assert asked.holders(ROLE) == ("staff-3",)
    back = change.model_copy(update={"withdrawn_at": clock.now(), "withdrawn_by": "staff-9"})
    asked.learn([back])
    asked.learn([change])  # read before it was taken back
    assert asked.holders(ROLE) == ("staff-2",)


# --- the file -------------------------------------------------------------------------------------------------


def test_a_changed_file_counts_and_a_broken_one_leaves_the_last_in_force(
    tmp_path: Path, clock: VirtualClock
) -> None:
    asked = on_call(tmp_path, clock, WEEKS)
    written(tmp_path, [{**WEEKS, "people": ["staff-3"]}])
    asked.reload()
    assert asked.holders(ROLE) == ("staff-3",)
    written(tmp_path, [{**WEEKS, "people": []}])
    asked.reload()
    assert asked.holders(ROLE) == ("staff-3",)
    assert REGISTRY.get_sample_value("aftercare_rota_unreadable") == 1
    written(tmp_path, [{**WEEKS, "people": ["staff-1"]}])
    asked.reload()
    assert asked.holders(ROLE) == ("staff-1",)
    assert REGISTRY.get_sample_value("aftercare_rota_unreadable") == 0


def test_a_changed_calendar_counts(tmp_path: Path, clock: VirtualClock) -> None:
    event = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20260324T000000\nDTEND:20260325T000000\nSUMMARY:{}\n"
    calendar = tmp_path / "shifts.ics"
    calendar.write_text(event.format("staff-1") + "END:VEVENT\nEND:VCALENDAR\n")
    asked = on_call(tmp_path, clock, {"name": "calendar", "calendar": "shifts.ics"})
    assert asked.holders(ROLE) == ("staff-1",)
    calendar.write_text(event.format("staff-2") + "END:VEVENT\nEND:VCALENDAR\n\n")
    asked.reload()
    assert asked.holders(ROLE) == ("staff-2",)


def test_a_file_that_is_broken_from_the_start_pages_everybody(tmp_path: Path, clock: VirtualClock) -> None:
    asked, before = on_call(tmp_path, clock, {"name": "weeks"}), fallbacks("unreadable")
    assert asked.holders(ROLE) is None
    assert fallbacks("unreadable") == before + 1
    written(tmp_path, [WEEKS])
    asked.reload()
    assert asked.holders(ROLE) == ("staff-2",)


def test_a_workdays_file_that_cannot_be_read_and_a_defect_keep_nothing_from_starting(
    tmp_path: Path, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [WEEKS])
    assert OnCall(path, tmp_path / "missing.yaml", KNOWN, clock).holders(ROLE) is None
    monkeypatch.setattr(holders, "read_rota", lambda path, workdays: 1 / 0)
    assert OnCall(path, None, KNOWN, clock).holders(ROLE) is None


# --- ahead ----------------------------------------------------------------------------------------------------


def test_a_gap_is_measured_ahead(tmp_path: Path, clock: VirtualClock) -> None:
    asked = on_call(tmp_path, clock, ENDING)
    asked.look_ahead()
    assert metric("next_gap_seconds") == timedelta(hours=21).total_seconds()
    assert metric("gap_seconds") == timedelta(days=14, hours=-21).total_seconds()
    clock.advance(at("2026-03-26 09:00"))
    asked.look_ahead()
    assert metric("next_gap_seconds") == 0


def test_a_gap_is_logged_once_a_day_and_not_at_each_look(tmp_path: Path, clock: VirtualClock) -> None:
    asked = on_call(tmp_path, clock, ENDING)
    with capture_logs() as lines:
        for hours in (0, 1, 20, 22, 23):
            clock.advance(at("2026-03-24 12:00") + timedelta(hours=hours))
            asked.look_ahead()
        said = [(line["start"], line["gaps"]) for line in lines]
        clock.advance(at("2026-03-26 12:00"))
        asked.look_ahead()
    assert said == [("2026-03-25T09:00:00+08:00", 1), ("2026-03-25T10:00:00+08:00", 1)], "coming, and begun"
    assert len(lines) == 3


def test_without_a_gap_the_next_one_is_never(tmp_path: Path, clock: VirtualClock) -> None:
    on_call(tmp_path, clock, WEEKS).look_ahead()
    assert (metric("next_gap_seconds"), metric("gap_seconds")) == (math.inf, 0)


# --- on the roster --------------------------------------------------------------------------------------------

ROSTER = Roster(
    people=tuple(
        Person(id=f"staff-{n}", roles=(role,), channels=(BOT,))
        for n, role in enumerate([ROLE, ROLE, "other"], 1)
    )
)


@pytest.mark.parametrize(
    ("role", "on_call", "expected"),
    [
        (ROLE, ("staff-2",), ["staff-2"]),
        (ROLE, ("staff-3",), ["staff-3"]),  # stands in, and has the role for as long
        (ROLE, None, ["staff-1", "staff-2"]),
        (ROLE, ("staff-9",), ["staff-1", "staff-2"]),
        (ROLE, (), ["staff-1", "staff-2"]),
        ("everyone-on-call", ("staff-2",), ["staff-1", "staff-2", "staff-3"]),
    ],
)
def test_the_roster_gives_the_channels_of_the_holder(
    role: str, on_call: tuple[str, ...] | None, expected: list[str]
) -> None:
    assert [one.id for one in recipients(ROSTER, role, (), on_call)] == expected
