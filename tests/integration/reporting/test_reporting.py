"""Reporting on the real broker and database: events in, figures and one report out."""

from __future__ import annotations

from typing import Any

from shared.contracts.envelope import Event
from shared.contracts.events import ClientErased
from tests.integration.reporting.conftest import Stack
from tests.unit.reporting.events import (
    at,
    classified,
    duty,
    escalation,
    event,
    incident,
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


async def published(stack: Stack) -> list[dict[str, Any]]:
    """The journal's records of `report-published`."""
    journal = stack.app.state.runtime.db.get_collection("journal")
    return [
        record
        async for entry in journal.find({"records.topic": "report-published"})
        for record in entry["records"]
    ]


async def test_events_become_the_figures_of_their_month(stack: Stack) -> None:
    await stack.publish(*a_month())

    answer = await stack.get("/v1/coverage?month=2026-03")

    assert answer.status_code == 200
    figures = answer.json()
    closed, in_counselling = figures["classes"][:2]
    assert (closed["due"], closed["completed"], closed["refused"], closed["missed"]) == (3, 1, 1, 1)
    assert closed["rate"]["value"] == 1 / 3
    assert closed["rate_less_refusals"]["value"] == 1 / 2
    assert (closed["clause"], closed["target"], closed["met"]) == ("F37", 0.9, False)
    assert (in_counselling["superseded"], in_counselling["due"]) == (1, 0)
    assert in_counselling["rate"]["value"] is None
    assert figures["satisfaction"]["mean"] == 4
    assert figures["flags"] == {"complaint": 1}
    assert [(one["rule"], one["fulfilled"], one["late"]) for one in figures["duties"]] == [
        ("handle-5wd", 1, 0)
    ]
    assert figures["incidents"]["intervention_in_time"]["value"] == 1
    assert figures["cases"]["closed"] == 1
    assert (await stack.get("/v1/coverage?month=2026-02")).json()["classes"][0]["rate"]["value"] is None


async def test_a_report_is_published_once_though_its_date_is_told_twice(stack: Stack) -> None:
    await stack.publish(*a_month())
    due = report_due("2026-03", "2026-04-03")

    await stack.publish(due)
    await stack.publish(due)
    await stack.publish(report_due("2026-03", "2026-04-03", nth=1))  # another event, of the same date
    await stack.publish(report_due("2026-03", "2026-04-03", rule="classification-5th", clause="F15"))

    (record,) = await published(stack)
    assert record["key"] == b"2026-03"
    assert b'"closed-due":3' in record["value"]
    assert b'"satisfaction":4' in record["value"]
    listed = (await stack.get("/v1/reports")).json()
    assert [item["month"] for item in listed["items"]] == ["2026-03"]


async def test_what_is_told_after_publication_changes_the_live_figures_alone(stack: Stack) -> None:
    await stack.publish(*a_month())
    await stack.publish(report_due("2026-03", "2026-04-03"))

    await stack.publish(recorded("f3", "2026-03-12", recorded_at=at("2026-04-03 09:00")))

    snapshot = (await stack.get("/v1/reports/2026-03.json")).json()
    live = (await stack.get("/v1/reports/2026-03.json?live=true")).json()
    assert snapshot["published_at"] == "2026-04-03T02:00:00Z"
    assert snapshot["figures"]["classes"][0]["completed"] == 1
    assert (live["published_at"], live["figures"]["classes"][0]["completed"]) == (None, 2)


async def test_a_batch_holds_its_own_report(stack: Stack) -> None:
    """The date of the report and the month's last events may come in one batch."""
    await stack.publish(*a_month(), report_due("2026-03", "2026-04-03"))

    figures = (await stack.get("/v1/reports/2026-03.json")).json()["figures"]
    assert figures["classes"][0]["due"] == 3


async def test_no_client_id_is_ever_stored(stack: Stack) -> None:
    erased = ClientErased(client_id="client-f1", requested_at=at("2026-04-02"), by="compliance-1")
    await stack.publish(*a_month(), event("client-erased", erased, at("2026-04-02")))

    stored = [
        str(document) for document in await stack.stored() if not str(document.get("_id")).startswith("in ")
    ]
    assert len(stored) >= 8
    assert not [document for document in stored if "client-f1" in document]
    assert (await stack.get("/v1/coverage?month=2026-03")).json()["classes"][0]["completed"] == 1


async def test_only_those_who_answer_for_the_regime_may_read(stack: Stack) -> None:
    for path in ("/v1/coverage?month=2026-03", "/v1/reports/2026-03.html", "/v1/reports/2026-03.json"):
        assert (await stack.get(path, roles=())).status_code == 401
        assert (await stack.get(path, roles=("counsellor",))).status_code == 403
        assert (await stack.get(path, roles=("compliance",))).status_code == 200


async def test_a_month_that_is_none_is_refused(stack: Stack) -> None:
    for path in ("/v1/coverage?month=2026-13", "/v1/reports/2026-13.html", "/v1/reports/march.json"):
        answer = await stack.get(path)
        assert answer.status_code == 422
        assert answer.json()["reason"] == "invalid-field"
    assert (await stack.get("/v1/reports/2026-03.docx")).status_code == 404


async def test_the_page_is_served_with_a_policy_that_lets_nothing_in(stack: Stack) -> None:
    await stack.publish(*a_month())

    answer = await stack.get("/v1/reports/2026-03.html")

    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "2026" in answer.text
