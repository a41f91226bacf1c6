"""The case as classified, and the follow-up ledger of a month (F16)."""

from __future__ import annotations

import pytest

from tests.builders import Timeline, attention_changed, case_opened
from tests.conftest import Start


async def test_a_case_says_what_it_is_and_why(stack: Start) -> None:
    async with stack("intake") as system, system.client("intake", "operations") as client:
        await system.publish(
            *Timeline().opened("2026-03-02").session("2026-03-09").attention("2026-03-10").events
        )
        shown = (await client.get("/v1/cases/case-1")).json()
        unknown = await client.get("/v1/cases/case-2")

    assert (shown["class"], shown["status"], shown["revision"]) == ("key-attention", "open", 3)
    assert shown["cause"] == "attention-changed"
    assert shown["attention"] == {
        "reason": "career-crisis",
        "state": "decided",
        "decided_by": "counsellor-1",
        "since": "2026-03-10T10:00:00+08:00",
    }
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "unknown-case")


@pytest.mark.clause("F16")
async def test_the_ledger_of_a_month_comes_in_pages(stack: Start) -> None:
    async with stack("intake", start="2026-03-31 23:59:59") as system:
        await system.publish(
            *(case_opened(case_id=f"case-{n}", client_id=f"client-{n}") for n in range(5)),
        )
        await system.publish(attention_changed(case_id="case-3", client_id="client-3", at="2026-03-30 10:00"))
        async with system.client("intake", "compliance") as client:
            first = (await client.get("/v1/ledger?month=2026-03&limit=3")).json()
            rest = (await client.get(f"/v1/ledger?month=2026-03&limit=3&after={first['next']}")).json()
            before = (await client.get("/v1/ledger?month=2026-02")).json()
            wrong = await client.get("/v1/ledger?month=2026-13")
        async with system.client("intake", "counsellor") as client:
            refused = await client.get("/v1/ledger?month=2026-03")

    listed = [(one["case_id"], one["class"]) for one in [*first["items"], *rest["items"]]]
    assert listed == [
        ("case-0", "new"), ("case-1", "new"), ("case-2", "new"), ("case-3", "key-attention"), ("case-4", "new"),
    ]  # fmt: skip
    assert rest["next"] is None
    assert before["items"] == []
    assert (wrong.status_code, wrong.json()["field"]) == (422, "query.month")
    assert refused.status_code == 403
