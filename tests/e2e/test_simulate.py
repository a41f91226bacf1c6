"""`aftercare simulate` from outside: files in, files out, on real engines with all five services."""

from __future__ import annotations

import json
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from aftercare.simulate import InputError, Lateness, StaffKind, read_input, simulate_file
from tests.versions import two_versions

CASE, CLIENT = "case-1", "client-1"


def event(topic: str, time: str, subject: str = CASE, number: int = 1, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": f"{topic}-{number}-{subject}",
        "source": "/company/counselling",
        "type": f"aftercare.{topic}.v1",
        "time": time,
        "subject": subject,
        "data": data,
    }


def session(number: int, day: str) -> dict[str, Any]:
    return event(
        "session-completed",
        f"{day}T16:00:00+08:00",
        number=number,
        case_id=CASE,
        client_id=CLIENT,
        session_no=number,
        mode="individual",
        started_at=f"{day}T15:00:00+08:00",
        ended_at=f"{day}T16:00:00+08:00",
        marks=[],
    )


def closed(day: str, outcome: str = "as-expected") -> dict[str, Any]:
    at = f"{day}T17:00:00+08:00"
    return event(
        "case-closed", at, case_id=CASE, client_id=CLIENT, closed_at=at, sessions_completed=4, outcome=outcome
    )


def flagged(day: str) -> dict[str, Any]:
    at = f"{day}T11:00:00+08:00"
    return event(
        "crisis-flagged",
        at,
        CLIENT,
        client_id=CLIENT,
        flagged_at=at,
        source="counsellor",
        signals=["self-harm"],
        level="high",
    )


TIMELINE = [
    session(1, "2026-03-02"),
    session(2, "2026-03-09"),
    session(3, "2026-03-16"),
    session(4, "2026-03-23"),
    closed("2026-03-25"),
]


def lines(events: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(one) for one in events]


def written(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]


def final_follow_ups(events: list[dict[str, Any]]) -> dict[str, tuple[str, str, str]]:
    """Follow-up id to rule, day and last change, of those that stand."""
    found: dict[str, tuple[str, str, str]] = {}
    for one in events:
        if one["type"] == "aftercare.follow-up-planned.v1":
            data = one["data"]
            found[data["follow_up_id"]] = (data["rule"], data["scheduled_for"], data["complete_by"])
            if data["change"] in ("cancelled", "superseded"):
                del found[data["follow_up_id"]]
    return found


def aside_from_ids(events: list[dict[str, Any]]) -> list[str]:
    """What is left of events when ids and the order within one instant are put aside."""
    return sorted(json.dumps({**one, "id": ""}, sort_keys=True) for one in events)


@pytest.mark.clause("F36", "F38")
async def test_diligent_staff_conduct_what_the_clauses_ask_for(tmp_path: Path) -> None:
    summary = await simulate_file(lines(TIMELINE), tmp_path, staff=StaffKind.diligent)

    # F38: after the third session; F36: 15 days and 3 months after closing. 9 April 2026 is a Thursday, 25 June too.
    stand = sorted((rule, at) for rule, at, _ in final_follow_ups(written(tmp_path)).values())
    assert stand == [
        ("closed-15d", "2026-04-09T10:00:00+08:00"),
        ("closed-3m", "2026-06-25T10:00:00+08:00"),
        ("counselling-every-3", "2026-03-18T10:00:00+08:00"),
    ]
    completed = {rule: counts["completed"] for rule, counts in summary["follow_ups"].items()}
    assert completed == {"closed-15d": 1, "closed-3m": 1, "counselling-every-3": 1}
    assert all(counts["late"] == 0 for counts in summary["duties"].values())
    assert summary["dead_letters"] == 0
    assert json.loads((tmp_path / "summary.json").read_text()) == summary


