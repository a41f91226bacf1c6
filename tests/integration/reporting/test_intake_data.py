"""A18: of how many cases opened in a month the intake data is complete."""

from __future__ import annotations

from typing import Any

import pytest

from shared.contracts.envelope import Event
from tests.builders import milestone_reached
from tests.conftest import Start
from tests.system import System
from tests.unit.reporting.events import at, classified, report_due


def complete(case_id: str, when: str, milestone: str = "intake-complete") -> Event:
    return milestone_reached(
        id=f"{milestone}-{case_id}", milestone=milestone, subject=case_id, case_id=case_id, reached_at=when
    )


async def indicator(system: System, path: str) -> Any:
    async with system.client("reporting", "manager") as client:
        answer = (await client.get(path)).json()
    figures = answer.get("figures", answer)
    return next(one for one in figures["indicators"] if one["name"] == "intake-complete")


@pytest.mark.clause("A18")
async def test_cases_opened_in_the_month_whose_intake_data_is_complete(stack: Start) -> None:
    async with stack("reporting", start="2026-05-03 10:00") as system:
        nothing = await indicator(system, "/v1/coverage?month=2026-03")
        await system.publish(
            complete("c1", "2026-03-02 12:00"),  # before the case was told of
            classified("c1", case_class="new", status="open", opened_at=at("2026-03-02")),
            classified("c2", case_class="new", status="open", opened_at=at("2026-03-03")),
            complete("c2", "2026-04-02 12:00", "assessment-done"),
            classified("c3", case_class="new", status="open", opened_at=at("2026-04-03")),
            complete("c3", "2026-04-03 12:00"),
            report_due("2026-03", "2026-04-03"),
        )
        half = await indicator(system, "/v1/coverage?month=2026-03")
        await system.publish(complete("c2", "2026-04-20 12:00"))
        whole = await indicator(system, "/v1/coverage?month=2026-03")
        reported = await indicator(system, "/v1/reports/2026-03.json")

    assert (nothing["value"], nothing["counted"]) == (None, 0)
    assert (half["value"], half["counted"], half["clause"], half["met"]) == (0.5, 2, "A18", False)
    assert (whole["value"], whole["met"]) == (1.0, True)
    assert reported["value"] == 0.5  # as it was when the report came out
