"""The line of the data on real engines: a closed case is planned for, and comes due, by way of the bus."""

from __future__ import annotations

import pytest

from shared.contracts.events import CalendarDue, CaseClassified, FollowUpDue, FollowUpPlanned, ReminderDue
from tests.builders import Timeline, at, case_closed
from tests.conftest import Start


@pytest.mark.clause("F36", "F50")
async def test_a_closed_case_is_planned_noticed_and_due(stack: Start) -> None:
    async with stack("intake", "scheduler", start="2026-03-02 18:00") as system:
        story = Timeline().opened("2026-02-02").sessions(2, "2026-02-04").closed("2026-03-02 17:00")

        await system.publish(*story.events)

        classified = [event.data for event in await system.events("case-classified")]
        assert [data.revision for data in classified if isinstance(data, CaseClassified)] == [1, 2, 3, 4]
        assert isinstance(classified[-1], CaseClassified)
        assert classified[-1].case_class == "closed"
        planned = {
            (event.data.rule, event.data.change): event.data
            for event in await system.events("follow-up-planned")
            if isinstance(event.data, FollowUpPlanned)
        }
        first = planned["closed-15d", "planned"]
        assert first.scheduled_for == at("2026-03-17 10:00")
        assert first.complete_by == at("2026-03-24 23:59:59")
        assert await system.events("follow-up-due") == []

        await system.until(at("2026-03-15 10:00"))

        due = [event.data for event in await system.events("follow-up-due")]
        assert [(data.follow_up_id, data.clause) for data in due if isinstance(data, FollowUpDue)] == [
            (first.follow_up_id, "F36")
        ]
        reminders = [event.data for event in await system.events("reminder-due")]
        notices = [data for data in reminders if isinstance(data, ReminderDue) and data.to == "client"]
        assert [(notice.what, notice.at) for notice in notices] == [
            ("follow-up-notice", at("2026-03-15 10:00"))
        ]


async def test_a_case_that_closed_long_ago_is_due_at_once_and_missed(stack: Start) -> None:
    """Its whole window has passed: two timers fire at the same instant."""
    async with stack("intake", "scheduler", start="2026-03-02 18:00") as system:
        await system.publish(case_closed(closed_at="2025-09-01"))

        due = [event.data for event in await system.events("follow-up-due")]
        escalated = await system.events("escalation-required")
        async with system.client("scheduler", "operations") as client:
            shown = (await client.get("/v1/follow-ups", params={"case_id": "case-1"})).json()

    assert len(due) == 2
    assert [event.subject for event in escalated if getattr(event.data, "reason", "") == "follow-up-missed"]
    assert {(item["rule"], item["state"]) for item in shown["items"]} == {
        ("closed-15d", "missed"),
        ("closed-3m", "missed"),
    }


@pytest.mark.clause("F15", "F64")
async def test_the_dates_of_the_regime_come_by_themselves(stack: Start) -> None:
    async with stack("scheduler", start="2026-04-01 09:00") as system:
        await system.until(at("2026-04-04 12:00"))

        told = [event.data for event in await system.events("calendar-due")]

    dates = {data.rule: (data.month, data.due_at) for data in told if isinstance(data, CalendarDue)}
    # 4 to 6 April 2026 are off: "by the 5th" moves to the 3rd, at ten.
    assert dates["report-5th"] == ("2026-03", at("2026-04-03 10:00"))
    assert dates["classification-5th"] == ("2026-03", at("2026-04-03 10:00"))


async def test_timers_go_on_at_once_after_a_restart(stack: Start) -> None:
    """Leases go back at a planned end, so the next replica need not wait for them to run out."""
    async with stack("intake", "scheduler", start="2026-03-02 18:00") as system:
        await system.publish(case_closed(closed_at="2026-03-02 17:00"))

    async with stack("scheduler", start="2026-03-02 18:00") as system:
        await system.until(at("2026-03-15 10:00"))
        assert len(await system.events("follow-up-due")) == 1