async def test_who_is_refused_for_an_acute_crisis_is_paged_and_planned_nothing_but_care_after_it(
    tmp_path: Path,
) -> None:
    """W26: nothing of counselling is planned, whatever else is told of the case; A32 stands beside it."""
    at = "2026-03-01T10:00:00+08:00"
    opened = event(
        "case-opened", at, case_id=CASE, client_id=CLIENT, counsellor_id="counsellor-1",
        service="workplace-adaptation", agreed_sessions=4, opened_at=at,
        eligibility={"acute_crisis": True, "severe_illness": False},
    )  # fmt: skip
    summary = await simulate_file(lines([opened, *TIMELINE]), tmp_path, staff=StaffKind.diligent)

    told = written(tmp_path)
    statuses = {one["data"]["status"] for one in told if one["type"] == "aftercare.case-classified.v1"}
    assert statuses == {"referred"}
    assert summary["incidents"] == 1
    assert summary["events"]["crisis-flagged"] == 1
    assert {rule: counts["completed"] for rule, counts in summary["follow_ups"].items()} == {
        "crisis-aftercare": 4
    }
    assert summary["dead_letters"] == 0


ADAPTATION = [
    event(
        "case-opened",
        "2026-03-02T10:00:00+08:00",
        case_id=CASE,
        client_id=CLIENT,
        counsellor_id="counsellor-1",
        service="workplace-adaptation",
        agreed_sessions=4,
        opened_at="2026-03-02T10:00:00+08:00",
        eligibility={"age": 34, "employment": "employed", "acute_crisis": False, "severe_illness": False},
    ),
    event(
        "session-scheduled",
        "2026-03-03T10:00:00+08:00",
        case_id=CASE,
        client_id=CLIENT,
        session_no=1,
        mode="individual",
        starts_at="2026-03-09T15:00:00+08:00",
    ),
    session(1, "2026-03-09"),
    session(2, "2026-03-16"),
    closed("2026-03-25"),
]


async def test_diligent_staff_meet_every_duty_of_a_case_and_of_the_calendar(tmp_path: Path) -> None:
    summary = await simulate_file(lines(ADAPTATION), tmp_path, staff=StaffKind.diligent)

    duties = summary["duties"]
    assert {rule for rule, counts in duties.items() if counts["late"]} == set()
    # W13: every third working day from 2 March to 25 March, each counted from the last: six times, the last cancelled.
    assert duties["progress-3wd"] == {"opened": 6, "fulfilled": 5, "late": 0}
    for rule in (
        "standard-3wd",
        "assessment-2wd",
        "plan-sent-1wd",
        "evaluation-1wd",
        "effect-1m",
        "effect-service-1m",
        "report-out",
    ):
        assert duties[rule]["fulfilled"] == duties[rule]["opened"] >= 1, rule
    assert duties["session-record-2h"]["fulfilled"] == 2
    for rule in ("first-supervision-held", "second-supervision-held"):  # W11: March to June
        assert duties[rule] == {"opened": 4, "fulfilled": 4, "late": 0}


async def test_absent_staff_miss_everything_and_somebody_is_told(tmp_path: Path) -> None:
    summary = await simulate_file(lines(TIMELINE), tmp_path, staff=StaffKind.absent)

    assert summary["follow_ups"]["closed-15d"] == {
        "planned": 1, "completed": 0, "missed": 1, "superseded": 0, "cancelled": 0,
    }  # fmt: skip
    assert summary["follow_ups"]["counselling-every-3"]["superseded"] == 1
    assert summary["until"] == "2026-07-02T23:59:59+08:00"
    reasons = {one["data"]["reason"] for one in written(tmp_path) if "escalation-required" in one["type"]}
    assert "follow-up-missed" in reasons


async def test_the_order_of_the_lines_changes_nothing(tmp_path: Path) -> None:
    shuffled = lines(TIMELINE)
    random.Random(3).shuffle(shuffled)

    await simulate_file(lines(TIMELINE), tmp_path / "a", staff=StaffKind.diligent)
    await simulate_file(shuffled, tmp_path / "b", staff=StaffKind.diligent)

    assert aside_from_ids(written(tmp_path / "a")) == aside_from_ids(written(tmp_path / "b"))


