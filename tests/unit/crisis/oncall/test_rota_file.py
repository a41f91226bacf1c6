"""The file of the rota: what it says, and how a mistake is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.crisis.oncall.rota import read_rota
from shared.policy.reading import PolicyError
from tests.unit.crisis.oncall.rotas import ROLE, WORKDAYS, held_by, read, span, written

WEEKS = {"name": "weeks", "people": ["staff-1", "staff-2"], "begins": "2026-01-05"}
CALENDAR = {"name": "visiting", "calendar": "visiting.ics", "people": {"v@example.com": "staff-3"}}
VISIT = """BEGIN:VCALENDAR
BEGIN:VEVENT
UID:1
DTSTART:20260324T090000
DTEND:20260324T180000
SUMMARY:visit
ATTENDEE:mailto:v@example.com
END:VEVENT
END:VCALENDAR
"""


def test_the_example_of_the_module_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "rota.yaml"
    path.write_text(
        "time_zone: Europe/London\n"
        "schedules:\n"
        "  - role: on-call\n"
        "    layers:\n"
        "      - {name: nights, people: [staff-3], begins: 2026-01-05, hours: {since: 18:00, until: 08:00}}\n"
        "      - {name: weeks, people: [staff-1], begins: 2026-01-05, hand_over: 10:30, every: 4 days}\n"
    )
    rota = read_rota(path, WORKDAYS)
    among = span("2026-03-02 20:00", 1)
    found = rota.shifts(ROLE, among, [])
    assert [f"{shift.person} {shift.start:%d %H:%M}" for shift in found] == [
        "staff-1 02 10:30",
        "staff-3 02 18:00",
        "staff-1 03 08:00",
    ]
    assert (rota.roles, rota.people()) == ((ROLE,), {"staff-1", "staff-3"})


def test_the_events_of_a_calendar_beside_the_file_are_a_layer(tmp_path: Path) -> None:
    (tmp_path / "visiting.ics").write_text(VISIT)
    rota = read(tmp_path, [CALENDAR, WEEKS])
    found = rota.shifts(ROLE, span("2026-03-23 12:00", 6), [])
    assert [shift.person for shift in found] == ["staff-2", "staff-3", "staff-2"]
    assert rota.people() == {"staff-1", "staff-2", "staff-3"}
    assert held_by(found, found[1].start) == "staff-3"


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "a wrong word": ({"layers": [{**WEEKS, "peple": ["x"]}]}, "remove it or correct its spelling"),
    "something missing": ({"layers": [{"name": "weeks"}]}, "add it"),
    "no length": ({"layers": [{**WEEKS, "every": "fortnight"}]}, "12 hours or 10 days"),
    "two layers of a name": ({"layers": [WEEKS, WEEKS]}, "give each its own"),
    "no layer": ({"layers": []}, "at least 1"),
    "no calendar": ({"layers": [CALENDAR]}, "check the path"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_its_line(name: str, tmp_path: Path) -> None:
    given, advice = MISTAKES[name]
    path = written(tmp_path, given["layers"])
    with pytest.raises(PolicyError, match=advice) as refused:
        read_rota(path, WORKDAYS)
    assert refused.value.problems[0].line > 1
    assert str(refused.value).startswith(str(path))


def test_a_mistake_in_a_calendar_is_told_with_its_own_line(tmp_path: Path) -> None:
    (tmp_path / "visiting.ics").write_text(VISIT.replace("SUMMARY:visit", "SUMMARY:Zhang Wei"))
    with pytest.raises(PolicyError, match=r"visiting\.ics:2: SUMMARY") as refused:
        read(tmp_path, [{**CALENDAR, "people": {}}])
    assert "Zhang" not in str(refused.value)


def test_one_schedule_for_each_role(tmp_path: Path) -> None:
    path = tmp_path / "rota.yaml"
    one = "  - role: on-call\n    layers: [{name: weeks, people: [a], begins: 2026-01-05}]\n"
    path.write_text(f"schedules:\n{one}{one}")
    with pytest.raises(PolicyError, match="a role has two schedules"):
        read_rota(path, WORKDAYS)
