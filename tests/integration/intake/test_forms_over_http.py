"""Forms over HTTP: sealed where they lie, each read recorded, gone with the client; complete, they fulfil a duty."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.policy.model import REGIME
from tests.builders import (
    at,
    case_opened,
    client_erased,
    milestone_reached,
    session_completed,
    session_scheduled,
)
from tests.conftest import Start
from tests.integration.intake.test_case_files import everything
from tests.system import System

ADAPTATION = case_opened(service="workplace-adaptation")
ASSESSMENT = {
    "adaptation": 40,
    "interpersonal-fit": 55,
    "problem-type": ["skill"],
    "severity": "moderate",
    "findings": "steht unter Druck",
}
BOOKING = {"name": "李明", "career-stage": "new-hire", "first-need": "fitting in with the night shift"}
CASE_FORM = "/v1/cases/case-1/forms/assessment"
BOOKING_FORM = "/v1/bookings/booking-1/forms/booking"


async def put(
    system: System, path: str, fields: dict[str, Any], *roles: Any, revision: int = 0, **about: str
) -> httpx.Response:
    async with system.client("intake", *(roles or ("counsellor",)), subject="counsellor-1") as client:
        return await client.put(path, json={"fields": fields, "revision": revision, **about})


async def get(system: System, path: str, *roles: Any) -> httpx.Response:
    async with system.client("intake", *(roles or ("counsellor",)), subject="counsellor-7") as client:
        return await client.get(path)


async def milestones(system: System) -> list[tuple[str, str, str | None, str]]:
    await system.settled()
    told: list[Any] = [event.data for event in await system.events("milestone-reached")]
    return [(one.milestone, one.subject, one.case_id, one.by) for one in told]


@pytest.mark.clause("W35", "W37", "F6", "F9")
async def test_a_form_is_sealed_and_each_read_is_recorded(stack: Start) -> None:
    async with stack("intake") as system:
        early = await put(system, CASE_FORM, ASSESSMENT)
        await system.publish(ADAPTATION)
        taken = await put(system, CASE_FORM, ASSESSMENT)
        answer = await get(system, CASE_FORM)
        log = [entry async for entry in system.db("intake").get_collection("access_log").find()]
        held = await everything(system)
        records = b"".join(record.value for record in await system.records("milestone-reached"))

    assert (early.status_code, early.json()["reason"]) == (404, "unknown-case")
    standing = {
        "form": "assessment",
        "revision": 1,
        "complete": True,
        "missing": [],
        "marks": [],
        "by": "counsellor-1",
        "at": "2026-05-06T09:00:00+08:00",
    }
    assert (taken.status_code, taken.json()) == (200, standing)
    assert answer.json() == standing | {"fields": ASSESSMENT}
    assert [(one["who"], one["what"], one["case_id"], one["client_id"]) for one in log] == [
        ("counsellor-7", "form-assessment", "case-1", "client-1")
    ]
    for text in ("steht unter Druck", "moderate", "interpersonal-fit"):
        assert text not in held
        assert text.encode() not in records


@pytest.mark.clause("W34")
async def test_the_assessment_written_is_the_assessment_done(stack: Start) -> None:
    """One report, however often it is written; no second one by hand."""
    async with stack("intake", "scheduler", start="2026-03-02 10:00") as system:
        await system.publish(ADAPTATION)
        unfinished = await put(system, CASE_FORM, {"severity": "mild"})
        assert await milestones(system) == []
        await put(system, CASE_FORM, ASSESSMENT, revision=1)
        await put(system, CASE_FORM, ASSESSMENT | {"severity": "severe"}, revision=2)
        told = await milestones(system)
        async with system.client("scheduler", "operations") as client:
            duties = (await client.get("/v1/duties?case_id=case-1")).json()["items"]

    assert unfinished.json()["complete"] is False
    assert unfinished.json()["missing"] == ["adaptation", "interpersonal-fit", "problem-type"]
    assert told == [("assessment-done", "case-1", "case-1", "counsellor-1")]
    states = {duty["rule"]: duty["state"] for duty in duties}
    assert states["assessment-2wd"] == "fulfilled"
    assert states["assessment-reported-1wd"] == "open"  # W38: what it opens in its turn


async def test_a_case_that_is_opened_anew_is_assessed_anew(stack: Start) -> None:
    async with stack("intake") as system:
        await system.publish(ADAPTATION)
        await put(system, CASE_FORM, ASSESSMENT)
        await system.publish(
            case_opened(service="workplace-adaptation", opened_at="2026-05-05 10:00", time="2026-05-05 10:00")
        )
        await put(system, CASE_FORM, ASSESSMENT | {"severity": "mild"}, revision=1)
        told = await milestones(system)

    assert [name for name, *_ in told] == ["assessment-done", "assessment-done"]


async def test_who_has_not_read_the_last_version_overwrites_nothing(stack: Start) -> None:
    async with stack("intake") as system:
        await system.publish(ADAPTATION)
        both = await asyncio.gather(
            put(system, CASE_FORM, ASSESSMENT), put(system, CASE_FORM, ASSESSMENT | {"severity": "mild"})
        )
        first = next(answer for answer in both if answer.status_code == 200)
        late = next(answer for answer in both if answer.status_code != 200)
        again = await put(system, CASE_FORM, ASSESSMENT | {"severity": "severe"})
        kept = (await get(system, CASE_FORM)).json()
        repeated = await put(system, CASE_FORM, kept["fields"])
        less = await put(system, CASE_FORM, {"severity": "mild"}, revision=1)
        told = await milestones(system)

    assert first.json()["revision"] == kept["revision"] == 1
    for answer in (late, again):
        assert (answer.status_code, answer.json()["reason"]) == (409, "changed-meanwhile")
        assert answer.json()["field"] == "body.revision"
    assert (repeated.status_code, repeated.json()["revision"]) == (200, 1)  # the same once more is harmless
    assert (less.status_code, less.json()["field"]) == (422, "body.fields.adaptation")
    assert len(told) == 1


@pytest.mark.clause("F9", "W4")
async def test_a_refusal_names_the_field_and_never_the_value(stack: Start) -> None:
    refused = [
        ({"severity": "SECRET"}, "body.fields.severity"),
        ({"adaptation": 4711}, "body.fields.adaptation"),
        ({"findings": "SECRET 13800138000"}, "body.fields.findings"),
        ({"SECRET": 1}, "body.fields.(unknown field)"),
    ]
    async with stack("intake") as system:
        await system.publish(ADAPTATION)
        answers = [(await put(system, CASE_FORM, fields), field) for fields, field in refused]
        held = await everything(system)
        nothing = await get(system, CASE_FORM)

    for answer, field in answers:
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        assert (answer.json()["reason"], answer.json()["field"]) == ("invalid-field", field)
        for value in ("SECRET", "4711", "13800138000"):
            assert value not in answer.text
            assert value not in held
    assert (nothing.status_code, nothing.json()["reason"]) == (404, "no-form")


@pytest.mark.clause("F47")
async def test_who_may_write_and_read_which_form(stack: Start) -> None:
    async with stack("intake") as system:
        await system.publish(
            ADAPTATION, case_opened(case_id="case-2", client_id="client-2", service="stress")
        )
        statuses = {
            "operations writes": (await put(system, CASE_FORM, ASSESSMENT, "operations")),
            "customer service assesses": (await put(system, CASE_FORM, ASSESSMENT, "customer-service")),
            "nobody": (await put(system, CASE_FORM, ASSESSMENT, "engineer")),
            "operations reads": (await get(system, CASE_FORM, "operations")),
            "customer service reads": (await get(system, CASE_FORM, "customer-service")),
            "a booking's form of a case": (await put(system, "/v1/cases/case-1/forms/booking", BOOKING)),
            "no such form": (await get(system, "/v1/cases/case-1/forms/horoscope")),
            "of another service": (await put(system, "/v1/cases/case-2/forms/assessment", ASSESSMENT)),
        }
        taken = await put(system, CASE_FORM, ASSESSMENT)
        supervised = await get(system, CASE_FORM, "supervisor")
        listed = await get(system, "/v1/forms")

    assert {name: (answer.status_code, answer.json()["reason"]) for name, answer in statuses.items()} == {
        "operations writes": (403, "missing-role"),
        "customer service assesses": (403, "missing-role"),
        "nobody": (403, "missing-role"),
        "operations reads": (403, "missing-role"),
        "customer service reads": (403, "missing-role"),
        "a booking's form of a case": (404, "unknown-form"),
        "no such form": (404, "unknown-form"),
        "of another service": (409, "another-service"),
    }
    assert (taken.status_code, supervised.status_code) == (200, 200)
    (asked,) = [form for form in listed.json()["items"] if form["name"] == "assessment"]
    assert asked["milestone"] == "assessment-done"
    assert [field["name"] for field in asked["fields"]] == list(ASSESSMENT)


@pytest.mark.clause("F47", "F48")
async def test_the_de_identified_file_shows_codes_of_the_assessment_and_nothing_of_the_booking(
    stack: Start,
) -> None:
    file = {"kind_of_counselling": "职场适应", "core_problem": "the new team", "closing_advice": ""}
    async with stack("intake") as system:
        await system.publish(ADAPTATION)
        await put(system, BOOKING_FORM, BOOKING, "publisher", client_id="client-1")
        async with system.client("intake", "counsellor") as client:
            await client.put("/v1/cases/case-1/file", json=file)
        before = await get(system, "/v1/cases/case-1/file", "operations")
        await put(system, CASE_FORM, ASSESSMENT)
        after = await get(system, "/v1/cases/case-1/file", "operations")

    assert before.json() == file
    assert after.json() == file | {"from_forms": {"problem-type": ["skill"], "severity": "moderate"}}


@pytest.mark.clause("W30", "W31", "F7")
async def test_a_booking_form_is_kept_for_whom_it_is_about_and_goes_with_the_client(stack: Start) -> None:
    company = {"company": "某厂", "contact": "head of training", "headcount": 120, "first-need": "new hires"}
    async with stack("intake") as system:
        nobody = await put(system, BOOKING_FORM, BOOKING, "publisher")
        mine = await put(system, BOOKING_FORM, BOOKING, "publisher", client_id="client-1")
        other = await put(system, BOOKING_FORM, BOOKING, "publisher", client_id="client-2", revision=1)
        theirs = await put(
            system, "/v1/bookings/booking-2/forms/booking", company, "customer-service", enterprise_id="e-1"
        )
        shown = await get(system, BOOKING_FORM, "customer-service")
        unseen = await get(system, BOOKING_FORM, "publisher")
        held = await everything(system)
        await system.publish(ADAPTATION)
        await put(system, CASE_FORM, ASSESSMENT)

        await system.publish(client_erased())
        gone = await get(system, BOOKING_FORM, "customer-service")
        late = await put(system, BOOKING_FORM, BOOKING, "publisher", client_id="client-1")
        case = await put(system, CASE_FORM, ASSESSMENT)
        stays = await get(system, "/v1/bookings/booking-2/forms/booking", "customer-service")
        left = [sheet["_id"] async for sheet in system.db("intake").get_collection("forms").find()]
        keys = (
            await system.db("intake").get_collection("data_keys").count_documents({"keyAltNames": "client-1"})
        )

    assert nobody.status_code == 422
    assert (mine.status_code, theirs.status_code) == (200, 200)
    assert (other.status_code, other.json()["reason"]) == (409, "client-mismatch")
    assert shown.json()["fields"] == BOOKING
    assert unseen.status_code == 403  # a company system writes it, and reads nothing back
    for text in (BOOKING["name"], BOOKING["first-need"], company["company"], company["contact"]):
        assert str(text) not in held
    assert (gone.status_code, late.status_code, case.status_code) == (404, 410, 404)
    assert stays.json()["fields"] == company
    assert left == ["booking booking-2 booking"]
    assert keys == 0


@pytest.mark.clause("W36", "W41")
async def test_what_cannot_be_refused_is_marked_on_the_case(stack: Start) -> None:
    talk = {"held-on": "2026-03-02", "minutes": 45, "trouble": "the new team"}
    async with stack("intake") as system:
        await system.publish(case_opened(service="workplace-adaptation", agreed_sessions=12))
        await put(system, "/v1/cases/case-1/forms/first-talk", talk)
        marks = (await get(system, "/v1/cases/case-1")).json()["why"]["marks"]

    assert [(one["mark"], one["how"]) for one in marks] == [
        ("agreed-outside-bounds", "too-many"),
        ("form-outside-bounds", "too-long"),
    ]


@pytest.mark.clause("W43")
async def test_where_the_policy_refuses_it_no_session_is_scheduled_before_the_plan_is_confirmed(
    stack: Start, tmp_path: Path
) -> None:
    policy = tmp_path / "regime.yaml"
    text = REGIME.read_text(encoding="utf-8")
    policy.write_text(
        text.replace("unconfirmed_sessions: marked", "unconfirmed_sessions: refused"), encoding="utf-8"
    )
    scheduled = session_scheduled(time=at("2026-05-06 09:00"), starts_at="2026-05-08 10:00")
    confirmation = {"confirmed-by": "client", "channel": "hotline"}

    async def schedule(system: System) -> httpx.Response:
        async with system.client("intake", "publisher") as client:
            return await client.post("/v1/events", json=scheduled.structured())

    async with stack("intake", intake={"policy_file": policy}) as system:
        unknown = await schedule(system)  # of a case that nobody has told of yet
    async with stack("intake", intake={"policy_file": policy}) as system:
        await system.publish(case_opened(case_id="case-2", client_id="client-2", service="stress"))
        await system.publish(ADAPTATION)
        scheduled = session_scheduled(id="second", time=at("2026-05-06 09:00"), starts_at="2026-05-08 10:00")
        refused = await schedule(system)
        await put(system, "/v1/cases/case-1/forms/plan-confirmation", confirmation, "customer-service")
        await system.settled()
        taken = await schedule(system)

    assert unknown.status_code == 202
    assert (refused.status_code, refused.json()["reason"]) == (409, "plan-not-confirmed")
    assert refused.json()["field"] == "data.case_id"
    assert taken.status_code == 202


@pytest.mark.clause("W43")
async def test_as_the_policy_stands_it_is_scheduled_and_marked_once_it_was_held(stack: Start) -> None:
    async def marks(system: System) -> list[str]:
        found = (await get(system, "/v1/cases/case-1")).json()["why"]["marks"]
        return [one["mark"] for one in found if one["clauses"] == ["W43"]]

    async with stack("intake") as system:
        await system.publish(ADAPTATION)
        scheduled = session_scheduled(time=at("2026-05-06 09:00"), starts_at="2026-05-08 10:00")
        async with system.client("intake", "publisher") as client:
            answer = await client.post("/v1/events", json=scheduled.structured())
        await system.publish(session_completed())
        held = await marks(system)
        # Told late, and all the same before: a company system reports it, since no form was written.
        await system.publish(
            milestone_reached(milestone="plan-confirmed", subject="case-1", reached_at="2026-03-01 10:00")
        )
        told = await marks(system)

    assert answer.status_code == 202
    assert (held, told) == (["counselling-before-confirmation"], [])


async def test_a_form_is_added_by_a_row_alone(stack: Start, tmp_path: Path) -> None:
    """The example of docs/forms.md, word for word."""
    page = (Path(__file__).parents[3] / "docs" / "forms.md").read_text(encoding="utf-8")
    row = page.split("```yaml\n")[1].split("```")[0]
    text = REGIME.read_text(encoding="utf-8")
    policy = tmp_path / "regime.yaml"
    policy.write_text(
        text.replace("\nforms:\n", f"\nforms:\n{row}").replace(
            "\nmilestones:\n", "\nmilestones:\n  - sleep-noted\n"
        ),
        encoding="utf-8",
    )
    async with stack("intake", intake={"policy_file": policy}) as system:
        await system.publish(case_opened())
        taken = await put(system, "/v1/cases/case-1/forms/sleep", {"hours": 4, "pattern": "shifts"})
        told = await milestones(system)
        async with system.client("intake", "counsellor") as client:
            await client.put(
                "/v1/cases/case-1/file",
                json={"kind_of_counselling": "stress", "core_problem": "night shifts"},
            )
        file = await get(system, "/v1/cases/case-1/file", "operations")

    assert (taken.status_code, taken.json()["complete"]) == (200, True)
    assert [name for name, *_ in told] == ["sleep-noted"]
    assert file.json()["from_forms"] == {"pattern": "shifts"}
