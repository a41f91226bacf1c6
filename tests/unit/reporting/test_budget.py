"""The year's budget: 30 yuan for each client served, counted in whole fen (F66), and what it is for (F67)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.reporting.domain import budget, counting
from services.reporting.domain.budget import Budget, Purpose, YearServed
from services.reporting.domain.figures import BudgetFigures, Figures
from services.reporting.domain.read_models import Case
from services.reporting.report import _money, render
from shared.contracts.envelope import Event
from shared.contracts.events import SessionEnd
from tests.unit.policy.regime import POLICY
from tests.unit.reporting.events import at, classified
from tests.unit.reporting.test_month_figures import APRIL_3, fold
from tests.unit.reporting.test_report_page import Page


def told(**spent: int) -> Budget:
    amounts: dict[Purpose, int] = {name.replace("_", "-"): fen for name, fen in spent.items()}  # type: ignore[misc]
    return Budget(id="2026", spent=amounts, told_at=APRIL_3, told_by="finance-1")


def figures(spent: Budget | None, served: int) -> Figures:
    known = [YearServed(id="2026", count=served)]
    facts = counting.Facts(budgets=[spent] if spent else [], served=known)
    return counting.figures("2026-03", facts, POLICY, APRIL_3)


def of(spent: Budget, served: int) -> BudgetFigures:
    found = figures(spent, served).budget
    assert found
    return found


@pytest.mark.clause("F66")
@pytest.mark.parametrize(
    ("fen", "served", "met"),
    [(9_000, 3, True), (9_001, 3, False), (0, 1, True), (3_000, 1, True), (3_001, 1, False), (1, 0, None)],
)
def test_thirty_yuan_for_each_client_served_to_the_fen(fen: int, served: int, met: bool | None) -> None:
    spent = told(training=fen)
    assert (of(spent, served).allowed, of(spent, served).met) == (3_000 * served, met)
    indicator = next(one for one in figures(spent, served).indicators if one.name == "budget-per-client")
    assert indicator.met is met


@pytest.mark.clause("F66")
@given(st.integers(1, 10**7), st.integers(-5, 5))
def test_the_figure_in_yuan_never_says_otherwise_than_the_fen(served: int, beside: int) -> None:
    found = of(told(training=3_000 * served + beside), served)
    value = budget.per_client(found)
    assert value is not None
    assert (value <= POLICY.target("budget-per-client").value) is found.met is (beside <= 0)


@pytest.mark.clause("F67")
@pytest.mark.parametrize(
    ("spent", "as_meant"),
    [
        ({"questionnaire_upkeep": 5, "training": 7}, True),
        ({"training": 7, "other": 1}, False),
        ({"training": 0}, None),
    ],
)
def test_it_is_for_questionnaires_and_training(spent: dict[str, int], as_meant: bool | None) -> None:
    found = of(told(**spent), 1)
    assert found.as_meant is as_meant
    assert found.total == sum(spent.values())
    assert set(found.spent) == {"questionnaire-upkeep", "training", "other"}


def sessions(key: str, *ended: str, revision: int = 1) -> Event:
    ends = tuple(SessionEnd(session_no=number, ended_at=at(time)) for number, time in enumerate(ended, 1))
    return classified(key, revision, session_ends=ends)


@pytest.mark.clause("F66")
def test_the_year_begins_and_ends_at_midnight_in_shanghai() -> None:
    cases = fold(
        [
            sessions("c1", "2025-12-31 23:59", "2026-01-01 00:00"),  # both years
            sessions("c2", "2026-12-31 23:59"),
            sessions("c3", "2027-01-01 00:00"),
            sessions("c4"),
        ]
    ).all(Case)
    known = {year: YearServed(id=year, count=0, without=frozenset(case.id for case in cases)) for year in
             ("2025", "2026", "2027")}  # fmt: skip
    assert [budget.served(year, known[year], cases) for year in known] == [1, 2, 1]


def test_a_case_is_counted_once_whoever_counts_it_and_in_any_order() -> None:
    events = [sessions("c1", "2026-01-05"), sessions("c1", "2026-01-05", "2026-01-12", revision=2)]
    for order in itertools.permutations(events):
        cases = fold(order).all(Case)
        counted, changing = (
            YearServed(id="2026", count=4),
            YearServed(id="2026", count=3, without=frozenset({"c1"})),
        )
        assert budget.served("2026", counted, cases) == budget.served("2026", changing, cases) == 4


def test_where_finance_told_nothing_nothing_is_said() -> None:
    assert figures(None, 3).budget is None
    indicator = next(one for one in figures(None, 3).indicators if one.name == "budget-per-client")
    assert (indicator.value, indicator.met) == (None, None)


@pytest.mark.clause("F66", "F67")
def test_the_page_shows_what_was_spent_and_allowed() -> None:
    text = Page(render(figures(told(training=123_456, other=5), 50), None, POLICY)).text
    assert "2026 年随访经费" in text
    assert "培训 Training 1,234.56 元" in text
    assert "其他 Other 0.05 元 ✗ 未达标 not met" in text
    assert "合计 Together 1,234.61 元 ✓ 达标 met 按标准可用 Allowed 1,500.00 元" in text


@pytest.mark.parametrize(
    ("fen", "read"), [(0, "0.00 元"), (5, "0.05 元"), (100_000_000_01, "100,000,000.01 元")]
)
def test_money_is_read_without_a_float(fen: int, read: str) -> None:
    assert _money(fen) == read
