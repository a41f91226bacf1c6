"""The monthly report in a real Chromium of a phone's size: whole, styled, and no wider than the window."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.reporting.domain import counting
from services.reporting.domain.budget import Budget, YearServed
from services.reporting.report import render
from shared.contracts.sampling import drawn, found, item_id
from tests.integration.survey.browser import phone_browser
from tests.unit.policy.regime import POLICY
from tests.unit.reporting.events import at, milestone, staff
from tests.unit.reporting.test_month_figures import fold
from tests.unit.reporting.test_people import rated

JANUARY_5 = at("2027-01-05")


def december() -> str:
    """A report with every section: samples, staff, the year's best, the budget."""
    subject = item_id("2026-11", "record", "f1")
    events = [one for n in range(5) for one in rated(f"staff-{n}", *[n + 1] * 10)]
    events += [
        staff("c1"),
        milestone(drawn("record"), subject),
        milestone(found("record", "standard", False), subject),
    ]
    view = fold(events, JANUARY_5)
    view.load(
        [
            Budget(id="2026", spent={"training": 1_234_567}, told_at=JANUARY_5, told_by="finance-1"),
            YearServed(id="2026", count=500),
        ]
    )
    figures = counting.figures("2026-12", counting.Facts.of(view), POLICY, JANUARY_5)
    return render(figures, JANUARY_5, POLICY)


@pytest.mark.clause("F64")
async def test_the_report_can_be_read_on_a_phone(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(december(), encoding="utf-8")
    async with phone_browser() as browser:
        await browser.open(page.as_uri())
        assert await browser.script("return document.documentElement.scrollWidth <= window.innerWidth")
        shown = await browser.text("main")
        for words in ("抽查", "人员", "2026 年满意度最高的随访人员", "2026 年随访经费", "12,345.67 元"):
            assert words in shown
        wide = await browser.script(
            "return [...document.querySelectorAll('main table')]"
            ".filter(one => !one.closest('.scroll')).map(one => one.textContent.trim())"
        )
        assert wide == []
        if folder := os.environ.get("SCREENSHOTS"):
            for name in ("抽查", "经费", "人员"):
                await browser.script(
                    "[...document.querySelectorAll('h2')]"
                    f".find(one => one.textContent.includes('{name}')).scrollIntoView()"
                )
                await browser.screenshot(Path(folder) / f"report-{name}.png")
