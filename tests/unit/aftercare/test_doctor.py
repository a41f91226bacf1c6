"""The judgements of the doctor."""

from __future__ import annotations

import base64
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from aftercare.doctor import (
    check_calendar,
    check_policy,
    check_roster,
    check_secrets,
    check_skew,
    judge,
    judge_provisional,
    judge_rota,
)
from shared.policy.workdays import WorkCalendar, load_calendar
from shared.settings import Settings
from tests.builders import at
from tests.versions import two_versions

KEY = base64.b64encode(bytes(96)).decode()


def levels(**given: Any) -> list[str]:
    return [finding.level for finding in check_secrets(Settings(**given))]


def test_development_sign_in_is_worth_a_word() -> None:
    assert levels(token_secret="s", master_key=KEY) == ["warn", "ok"]


def test_oidc_alone_is_well() -> None:
    assert levels(oidc_issuer="https://login.example", master_key=KEY) == ["ok", "ok"]


def test_a_development_secret_beside_oidc_fails() -> None:
    assert levels(oidc_issuer="https://login.example", token_secret="s", master_key=KEY) == ["fail", "ok"]


def test_nobody_who_can_sign_in_and_a_short_key_fail() -> None:
    assert levels(master_key="c2hvcnQ=") == ["fail", "fail"]


@pytest.mark.parametrize(
    ("skew", "level"),
    [
        (timedelta(0), "ok"),
        (timedelta(seconds=1.9), "ok"),
        (timedelta(seconds=3), "warn"),
        (timedelta(seconds=-3), "warn"),
        (timedelta(seconds=61), "fail"),
        (timedelta(hours=-8), "fail"),
    ],
)
def test_clocks_that_differ(skew: timedelta, level: str) -> None:
    assert check_skew(skew, timedelta(milliseconds=10)).level == level


def test_a_slow_answer_is_no_difference_of_clocks() -> None:
    assert check_skew(timedelta(seconds=3), timedelta(seconds=6)).level == "ok"


def test_the_version_in_force_is_named_and_those_to_come(tmp_path: Path) -> None:
    policy = two_versions(tmp_path, "2026-07-01")
    assert [finding.what for finding in check_policy(policy, at("2026-06-30"))] == [
        "policy 2026-1 is in force since 2026-01-01",
        "policy 2026-2 comes into force on 2026-07-01",
    ]
    assert [finding.what for finding in check_policy(policy, at("2026-07-01"))] == [
        "policy 2026-2 is in force since 2026-07-01"
    ]


def test_a_policy_with_mistakes_fails(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("version: a\n", encoding="utf-8")
    assert {finding.level for finding in check_policy(tmp_path, at("2026-07-01"))} == {"fail"}


def test_people_without_a_channel_are_named(tmp_path: Path) -> None:
    roster = tmp_path / "roster.yaml"
    roster.write_text("people: [{id: staff-1, roles: [on-call]}]")
    (finding,) = check_roster(str(roster))
    assert (finding.level, finding.what) == ("warn", "no channel of their own: staff-1")
    roster.write_text("people: [{id: staff-1, roles: [on-call], channels: [{kind: webhook, url: x}]}]")
    assert [finding.level for finding in check_roster(str(roster))] == ["ok"]
    roster.write_text("people: [{id: staff-1}]")
    assert [finding.level for finding in check_roster(str(roster))] == ["fail"]
    assert not list(check_roster(None))


def test_the_year_of_the_last_notice_is_known() -> None:
    assert [finding.level for finding in check_calendar(load_calendar(), date(2026, 3, 1))] == ["ok", "ok"]


def test_next_years_notice_is_missed_in_december_only() -> None:
    calendar = load_calendar()
    november, december = (list(check_calendar(calendar, date(2026, month, 1))) for month in (11, 12))
    assert "not announced yet" in november[1].what
    assert december[1].level == "warn"
    assert "shared/policy/workdays.yaml" in december[1].advice


def test_an_unknown_present_year_fails() -> None:
    findings = list(check_calendar(WorkCalendar(), date(2099, 1, 1)))
    assert findings[0].level == "fail"


def test_a_service_may_be_ready_without_what_it_can_do_without() -> None:
    assert judge("crisis", {"pager": True}, {"bus": True}).level == "ok"
    assert judge("crisis", {"pager": True}, {"bus": False, "database": True}).level == "warn"
    assert judge("crisis", {"pager": True}, {"bus": False}).what == "crisis is ready without: bus"
    assert judge("intake", {"stores": False}, {"bus": False}).level == "fail"


def test_provisional_dates_are_counted_by_year_with_what_to_do() -> None:
    calendar = WorkCalendar(known_years=[2030, 2031])
    known, at_its_end, unknown = judge_provisional({2032: 7, 2030: 3, 2031: 2}, calendar)

    assert (known.level, known.what[:15]) == ("warn", "3 dates in 2030")
    assert "restart the scheduler" in known.advice
    assert (at_its_end.level, at_its_end.what[:15]) == ("ok", "2 dates in 2031")  # it may need days of 2032
    assert (unknown.level, unknown.what[:15]) == ("ok", "7 dates in 2032")
    assert "workdays.yaml" in unknown.advice
    assert [finding.what for finding in judge_provisional({}, calendar)] == ["no planned date is provisional"]


# --- the rota -------------------------------------------------------------------------------------------------


def rota_levels(**until: float) -> list[str]:
    lines = [f'aftercare_rota_next_gap_seconds{{role="{role}"}} {value}' for role, value in until.items()]
    return [finding.level for finding in judge_rota("\n".join([*lines, ""]))]


def test_a_gap_fails_one_that_comes_warns() -> None:
    assert rota_levels(a=0.0, b=86_400.0, c=float("inf")) == ["fail", "warn", "ok"]
    assert rota_levels() == ["ok"]


def test_a_rota_that_cannot_be_read_fails() -> None:
    assert [finding.level for finding in judge_rota("aftercare_rota_unreadable 1.0\n")] == ["fail", "ok"]
