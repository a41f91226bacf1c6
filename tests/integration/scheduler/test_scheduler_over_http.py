"""What is due, over HTTP: follow-ups and duties in pages, and milestones that consoles report."""

from __future__ import annotations

from tests.builders import at, case_closed, case_opened, client_erased, milestone_reached, session_completed
from tests.conftest import Start


async def test_follow_ups_are_listed_by_case_and_state_in_pages(stack: Start) -> None:
    async with stack("intake", "scheduler", start="2026-03-02 18:00") as system:
        await system.publish(
            case_closed(closed_at="2026-03-02 17:00", outcome="below-expectation"),
            case_closed(case_id="case-2", client_id="client-2", closed_at="2026-03-02 17:00"),
        )
        async with system.client("scheduler", "operations") as client:
            first = (await client.get("/v1/follow-ups?case_id=case-1&limit=3")).json()
            rest = (await client.get(f"/v1/follow-ups?case_id=case-1&limit=3&after={first['next']}")).json()
            none = (await client.get("/v1/follow-ups?case_id=case-1&state=due")).json()
            all_of_them = (await client.get("/v1/follow-ups")).json()
            of_april = (
                "scheduled_from=2026-04-01T00:00:00%2B08:00&scheduled_before=2026-05-01T00:00:00%2B08:00"
            )
            in_april = (await client.get(f"/v1/follow-ups?{of_april}")).json()
            closed = (await client.get("/v1/follow-ups?class=closed&rule=closed-15d")).json()
            bare = await client.get("/v1/follow-ups?scheduled_from=2026-04-01T00:00:00")
        async with system.client("scheduler", "publisher") as client:
            refused = await client.get("/v1/follow-ups")

    items = {item["rule"]: item for item in [*first["items"], *rest["items"]]}
    assert set(items) == {"key-15d", "key-1m", "key-3m", "key-6m"}
    assert (len(first["items"]), len(rest["items"]), rest["next"]) == (3, 1, None)
    assert items["key-15d"] | {"id": ""} == {
        "id": "",
        "rule": "key-15d",
        "clause": "F40",
        "class": "key-attention",
        "case_id": "case-1",
        "client_id": "client-1",
        "scheduled_for": "2026-03-17T10:00:00+08:00",
        "complete_by": "2026-03-24T23:59:59+08:00",
        "state": "planned",
        "reason": "case-closed",
        "forms": ["phone", "video", "questionnaire"],
        "provisional": False,
    }
    assert none["items"] == []
    assert len(all_of_them["items"]) == 6
    assert [item["rule"] for item in in_april["items"]] == ["key-1m"]
    assert [item["case_id"] for item in closed["items"]] == ["case-2"]
    assert (bare.status_code, bare.json()["field"]) == (422, "query.scheduled_from")
    assert refused.status_code == 403


async def test_a_milestone_fulfils_its_duty_and_reporting_it_twice_is_harmless(stack: Start) -> None:
    async with stack("intake", "scheduler", start="2026-03-02 18:00") as system:
        await system.publish(
            case_opened(opened_at="2026-03-02 17:00"), case_closed(closed_at="2026-03-02 17:00")
        )
        await system.until(at("2026-03-15 11:00"))
        (due,) = await system.events("follow-up-due")
        body = {
            "milestone": "follow-up-prepared",
            "subject": due.subject,
            "reached_at": "2026-03-15T10:30:00+08:00",
        }
        async with system.client("scheduler", "operations", subject="staff-7") as client:
            before = (await client.get(f"/v1/duties?subject={due.subject}&state=open")).json()["items"]
            answers = [await client.post("/v1/milestones", json=body) for _ in range(2)]
            await system.settled()
            after = (await client.get(f"/v1/duties?subject={due.subject}")).json()["items"]
            ahead = await client.post(
                "/v1/milestones", json=body | {"reached_at": "2026-03-15T12:00:00+08:00"}
            )
            bare = await client.post("/v1/milestones", json=body | {"reached_at": "2026-03-15T10:00:00"})
            named = await client.post("/v1/milestones", json=body | {"subject": "张三 13800138000"})
        told = await system.events("milestone-reached")

    assert [(duty["rule"], duty["clause"], duty["role"], duty["state"]) for duty in before] == [
        ("prepare-1wd", "F52", "operations", "open")
    ]
    assert [duty["state"] for duty in after] == ["fulfilled"]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert [event.data.by for event in told] == ["staff-7"]  # type: ignore[attr-defined]
    assert (ahead.status_code, ahead.json()["field"]) == (422, "reached_at")
    assert bare.status_code == 422
    assert named.status_code == 422
    assert "张三" not in named.text


async def test_what_a_date_asks_for_may_be_done_ahead_of_it(stack: Start) -> None:
    """F15: passed on on the 3rd, nothing remains to be done on the 5th."""
    async with stack("scheduler", start="2026-03-02 18:00") as system:
        await system.publish(
            milestone_reached(
                milestone="classification-passed-on", subject="2026-02", reached_at="2026-03-03 11:00"
            )
        )
        await system.until(at("2026-03-06 10:00"))
        told = [
            event.data.change  # type: ignore[attr-defined]
            for event in await system.events("duty-changed")
            if event.data.rule == "classification-passed-on"  # type: ignore[attr-defined]
        ]
        async with system.client("scheduler", "operations") as client:
            late = (await client.get("/v1/duties?subject=2026-02&state=late")).json()["items"]

    assert told == ["opened", "fulfilled"]
    assert [duty["rule"] for duty in late] == ["report-out"]  # reporting does not run here


async def test_a_duty_of_one_service_waits_for_the_service_and_follows_it(stack: Start) -> None:
    """The session is heard of before the opening; then the opening is corrected."""
    async with stack("intake", "scheduler", start="2026-03-10 12:00") as system:

        async def states() -> list[tuple[str, str]]:
            async with system.client("scheduler", "counsellor") as client:
                items = (await client.get("/v1/duties?case_id=case-1")).json()["items"]
            return sorted((item["rule"], item["state"]) for item in items)

        await system.publish(session_completed(ended_at="2026-03-10 11:00"))
        assert await states() == []
        await system.publish(case_opened(opened_at="2026-03-10 09:00", service="workplace-adaptation"))
        assert await states() == [
            ("assessment-2wd", "open"),
            ("progress-3wd", "open"),
            ("session-record-2h", "open"),
        ]
        await system.publish(
            milestone_reached(milestone="progress-fed-back", subject="case-1", reached_at="2026-03-10 12:00")
        )
        await system.publish(
            case_opened(opened_at="2026-03-10 09:00", service="stress", time="2026-03-10 10:00")
        )
        corrected = await states()
        await system.publish(client_erased(requested_at="2026-03-10 12:00"))
        erased = await states()
        kept = await system.db("scheduler").get_collection("case_events").find().to_list(None)

    assert corrected == [
        ("assessment-2wd", "cancelled"),
        ("progress-3wd", "cancelled"),
        ("progress-3wd", "fulfilled"),
        ("session-record-2h", "cancelled"),
    ]
    assert erased == []
    assert "case-1" not in str(kept)
