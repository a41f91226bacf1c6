"""The record sheet: what is taken, what is refused and why, and what the bus is told in the same transaction."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shared.policy.model import REGIME
from tests.builders import at, client_erased, consent_changed, event, staff_updated
from tests.conftest import Start
from tests.integration.survey.events import SCHEDULER, classified, due, incident, planned

if TYPE_CHECKING:
    from shared.contracts.envelope import Event
    from tests.system import System

SECRET = "says that the new flat is too loud"


def sheet(**given: Any) -> dict[str, Any]:
    usual = {
        "form": "phone",
        "conducted_at": "2026-03-17T09:30:00+08:00",
        "outcome": "completed",
        "satisfaction": 4,
        "flags": ["needs-counselling"],
        "notes": SECRET,
    }
    return {key: value for key, value in (usual | given).items() if value is not None}


async def record(system: System, body: dict[str, Any], key: str = "follow-up-1", who: str = "staff-1") -> Any:
    async with system.client("survey", "operations", subject=who) as http:
        answer = await http.post(f"/v1/follow-ups/{key}/record", json=body)
    await system.settled()
    return answer


@pytest.mark.clause("F4", "F57", "F60", "A9")
async def test_a_record_says_conducted_and_recorded_once(survey: System) -> None:
    await survey.publish(planned(), due())
    first = await record(survey, sheet())
    again = await record(survey, sheet())

    assert first.status_code == 200, first.text
    assert first.json() == again.json()
    assert first.json()["outcome"] == "completed"
    [milestone] = await survey.events("milestone-reached")
    assert milestone.data.milestone == "follow-up-conducted"
    assert milestone.data.subject == "follow-up-1"
    assert milestone.data.reached_at == at("2026-03-17 09:30")
    [recorded] = await survey.events("follow-up-recorded")
    assert recorded.data.recorded_at == at("2026-03-17 10:00")
    assert recorded.data.conducted_at == at("2026-03-17 09:30")
    assert recorded.data.by == "staff-1"
    assert (recorded.data.satisfaction, recorded.data.flags) == (4, ("needs-counselling",))
    assert SECRET.encode() not in b"".join(r.value for r in await survey.records("follow-up-recorded"))


async def test_another_record_of_the_same_follow_up_is_a_conflict(survey: System) -> None:
    await survey.publish(planned(), due())
    await record(survey, sheet())
    other = await record(survey, sheet(satisfaction=5))

    assert (other.status_code, other.json()["reason"]) == (409, "already-recorded")
    assert len(await survey.events("follow-up-recorded")) == 1


@pytest.mark.clause("F9", "F23", "F43")
@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (sheet(conducted_at="2026-03-17T10:05:00+08:00"), 422, "in-the-future"),
        (sheet(form="video"), 422, "video-not-allowed"),
        (sheet(outcome="refused", flags=None), 422, "not-completed"),
        (sheet(outcome="unreachable", satisfaction=None), 422, "not-completed"),
        (sheet(dropped_reason="price"), 422, "not-dropped"),
        (sheet(satisfaction=6), 422, "invalid-field"),
        (sheet(flags=["hates-mornings"]), 422, "invalid-field"),
        (sheet(bands={"communication": "high"}), 422, "unknown-band"),
        (sheet(name="Li Lei"), 422, "invalid-field"),
        (sheet(bands={"Li Lei": "mild"}), 422, "invalid-field"),
    ],
)
async def test_what_may_not_be_recorded_is_refused_and_never_echoed(
    survey: System, body: dict[str, Any], status: int, reason: str
) -> None:
    await survey.publish(planned(), due())
    answer = await record(survey, body)

    assert (answer.status_code, answer.json()["reason"]) == (status, reason), answer.text
    assert SECRET not in answer.text
    assert "Li Lei" not in answer.text
    assert "hates-mornings" not in answer.text
    assert await survey.events("follow-up-recorded") == []


@pytest.mark.parametrize("change", ["cancelled", "superseded"])
async def test_a_follow_up_that_is_off_is_not_recorded(survey: System, change: str) -> None:
    await survey.publish(planned("2026-03-16 09:00", change=change, reason="case-closed"))
    await survey.publish(due(), planned())

    answer = await record(survey, sheet())
    assert (answer.status_code, answer.json()["reason"]) == (409, f"follow-up-{change}")


async def test_an_unknown_follow_up_is_not_found(survey: System) -> None:
    answer = await record(survey, sheet(), key="no-such-follow-up")
    assert (answer.status_code, answer.json()["reason"]) == (404, "unknown-follow-up")


@pytest.mark.clause("F28", "F29", "F32")
@pytest.mark.parametrize(
    ("report", "clause"),
    [
        ({"certificate": "first-aid"}, "F28"),
        ({"experience_months": 11}, "F29"),
        ({"exam_passed_year": 2025}, "F32"),
        ({"exam_passed_year": None}, "F32"),
    ],
)
async def test_who_may_not_conduct_may_not_record(
    survey: System, report: dict[str, Any], clause: str
) -> None:
    await survey.publish(planned(), due(), staff_updated(**report))
    answer = await record(survey, sheet())
    assert (answer.status_code, answer.json()["reason"]) == (403, "not-qualified")
    assert clause in answer.json()["detail"]

    await survey.publish(staff_updated(changed_at="2026-03-16 09:00"))
    assert (await record(survey, sheet())).status_code == 200


async def test_an_unknown_person_is_let_through_with_a_remark(survey: System) -> None:
    await survey.publish(planned(), due())
    answer = await record(survey, sheet(), who="someone.new@example.com")
    assert answer.status_code == 200
    assert "not checked" in answer.json()["remarks"][0]
    assert answer.json()["by"].startswith("staff-")  # an address is a name: it goes as its hash


@pytest.mark.clause("F58")
async def test_a_crisis_is_flagged_and_stops_the_follow_up(survey: System) -> None:
    await survey.publish(planned(), due())
    answer = await record(survey, sheet(crisis=True, signals=["self-harm"]))

    assert answer.json()["outcome"] == "stopped-for-crisis"
    [flag] = await survey.events("crisis-flagged")
    assert (flag.data.source, flag.data.level, flag.data.signals) == ("follow-up", "high", ("self-harm",))
    assert flag.data.follow_up_id == "follow-up-1"
    [recorded] = await survey.events("follow-up-recorded")
    assert (recorded.data.outcome, recorded.data.satisfaction) == ("stopped-for-crisis", None)


@pytest.mark.clause("F58")
async def test_severe_anxiety_on_the_scale_is_a_crisis_without_any_mark(survey: System) -> None:
    await survey.publish(planned(), due())
    await record(survey, sheet(bands={"gad-7": "severe"}))
    assert [flag.data.signals for flag in await survey.events("crisis-flagged")] == [("severe-anxiety",)]


@pytest.mark.clause("F58")
async def test_a_crisis_goes_out_even_where_the_sheet_cannot_be_taken(survey: System) -> None:
    await survey.publish(planned(change="cancelled"), staff_updated(certificate="none"))
    for _ in range(2):
        answer = await record(survey, sheet(crisis=True))
        assert answer.status_code == 409
        assert "flagged all the same" in answer.json()["detail"]
    assert len(await survey.events("crisis-flagged")) == 1
    assert await survey.events("follow-up-recorded") == []


async def test_a_person_without_certificate_can_still_record_a_crisis(survey: System) -> None:
    await survey.publish(planned(), due(), staff_updated(certificate="none"))
    answer = await record(survey, sheet(crisis=True))
    assert answer.status_code == 200
    assert "because of the crisis" in answer.json()["remarks"][0]


@pytest.mark.clause("F6", "F9", "F53", "A4")
async def test_notes_lie_sealed_and_every_reading_is_logged(survey: System) -> None:
    await survey.publish(planned(), due())
    await record(survey, sheet())
    stored = await survey.db("survey").get_collection("sheets").find_one({"_id": "follow-up-1"})
    assert SECRET not in str(stored)

    async with survey.client("survey", "supervisor", subject="supervisor-1") as http:
        opened = await http.get("/v1/follow-ups/follow-up-1/record")
    assert opened.json()["notes"] == SECRET
    async with survey.client("survey", "compliance") as http:
        log = (await http.get("/v1/access-log")).json()
        denied = await http.get("/v1/follow-ups/follow-up-1/record")
    assert [(entry["who"], entry["role"], entry["what"]) for entry in log["items"]] == [
        ("supervisor-1", "supervisor", "record-sheet")
    ]
    assert denied.status_code == 403
    async with survey.client("survey", "operations") as http:
        assert (await http.get("/v1/access-log")).status_code == 403


@pytest.mark.clause("F7")
async def test_after_erasure_nobody_can_read_the_sheet(survey: System) -> None:
    await survey.publish(planned(), due())
    await record(survey, sheet())
    await survey.publish(client_erased(requested_at="2026-03-17 09:59"))

    assert (
        await survey.db("survey").get_collection("data_keys").count_documents({"keyAltNames": "client-1"})
        == 0
    )
    async with survey.client("survey", "supervisor") as http:
        assert (await http.get("/v1/follow-ups/follow-up-1/record")).status_code == 404


@pytest.mark.clause("F6")
async def test_the_access_log_is_paged(survey: System) -> None:
    await survey.publish(planned(), due())
    await record(survey, sheet())
    for number in range(5):
        async with survey.client("survey", "supervisor", subject=f"supervisor-{number}") as http:
            await http.get("/v1/follow-ups/follow-up-1/record")
    seen: list[str] = []
    after: str | None = None
    async with survey.client("survey", "compliance") as http:
        for _ in range(3):
            params = {"limit": "2"} | ({"after": after} if after else {})
            page = (await http.get("/v1/access-log", params=params)).json()
            seen += [entry["who"] for entry in page["items"]]
            after = page["next"]
        assert after is None
        assert (await http.get("/v1/access-log?after=nonsense")).json()["reason"] == "invalid-cursor"
    assert sorted(seen) == [f"supervisor-{number}" for number in range(5)]


@pytest.mark.clause("F46", "F52")
async def test_preparation_is_told_once(survey: System) -> None:
    await survey.publish(planned(), due())
    async with survey.client("survey", "operations", subject="staff-1") as http:
        first = await http.post("/v1/follow-ups/follow-up-1/prepared")
        again = await http.post("/v1/follow-ups/follow-up-1/prepared")
        unknown = await http.post("/v1/follow-ups/nothing/prepared")
    await survey.settled()
    assert first.status_code == 200
    assert first.json() == again.json()
    assert unknown.status_code == 404
    [milestone] = await survey.events("milestone-reached")
    assert (milestone.data.milestone, milestone.data.subject) == ("follow-up-prepared", "follow-up-1")


@pytest.mark.clause("F10")
async def test_nobody_is_called_five_times(survey: System) -> None:
    await survey.publish(planned(), due())
    async with survey.client("survey", "operations") as http:
        for number in (1, 2, 2, 3, 4):
            body = {"attempted_at": f"2026-03-17T09:0{number}:00+08:00"}
            answer = await http.post("/v1/follow-ups/follow-up-1/attempts", json=body)
            assert answer.json()["attempts"] == number
            assert answer.json()["reached_nobody"] == (number >= 3)
        fifth = await http.post("/v1/follow-ups/follow-up-1/attempts", json={})
        assert (fifth.status_code, fifth.json()["reason"]) == (409, "called-often-enough")

        await survey.publish(consent_changed(changed_at="2026-03-17 09:10"))
        refused = await http.post("/v1/follow-ups/follow-up-1/attempts", json={})
        assert refused.json()["reason"] == "client-withdrawn"


@pytest.mark.clause("F23", "F24")
async def test_video_is_booked_a_day_ahead_and_for_key_attention_only(survey: System) -> None:
    await survey.publish(
        due(follow_up_id="key", class_="key-attention", forms=["phone", "video"]), due(follow_up_id="closed")
    )
    async with survey.client("survey", "operations") as http:
        late = {"starts_at": "2026-03-18T09:59:00+08:00"}
        in_time = {"starts_at": "2026-03-18T10:00:00+08:00"}
        assert (await http.post("/v1/follow-ups/key/video-booking", json=late)).json()[
            "reason"
        ] == "booked-too-late"
        assert (await http.post("/v1/follow-ups/key/video-booking", json=in_time)).status_code == 200
        other = await http.post("/v1/follow-ups/closed/video-booking", json=in_time)
        assert other.json()["reason"] == "video-not-allowed"
    assert (await record(survey, sheet(form="video"), key="key")).status_code == 200


@pytest.mark.clause("F4")
async def test_the_worklist_has_todays_and_overdue_work_oldest_deadline_first(survey: System) -> None:
    await survey.publish(
        due(follow_up_id="today", scheduled_for="2026-03-19 10:00"),
        due(follow_up_id="overdue", scheduled_for="2026-03-02 10:00"),
        due(follow_up_id="done", scheduled_for="2026-03-01 10:00"),
        due(follow_up_id="withdrawn", client_id="client-2"),
        planned(
            "2026-03-16 09:00", follow_up_id="moved-away", scheduled_for="2026-04-20 10:00", change="moved"
        ),
        due(follow_up_id="moved-away"),
        planned(follow_up_id="not-yet-due"),
    )
    await survey.publish(consent_changed(client_id="client-2", changed_at="2026-03-16 10:00"))
    await survey.publish(incident("opened"), classified(2, counsellor_id="counsellor-9"), classified(1))
    assert (await record(survey, sheet(), key="done")).status_code == 200

    async with survey.client("survey", "operations") as http:
        first = (await http.get("/v1/worklist?limit=1")).json()
        second = (await http.get("/v1/worklist", params={"limit": "1", "after": first["next"]})).json()
    [overdue], [today] = first["items"], second["items"]
    assert (overdue["follow_up_id"], overdue["overdue"]) == ("overdue", True)
    assert (today["follow_up_id"], today["overdue"]) == ("today", False)
    assert today["forms"] == ["questionnaire", "phone"]
    assert today["template"] == "closed"
    assert today["incident_open"] is True
    assert (today["service"], today["counsellor_id"]) == ("stress", "counsellor-9")
    assert second["next"] is None


async def test_the_schema_of_a_record_is_published_with_an_example(survey: System) -> None:
    async with survey.client("survey") as http:
        document = (await http.get("/openapi.json")).json()
        assert (await http.post("/v1/follow-ups/x/record", json={})).status_code == 401
    schema = document["components"]["schemas"]["RecordSheet"]
    assert schema["examples"][0]["outcome"] == "completed"
    assert "future" in schema["properties"]["conducted_at"]["description"]


def plan_says(name: str, time: str, month: str = "2026-03") -> Event:
    body = {"milestone": name, "subject": month, "reached_at": at(time), "by": "manager-1"}
    return event("milestone-reached", body, time=time, id=name)


def plan_is_drafted(month: str = "2026-03") -> Event:
    body = {"rule": "plan-28th", "clause": "F44", "month": month, "due_at": at("2026-02-27 10:00")}
    return event("calendar-due", body, time="2026-02-27 10:00", source=SCHEDULER)


@pytest.mark.clause("F45")
async def test_what_is_in_a_plan_is_conducted_once_the_plan_is_approved(survey: System) -> None:
    """F45; a crisis waits for no approval (F58)."""
    await survey.publish(
        planned(),
        due(),
        planned(id="p2", follow_up_id="follow-up-2", client_id="client-2"),
        due(id="d2", follow_up_id="follow-up-2", client_id="client-2"),
        plan_is_drafted(),
        plan_says("plan-returned", "2026-02-27 15:00"),
    )
    waiting = await record(survey, sheet())
    async with survey.client("survey", "operations", subject="staff-1") as http:
        called = await http.post("/v1/follow-ups/follow-up-1/attempts", json={"result": "no-answer"})
    in_danger = sheet(outcome="stopped-for-crisis", signals=["self-harm"], satisfaction=None, flags=[])
    crisis = await record(survey, in_danger, key="follow-up-2")
    await survey.publish(plan_says("plan-approved", "2026-03-16 15:00"))
    approved = await record(survey, sheet())

    assert (waiting.status_code, waiting.json()["reason"]) == (409, "plan-not-approved")
    assert (called.status_code, called.json()["reason"]) == (409, "plan-not-approved")
    assert crisis.status_code == 200, crisis.text
    assert approved.status_code == 200, approved.text


async def test_a_month_whose_plan_was_never_drafted_waits_for_nobody(survey: System) -> None:
    await survey.publish(planned(), due(), plan_is_drafted("2026-04"))

    assert (await record(survey, sheet())).status_code == 200


async def test_an_amendment_waits_for_its_signature_where_the_policy_says_so(
    stack: Start, tmp_path: Path
) -> None:
    """F45, collision 1; care after a crisis (A32) waits for nothing."""
    text = REGIME.read_text(encoding="utf-8").replace(
        "after_the_plan: amendment", "after_the_plan: signed-first"
    )
    policy = tmp_path / "regime.yaml"
    policy.write_text(text, encoding="utf-8")
    care = {"rule": "crisis-aftercare", "clause": "A32", "class": "key-attention"}
    async with stack("survey", start="2026-03-17 10:00", survey={"policy_file": policy}) as survey:
        await survey.publish(
            plan_is_drafted(),
            plan_says("plan-approved", "2026-02-27 15:00"),
            planned("2026-03-02 09:00"),
            due(),
            planned("2026-03-02 09:00", id="p2", follow_up_id="follow-up-2", client_id="client-2", **care),
            due(id="d2", follow_up_id="follow-up-2", client_id="client-2", **care),
        )
        waiting = await record(survey, sheet())
        cared_for = await record(survey, sheet(), key="follow-up-2")
        await survey.publish(plan_says("plan-amendments-signed", "2026-03-02 10:00"))
        signed = await record(survey, sheet())

    assert (waiting.status_code, waiting.json()["reason"]) == (409, "plan-not-approved")
    assert cared_for.status_code == 200, cared_for.text
    assert signed.status_code == 200, signed.text
