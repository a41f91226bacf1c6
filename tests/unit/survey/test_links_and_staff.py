"""Links name nobody and cannot be made up; staff conduct only with certificate, experience and this year's exam."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.survey.domain import staff
from services.survey.domain.follow_ups import MOST_ATTEMPTS, attempt
from services.survey.domain.links import Links, opening
from services.survey.domain.records import RecordSheet
from shared.policy.versions import load
from shared.web import help_lines
from tests.builders import at, staff_updated
from tests.integration.survey.events import due
from tests.unit.survey.test_facts_in_any_order import followed

LINKS = Links(bytes(96), "https://ask.example.com")
STAFFING = load().staffing


@given(st.from_regex(r"\A[A-Za-z0-9_.:\-]{1,64}\Z"))
def test_a_link_leads_back_and_tells_nothing(follow_up_id: str) -> None:
    invitation = LINKS.invitation(follow_up_id)
    token = LINKS.token(invitation)
    assert LINKS.read(token) == invitation
    assert LINKS.invitation(follow_up_id) == invitation
    assert len(follow_up_id) < 4 or follow_up_id not in token
    assert Links(b"\1" + bytes(95), "").read(token) is None


@given(st.text(max_size=60))
def test_made_up_tokens_open_nothing(token: str) -> None:
    assert LINKS.read(token) is None


@given(st.integers(0, 27), st.integers(1, 255))
def test_a_changed_token_opens_nothing(place: int, change: int) -> None:
    import base64

    raw = bytearray(base64.urlsafe_b64decode(LINKS.token(LINKS.invitation("f")) + "=="))
    raw[place] ^= change
    assert LINKS.read(base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")) is None


@pytest.mark.parametrize(
    ("outcome", "leads_to"),
    [
        ("completed", "finished"),
        ("unreachable", "finished"),
        ("refused", "refused"),
        ("stopped-for-crisis", "stopped-for-crisis"),
    ],
)
def test_a_recorded_follow_up_shows_how_it_ended(outcome: Any, leads_to: str) -> None:
    ended = followed([due()]).model_copy(update={"outcome": outcome, "state": "recorded"})
    assert opening(ended, None, at("2026-03-17")) == leads_to


def member(**report: Any) -> staff.StaffMember:
    event = staff_updated(**report)
    data: Any = event.data
    return staff.updated(None, event, data)


@pytest.mark.clause("F28", "F29", "F32")
@pytest.mark.parametrize(
    ("report", "found"),
    [
        ({}, []),
        ({"certificate": "cas-basic-training"}, []),
        ({"certificate": "level-4"}, ["certificate"]),
        ({"experience_months": 12}, []),
        ({"experience_months": 11}, ["experience"]),
        ({"exam_passed_year": 2025}, ["exam"]),
        ({"exam_passed_year": 2027}, ["exam"]),
        (
            {"certificate": "none", "experience_months": 0, "exam_passed_year": None},
            ["certificate", "experience", "exam"],
        ),
    ],
)
def test_who_may_conduct(report: dict[str, Any], found: list[str]) -> None:
    assert staff.objections(member(**report), STAFFING, at("2026-03-17")) == found


@pytest.mark.clause("F32")
def test_the_year_of_the_exam_is_the_companys_year() -> None:
    new_year = at("2027-01-01 00:30")  # still 2026 in UTC
    assert staff.objections(member(exam_passed_year=2027), STAFFING, new_year) == []
    assert staff.objections(member(exam_passed_year=2026), STAFFING, new_year) == ["exam"]


def test_the_latest_report_holds_in_any_order() -> None:
    old, new = staff_updated(certificate="none"), staff_updated(changed_at="2026-03-05 09:00")
    first: Any = old.data
    second: Any = new.data
    in_order = staff.updated(staff.updated(None, old, first), new, second)
    assert staff.updated(staff.updated(None, new, second), old, first) == in_order
    assert in_order.certificate == "level-3"


@pytest.mark.parametrize("subject", ["li.lei@example.com", "auth0|5f7c", "李雷", "x" * 65])
def test_a_subject_that_may_be_a_name_goes_as_its_hash(subject: str) -> None:
    assert staff.staff_id(subject).startswith("staff-")
    assert subject not in staff.staff_id(subject)
    assert staff.staff_id("staff-1") == "staff-1"


@pytest.mark.clause("F10")
def test_calls_are_counted_once_each_and_end_at_four() -> None:
    follow_up: Any = followed([due()])
    for minute in (3, 1, 1, 2, 4):
        follow_up = attempt(follow_up, at(f"2026-03-17 09:0{minute}"), "no-answer", "staff-1")
    assert len(follow_up.attempts) == MOST_ATTEMPTS
    assert attempt(follow_up, at("2026-03-17 09:05"), "busy", "staff-1") is None
    assert attempt(follow_up, at("2026-03-17 09:04"), "busy", "staff-1") == follow_up


@pytest.mark.clause("F58")
@given(st.booleans(), st.sampled_from(["completed", "refused", "unreachable", "stopped-for-crisis"]))
def test_a_mark_or_severe_anxiety_is_a_crisis(mark: bool, outcome: str) -> None:
    for band in ("mild", "severe"):
        sheet = RecordSheet.model_validate(
            {"form": "phone", "conducted_at": "2026-03-17T10:00:00+08:00", "outcome": outcome, "crisis": mark}
            | {"bands": {"gad-7": band}}
        )
        assert sheet.is_crisis == (mark or outcome == "stopped-for-crisis" or band == "severe")


def test_help_lines_have_source_and_date_and_promise_no_hours() -> None:
    lines = help_lines.load()
    assert [line.number for line in (*lines.danger, *lines.talk)] == ["120", "110", "12356", "400-161-9995"]
    assert all(line.source and line.checked for line in (*lines.danger, *lines.talk))
