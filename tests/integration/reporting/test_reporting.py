"""Reporting on the real broker and database: events in, figures and one report out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from shared.contracts.envelope import Event
from shared.contracts.events import ReportPublished, SessionEnd
from shared.contracts.sampling import drawn, found, item_id
from shared.web.auth import Role
from tests.builders import client_erased
from tests.conftest import Start
from tests.unit.reporting.events import (
    at,
    classified,
    duty,
    escalation,
    incident,
    milestone,
    planned,
    recorded,
    report_due,
)


def a_month() -> list[Event]:
    """March 2026 of a small company: three closed follow-ups, one of them done and one refused."""
    return [
        recorded("f1", "2026-03-10", satisfaction=4, flags=("complaint",)),  # before it was planned
        planned("f1", "2026-03-10"),
        planned("f2", "2026-03-11"),
        recorded("f2", "2026-03-11", "refused"),
        planned("f3", "2026-03-12"),
        planned("f4", "2026-03-13", rule="counselling-every-3"),
        planned("f4", "2026-03-13", rule="counselling-every-3", change="superseded", time=at("2026-03-12")),
        duty("d1", "opened", "2026-03-10", "2026-03-17"),
        duty("d1", "fulfilled", "2026-03-12", "2026-03-17"),
        incident("i1", "opened", at("2026-03-20")),
        incident("i1", "paged", at("2026-03-20 10:01"), step="head"),
        incident("i1", "intervening", at("2026-03-20 10:20")),
        classified("case-f1", closed_at=at("2026-03-01")),
        escalation("e1", "2026-03-18"),
    ]


if TYPE_CHECKING:
    from tests.system import System


@pytest.fixture
async def system(stack: Start) -> AsyncIterator[System]:
    async with stack("reporting", start="2026-04-03 10:00") as system:
        yield system


async def get(system: System, path: str, *roles: Role) -> httpx.Response:
    async with system.client("reporting", *roles) as client:
        return await client.get(path)


async def figures(system: System, query: str) -> Any:
    return (await get(system, f"/v1/coverage?month={query}", "manager")).json()


@pytest.mark.clause("F37")
async def test_events_become_the_figures_of_their_month(system: System) -> None:
    await system.publish(*a_month())

    told = await figures(system, "2026-03")

    closed, in_counselling = told["classes"][:2]
    assert (closed["due"], closed["completed"], closed["refused"], closed["missed"]) == (3, 1, 1, 1)
    assert closed["rate"]["value"] == 1 / 3
    assert closed["rate_less_refusals"]["value"] == 1 / 2
    assert (closed["clause"], closed["target"], closed["met"]) == ("F37", 0.9, False)
    assert (in_counselling["superseded"], in_counselling["due"]) == (1, 0)
    assert in_counselling["rate"]["value"] is None
    assert told["satisfaction"]["mean"] == 4
    assert told["flags"] == {"complaint": 1}
    assert [(one["rule"], one["fulfilled"], one["late"]) for one in told["duties"]] == [("handle-5wd", 1, 0)]
    assert told["incidents"]["intervention_in_time"]["value"] == 1
    assert told["cases"]["closed"] == 1
    assert (await figures(system, "2026-02"))["classes"][0]["rate"]["value"] is None


@pytest.mark.clause("F64")
async def test_a_report_is_published_once_though_its_date_is_told_twice(system: System) -> None:
    await system.publish(*a_month())
    due = report_due("2026-03", "2026-04-03")

    await system.publish(due)
    await system.publish(due)
    await system.publish(report_due("2026-03", "2026-04-03", nth=1))  # another event, of the same date
    await system.publish(report_due("2026-03", "2026-04-03", rule="classification-5th", clause="F15"))

    (event,) = await system.events("report-published")
    assert isinstance(event.data, ReportPublished)
    assert (event.subject, event.data.month, event.data.report) == (
        "2026-03",
        "2026-03",
        "follow-up-analysis",
    )
    assert (event.data.figures["closed-due"], event.data.figures["satisfaction"]) == (3, 4)
    listed = (await get(system, "/v1/reports", "manager")).json()
    assert [item["month"] for item in listed["items"]] == ["2026-03"]


async def test_what_is_told_after_publication_changes_the_live_figures_alone(system: System) -> None:
    await system.publish(*a_month())
    await system.publish(report_due("2026-03", "2026-04-03"))

    await system.publish(recorded("f3", "2026-03-12", recorded_at=at("2026-04-03 09:00")))

    snapshot = (await get(system, "/v1/reports/2026-03.json", "manager")).json()
    live = (await get(system, "/v1/reports/2026-03.json?live=true", "manager")).json()
    assert snapshot["published_at"] == "2026-04-03T02:00:00Z"
    assert snapshot["figures"]["classes"][0]["completed"] == 1
    assert (live["published_at"], live["figures"]["classes"][0]["completed"]) == (None, 2)


async def test_a_batch_holds_its_own_report(system: System) -> None:
    """The date of the report and the month's last events may come in one batch."""
    await system.publish(*a_month(), report_due("2026-03", "2026-04-03"))

    report = (await get(system, "/v1/reports/2026-03.json", "manager")).json()
    assert report["figures"]["classes"][0]["due"] == 3


async def test_no_client_id_is_ever_stored(system: System) -> None:
    """Nothing has to be erased where nothing was kept; what was counted stays counted."""
    await system.publish(*a_month(), client_erased(client_id="client-f1", requested_at="2026-04-02"))

    stored = [
        document
        for name in await system.db("reporting").list_collection_names()
        async for document in system.db("reporting").get_collection(name).find()
    ]
    assert len([one for one in stored if not str(one["_id"]).startswith("in ")]) >= 8
    assert "client-f1" not in str(stored)
    assert (await figures(system, "2026-03"))["classes"][0]["completed"] == 1