async def test_late_events_lead_to_the_same_follow_ups(tmp_path: Path) -> None:
    await simulate_file(lines(TIMELINE), tmp_path / "a")
    await simulate_file(lines(TIMELINE), tmp_path / "b", late=Lateness(5, 20))

    assert final_follow_ups(written(tmp_path / "a")) == final_follow_ups(written(tmp_path / "b"))


async def test_a_version_begins_in_the_middle_of_a_run(tmp_path: Path) -> None:
    policy = two_versions(tmp_path, "2026-04-01")
    summary = await simulate_file(lines(TIMELINE), tmp_path / "a", staff=StaffKind.diligent, policy=policy)
    told = written(tmp_path / "a")

    # The first is over, the second moves from 9 April to 14 April, a Tuesday, and the third is asked for no more.
    stand = sorted((rule, at) for rule, at, _ in final_follow_ups(told).values())
    assert stand == [
        ("closed-15d", "2026-04-14T10:00:00+08:00"),
        ("counselling-every-3", "2026-03-18T10:00:00+08:00"),
    ]
    changed = [
        (one["time"], one["data"]["rule"], one["data"]["change"])
        for one in told
        if one["data"].get("reason") == "policy-changed"
    ]
    begins = "2026-04-01T00:00:00+08:00"
    assert sorted(changed) == [(begins, "closed-15d", "moved"), (begins, "closed-3m", "cancelled")]
    assert all(counts["late"] == 0 for counts in summary["duties"].values())
    reports = [one["data"]["due_at"] for one in told if one["data"].get("rule") == "report-5th"]
    assert reports == ["2026-03-05T10:00:00+08:00", "2026-04-10T10:00:00+08:00"]

    # The same where events come late; nobody conducts anything there, so the ending overtakes the first.
    await simulate_file(lines(TIMELINE), tmp_path / "b", late=Lateness(5, 20), policy=policy)
    late = final_follow_ups(written(tmp_path / "b")).values()
    assert [(rule, at) for rule, at, _ in late] == stand[:1]


async def test_a_crisis_is_paged_and_nothing_leaves_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    until = datetime.fromisoformat("2026-03-03T23:59:59+08:00")
    summary = await simulate_file(
        lines([session(1, "2026-03-02"), flagged("2026-03-03")]),
        tmp_path,
        staff=StaffKind.diligent,
        until=until,
    )

    assert summary["incidents"] == 1
    assert summary["pages"] >= 1
    changes = [one["data"]["change"] for one in written(tmp_path) if "incident-changed" in one["type"]]
    assert changes[0] == "opened"
    assert {"paged", "acknowledged", "intervening", "resolved"} <= set(changes)


async def test_bad_events_become_dead_letters_and_the_rest_goes_on(tmp_path: Path) -> None:
    bad = event("case-closed", "2026-03-25T17:00:00+08:00", number=9, case_id=CASE, closed_at="yesterday")
    summary = await simulate_file(lines([*TIMELINE, bad]), tmp_path, staff=StaffKind.diligent)

    assert summary["follow_ups"]["closed-15d"]["completed"] == 1
    assert summary["dead_letters"] == 3  # intake, scheduler and reporting each read the topic


@pytest.mark.parametrize(
    "line", ["not json", "[]", '{"type": "aftercare.case-closed.v1"}', '{"type": "x.y.v1", "time": "2026"}']
)
def test_a_line_that_is_no_event_is_named(line: str) -> None:
    with pytest.raises(InputError, match="line 2"):
        read_input([json.dumps(TIMELINE[0]), line])


def test_what_company_systems_may_not_publish_is_refused() -> None:
    ours = event("case-classified", "2026-03-25T17:00:00+08:00")
    with pytest.raises(InputError, match="line 1: company systems"):
        read_input([json.dumps(ours)])
