"""What a new version of the policy changes, told in words with example dates."""

from __future__ import annotations

from pathlib import Path

import pytest

from aftercare.mistakes import Mistake
from shared.policy.model import REGIME
from tests.unit.aftercare.command_line import Invoke

TEXT = REGIME.read_text(encoding="utf-8")
COVERAGE = (
    "  - {name: coverage-closed, clause: F37, value: 0.9}\n",
    "  - {name: coverage-in-counselling, clause: F39, value: 1.0}\n",
)


@pytest.fixture
def told(aftercare: Invoke, tmp_path: Path):
    """The lines that the command prints of the regime with something replaced, and its exit code."""

    def tell(*replacements: tuple[str, str], language: str = "en") -> tuple[list[str], int]:
        text = TEXT
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new, 1)
        file = tmp_path / "new.yaml"
        file.write_text(text, encoding="utf-8")
        result = aftercare("policy", "diff", str(REGIME), str(file), "--language", language)
        return result.output.splitlines(), result.exit_code

    return tell


def test_a_policy_is_equal_to_itself(told) -> None:
    assert told() == (["2026-1 and 2026-1 are equal in effect."], 0)


def test_chinese_comes_first(aftercare: Invoke) -> None:
    assert "效果相同" in aftercare("policy", "diff", str(REGIME), str(REGIME)).output


@pytest.mark.parametrize(
    "replacement",
    [
        ('version: "2026-1"', 'version: "2026-2"'),
        ("effective_from: 2026-01-01", "effective_from: 2026-07-01"),
        ("note: fewer sessions than F12 asks for; no follow-up of its own", "note: other words"),
        ("  - administration\n  - compliance\n", "  - compliance\n  - administration\n"),
        ("milestones:\n", "milestones:\n  - never-seen\n"),
        (
            COVERAGE[0] + COVERAGE[1],
            COVERAGE[1] + COVERAGE[0],
        ),
    ],
)
def test_what_has_no_effect_is_no_difference(told, replacement: tuple[str, str]) -> None:
    lines, code = told(replacement)
    assert (len(lines), code) == (1, 0)


def test_a_changed_follow_up_is_told_field_by_field_with_dates(told) -> None:
    lines, code = told(("    after: 15 days", "    after: 20 days"))
    assert code == 1
    assert lines[1:] == [
        "~ F36 closed-15d (15d) is changed",
        "    after: 15 days → 20 days",
        "    for example 2026-01-01 10:00: before follow-up 2026-01-16 10:00, complete by 2026-01-23 23:59; "
        "now follow-up 2026-01-21 10:00, complete by 2026-01-28 23:59",
    ]


def test_a_changed_duty_is_told_with_its_dates(told) -> None:
    lines, _ = told(("    limit: {hours: 24}", "    limit: {working_days: 2}"))
    assert lines[1:] == [
        "~ F60 record-24h is changed",
        "    limit.hours: 24 → nothing",
        "    limit.working_days: nothing → 2",
        "    for example 2026-01-01 10:00: before 2026-01-02 10:00; now 2026-01-05 23:59",
    ]


def test_a_limit_that_counts_back_is_told_for_a_time_two_weeks_ahead(told) -> None:
    lines, _ = told(
        ("limit: {working_days: 3, before: starts_at}", "limit: {working_days: 5, before: starts_at}")
    )
    assert lines[3] == "    for example 2026-01-01 10:00: before 2026-01-12 23:59; now 2026-01-08 23:59"


def test_a_row_that_came_or_went_is_told_whole(told) -> None:
    lines, code = told(("  - name: file-5wd", "  - name: file-within-5wd"))
    assert code == 1
    assert [line[:4] for line in lines[1:]] == ["- F5", "    ", "+ F5", "    "]
    assert "Administration must act within 5 working days" in lines[1]
    assert lines[4] == "    for example 2026-01-01 10:00: before nothing; now 2026-01-08 23:59"


def test_what_changes_no_date_shows_none(told) -> None:
    lines, _ = told(
        (
            "    forms: [questionnaire, phone]\n    template: closed",
            "    forms: [phone]\n    template: closed",
        )
    )
    assert lines[1:] == ["~ F36 closed-15d (15d) is changed", "    forms: questionnaire, phone → phone"]


def test_a_switch_shows_every_row_that_it_leads_elsewhere(told) -> None:
    lines, _ = told(("month_end: last-day", "month_end: next-month"))
    assert lines[1].startswith("~ switches.month_end: last-day → next-month")
    assert "the first of the next" in lines[2]
    rows = [line for line in lines[3:] if line.startswith("~")]
    assert rows == [
        f"~ {row} itself is not changed, its dates are"
        for row in (
            "F36 closed-3m (3m)",
            "F40 key-1m (1m)",
            "F40 key-3m (3m)",
            "F40 key-6m (6m)",
            "W48 effect-1m",
            "W48 effect-service-1m",
        )
    ]


def test_a_switch_that_moves_dates_of_the_regime(told) -> None:
    lines, _ = told(("dates_on_days_off: earlier", "dates_on_days_off: later"))
    row = lines.index("~ F64 report-5th itself is not changed, its dates are")
    assert lines[row + 1] == "    for example 2026-03: before 2026-04-03 10:00; now 2026-04-07 10:00"


def test_other_settings_are_told_with_their_clause(told) -> None:
    lines, _ = told(("experience_months: 12", "experience_months: 18"))
    assert lines[1:] == ["~ F29 staffing.experience_months: 12 → 18"]
    lines, _ = told(
        (
            "{name: second, role: on-call-second, after: 5 min}",
            "{name: second, role: on-call-second, after: 6 min}",
        )
    )
    assert lines[1:] == ["~ F59, A30 crisis-chain is changed", "    escalation.second.after: 5 min → 6 min"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("youngest: 18", "youngest: 16", ["~ W23 eligible-individuals is changed", "    youngest: 18 → 16"]),
        ("agreements: true", "agreements: false", ["~ W28, W27 eligible-enterprises is changed"]),
        ("scale: phq-9, bands: [severe]", "scale: phq-9, bands: [moderate, severe]",
         ["~ F13 phq-9-severe is changed", "    bands: severe → moderate, severe"]),
        ("eligibility:\n  services: [workplace-adaptation]", "eligibility:\n  services: [stress]",
         ["~ W23, W26, W28 eligibility.services: workplace-adaptation → stress"]),
    ],
)  # fmt: skip
def test_who_is_refused_and_who_gets_attention_is_told(told, old: str, new: str, says: list[str]) -> None:
    lines, code = told((old, new))
    assert (lines[1 : 1 + len(says)], code) == (says, 1)


def test_the_order_of_classes_has_an_effect(told) -> None:
    row = "  - name: closed\n    clause: F11\n    status: [closed]\n"
    lines, code = told((row, ""), ("  - name: key-attention\n", row + "  - name: key-attention\n"))
    assert code == 1
    assert "~ classes: dropped, key-attention, closed" in lines[1]


def test_a_policy_that_cannot_be_used_is_a_mistake_and_no_difference(
    aftercare: Invoke, tmp_path: Path
) -> None:
    result = aftercare("policy", "diff", str(REGIME), str(tmp_path / "none.yaml"))
    assert isinstance(result.exception, Mistake)
    assert "check the path" in str(result.exception)