async def test_only_those_who_answer_for_the_regime_may_read(system: System) -> None:
    for path in ("/v1/coverage?month=2026-03", "/v1/reports/2026-03.html", "/v1/reports/2026-03.json"):
        assert (await get(system, path)).status_code == 401
        assert (await get(system, path, "counsellor")).status_code == 403
        assert (await get(system, path, "compliance")).status_code == 200


async def test_a_month_that_is_none_is_refused(system: System) -> None:
    for path in ("/v1/coverage?month=2026-13", "/v1/reports/2026-13.html", "/v1/reports/march.json"):
        answer = await get(system, path, "manager")
        assert answer.status_code == 422
        assert answer.json()["reason"] == "invalid-field"
    assert (await get(system, "/v1/reports/2026-03.docx", "manager")).status_code == 404


async def test_the_page_is_served_with_a_policy_that_lets_nothing_in(system: System) -> None:
    await system.publish(*a_month())

    answer = await get(system, "/v1/reports/2026-03.html", "manager")

    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "2026" in answer.text


@pytest.mark.clause("F73", "A22")
async def test_what_was_drawn_and_found_reaches_the_report(system: System) -> None:
    subject = item_id("2026-02", "record", "f1")
    await system.publish(
        milestone(found("record", "accurate", True), subject),  # before it was drawn
        milestone(drawn("record"), subject),
        milestone(drawn("record"), item_id("2026-02", "record", "f2")),
    )
    await system.publish(report_due("2026-03", "2026-04-03"))

    report = (await get(system, "/v1/reports/2026-03.json", "manager")).json()["figures"]
    assert [(one["kind"], one["drawn"], one["checked"]) for one in report["samples"]] == [
        ("record", 2, 1),
        ("recording", 0, 0),
    ]
    accurate = next(one for one in report["indicators"] if one["name"] == "session-records-accurate")
    assert (accurate["value"], accurate["counted"]) == (1, 1)


def rated_calls() -> list[Event]:
    """Twelve calls a head, one in each month of 2026; staff-0 is liked least."""
    return [
        one
        for n in range(5)
        for month in range(1, 13)
        for one in (
            planned(f"r{n}-{month}", f"2026-{month:02}-10", time=at("2025-12-20")),
            recorded(f"r{n}-{month}", f"2026-{month:02}-10", by=f"staff-{n}", satisfaction=n + 1),
        )
    ]


@pytest.mark.clause("F76")
async def test_the_report_of_december_ranks_the_whole_year(stack: Start) -> None:
    async with stack("reporting", start="2027-01-05 10:00") as system:
        # One of the year's first calls is told with the date of the report: it may share its batch.
        early, later = rated_calls()[:2], rated_calls()[2:]
        await system.publish(*later)
        await system.publish(*early, report_due("2026-12", "2027-01-05"))

        report = (await get(system, "/v1/reports/2026-12.json", "manager")).json()["figures"]["reward"]
        year = (await get(system, "/v1/years/2026/staff", "manager")).json()
        live = (await get(system, "/v1/coverage?month=2026-12", "manager")).json()["reward"]
        assert report == live == year["reward"]
        assert (report["ranked"], report["staff"]) == (
            5,
            [{"staff_id": "staff-4", "mean": 5.0, "ratings": 12}],
        )
        assert [one["staff_id"] for one in year["ranking"]] == [f"staff-{n}" for n in (4, 3, 2, 1, 0)]
        assert (await get(system, "/v1/years/2026/staff", "operations")).status_code == 403
        assert (await get(system, "/v1/years/26/staff", "manager")).status_code == 422


def served(key: str, ended: str) -> Event:
    return classified(key, session_ends=(SessionEnd(session_no=1, ended_at=at(ended)),))


@pytest.mark.clause("F66", "F67")
async def test_finance_tells_what_was_spent_and_the_report_holds_it_against_what_is_allowed(
    system: System,
) -> None:
    await system.publish(served("c1", "2026-01-01 00:00"), served("c2", "2025-12-31 23:59"))
    assert (await get(system, "/v1/budgets/2026", "finance")).status_code == 404
    async with system.client("reporting", "finance", subject="finance-1") as http:
        first = await http.put("/v1/budgets/2026", json={"spent": {"training": 9_999}})
        put = await http.put("/v1/budgets/2026", json={"spent": {"training": 6_000, "other": 1}})
        for spoilt in ({"training": 0.5}, {"training": -1}, {"party": 1}):
            assert (await http.put("/v1/budgets/2026", json={"spent": spoilt})).status_code == 422
        assert (await http.put("/v1/budgets/26", json={"spent": {}})).status_code == 422
    assert (first.status_code, first.json()["total"]) == (200, 9_999)
    assert (put.json()["served"], put.json()["allowed"], put.json()["met"]) == (1, 3_000, False)
    assert put.json()["as_meant"] is False

    # A second case of the year is told with the date of the report: it may share its batch.
    await system.publish(served("c3", "2026-03-10"), report_due("2026-03", "2026-04-03"))
    report = (await get(system, "/v1/reports/2026-03.json", "manager")).json()["figures"]
    live = (await get(system, "/v1/budgets/2026", "manager")).json()
    assert report["budget"] == live
    assert (live["served"], live["allowed"], live["total"], live["met"]) == (2, 6_000, 6_001, False)
    indicator = next(one for one in report["indicators"] if one["name"] == "budget-per-client")
    assert (indicator["value"], indicator["counted"], indicator["met"]) == (30.005, 2, False)

    async with system.client("reporting", "manager") as http:
        assert (await http.put("/v1/budgets/2026", json={"spent": {}})).status_code == 403
    assert (await get(system, "/v1/budgets/2026", "operations")).status_code == 403
