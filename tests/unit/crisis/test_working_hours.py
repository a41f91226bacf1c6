"""Staff are told what does not page within working hours of working days."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from services.crisis.working_hours import WorkingHours
from shared.policy.versions import load_versions

HOURS = WorkingHours(load_versions())
SHANGHAI = ZoneInfo("Asia/Shanghai")


def told(text: str, hours: WorkingHours = HOURS) -> str:
    """When what may be told from then on is told, written as it is read."""
    instant = datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)
    return f"{hours.at(instant).astimezone(SHANGHAI):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("from_", "at"),
    [
        ("2026-04-01 10:00", "2026-04-01 10:00"),  # a Wednesday
        ("2026-04-01 18:00", "2026-04-01 18:00"),
        ("2026-04-01 18:01", "2026-04-02 09:00"),
        ("2026-04-01 03:00", "2026-04-01 09:00"),
        ("2026-04-10 19:00", "2026-04-13 09:00"),  # a Friday evening, told on Monday morning
        ("2026-04-11 12:00", "2026-04-13 09:00"),
        ("2026-04-03 19:00", "2026-04-07 09:00"),  # Qingming is a Sunday, and the Monday after it is off
        ("2026-02-14 10:00", "2026-02-14 10:00"),  # a Saturday that is worked before the Spring Festival
        ("2026-02-14 19:00", "2026-02-24 09:00"),
    ],
)
def test_when_staff_are_told(from_: str, at: str) -> None:
    assert told(from_) == at


def test_a_year_whose_notice_is_not_out_is_told_on_its_weekdays() -> None:
    assert told("2035-10-02 12:00") == "2035-10-02 12:00", "rather on a day off than not at all"
    assert told("2035-10-05 19:00") == "2035-10-08 09:00"


def test_the_full_hour_is_that_of_the_company() -> None:
    instant = datetime.fromisoformat("2026-04-01T09:59:59+08:00")
    assert HOURS.full_hour_after(instant) == datetime.fromisoformat("2026-04-01T10:00:00+08:00")


def test_the_companys_own_notices_count_and_a_broken_file_holds_up_nothing(tmp_path: Path) -> None:
    notices = tmp_path / "workdays.yaml"
    notices.write_text("notices: [{reference: 'No. 1', days_off: [2026-04-01]}]")
    assert told("2026-04-01 10:00", WorkingHours(load_versions(), notices)) == "2026-04-02 09:00"
    notices.write_text("notices: [{reference: 'No. 1', days_off: [someday]}]")
    assert told("2026-04-01 10:00", WorkingHours(load_versions(), notices)) == "2026-04-01 10:00"
