"""The monthly plan over HTTP: laid before the manager, returned, approved, amended, signed (F35, F44, F45)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.policy.model import REGIME
from tests.builders import at, case_closed
from tests.conftest import Start


async def follow_ups(client: httpx.AsyncClient, part: str) -> list[str]:
    found = await client.get(f"/v1/plans/2026-04/follow-ups?part={part}")
    return sorted(item["case_id"] for item in found.json()["items"])


def counts(plan: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    return {one["rule"]: (one["planned"], one["amendments"], one["unsigned"]) for one in plan["counts"]}


@pytest.mark.clause("F34", "F35", "F45")
async def test_a_plan_is_laid_before_the_manager_returned_approved_amended_and_signed(stack: Start) -> None:
    async with stack("intake", "scheduler", start="2026-03-20 09:00") as system:
        await system.publish(case_closed(case_id="early", client_id="client-1", closed_at="2026-03-20 08:00"))
        async with (
            system.client("scheduler", "manager", subject="manager-1") as manager,
            system.client("scheduler", "operations") as operations,
        ):
            too_early = await manager.get("/v1/plans/2026-04")
            await system.until(at("2026-03-27 11:00"))
            drafted = (await operations.get("/v1/plans/2026-04")).json()
            by_operations = await operations.post("/v1/plans/2026-04/approval", json={"decision": "approve"})
            returned = await manager.post("/v1/plans/2026-04/approval", json={"decision": "return"})
            await system.until(at("2026-03-27 12:00"))
            unsigned_draft = await manager.post("/v1/plans/2026-04/signature", json={})
            again = (await operations.post("/v1/plans/2026-04")).json()
            approvals = [
                await manager.post("/v1/plans/2026-04/approval", json={"decision": "approve"})
                for _ in range(2)
            ]
            late_return = await manager.post("/v1/plans/2026-04/approval", json={"decision": "return"})
            late_draft = await operations.post("/v1/plans/2026-04")
            await system.until(at("2026-03-30 09:00"))
            await system.publish(
                case_closed(case_id="late", client_id="client-2", closed_at="2026-03-30 08:00")
            )
            amended = (await manager.get("/v1/plans/2026-04")).json()
            parts = [await follow_ups(manager, part) for part in ("planned", "amendments", "unsigned")]
            ahead = await manager.post(
                "/v1/plans/2026-04/signature", json={"until": "2026-04-01T00:00:00+08:00"}
            )
            signed = (
                await manager.post("/v1/plans/2026-04/signature", json={"until": amended["as_of"]})
            ).json()
            unsigned = await follow_ups(manager, "unsigned")
            await system.settled()
            duties = (await manager.get("/v1/duties?subject=2026-04&state=fulfilled")).json()["items"]
            elsewhere = await manager.post(
                "/v1/milestones", json={"milestone": "plan-approved", "subject": "2026-05"}
            )
        told = await system.events("milestone-reached")
        planned = await system.events("follow-up-planned")

    assert (too_early.status_code, too_early.json()["reason"]) == (404, "no-plan")
    assert (drafted["state"], drafted["drafted_at"]) == ("drafted", "2026-03-27T10:00:00+08:00")
    assert counts(drafted) == {"closed-15d": (1, 0, 0)}
    assert by_operations.status_code == 403
    assert returned.json()["state"] == "returned"
    assert (unsigned_draft.status_code, unsigned_draft.json()["reason"]) == (409, "not-approved")
    assert again["state"] == "drafted"
    assert [answer.json()["state"] for answer in approvals] == ["approved", "approved"]
    assert [answer.json()["reason"] for answer in (late_return, late_draft)] == ["already-approved"] * 2
    assert counts(amended) == {"closed-15d": (1, 1, 1)}
    assert parts == [["early"], ["late"], ["late"]]
    assert (ahead.status_code, ahead.json()["field"]) == (422, "until")
    assert counts(signed) == {"closed-15d": (1, 1, 0)}
    assert unsigned == []
    assert [duty["rule"] for duty in duties] == ["plan-approved"]
    assert (elsewhere.status_code, elsewhere.json()["field"]) == (422, "milestone")
    assert [event.data.milestone for event in told] == [  # type: ignore[attr-defined]
        "plan-returned",
        "plan-approved",
        "plan-amendments-signed",
    ]
    assert [event.data.amends_plan for event in planned if event.data.case_id == "late"] == [  # type: ignore[attr-defined]
        "2026-04",
        None,
    ]


async def test_a_signature_lets_begin_what_waited_for_it(stack: Start, tmp_path: Path) -> None:
    """Collision 1, where the policy has amendments wait."""
    text = REGIME.read_text(encoding="utf-8").replace(
        "after_the_plan: amendment", "after_the_plan: signed-first"
    )
    policy = tmp_path / "regime.yaml"
    policy.write_text(text, encoding="utf-8")
    own = {"policy_file": policy}
    async with stack("intake", "scheduler", start="2026-03-20 09:00", scheduler=own) as system:
        await system.until(at("2026-03-27 11:00"))
        async with system.client("scheduler", "manager", subject="manager-1") as manager:
            await manager.post("/v1/plans/2026-04/approval", json={"decision": "approve"})
            await system.until(at("2026-03-30 09:00"))
            await system.publish(case_closed(closed_at="2026-03-30 08:00"))
            await system.until(at("2026-04-13 10:00"))
            before = await system.events("follow-up-due")
            await manager.post("/v1/plans/2026-04/signature", json={})
            await system.settled()
            due = await system.events("follow-up-due")
            reminders = await system.events("reminder-due")
    assert before == []
    assert [event.time for event in due] == [at("2026-04-13 10:00")]
    told = {event.data.what for event in reminders if event.data.to == "client"}  # type: ignore[attr-defined]
    assert "follow-up-notice" in told
