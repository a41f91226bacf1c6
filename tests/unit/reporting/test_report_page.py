"""The report's page: complete for a month of any kind, readable without its charts, and asking nothing of anyone."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.reporting.domain.figures import Figures
from services.reporting.report import _amount, render
from shared.contracts.envelope import Event
from tests.unit.policy.regime import POLICY, switched
from tests.unit.reporting.events import at, duty, escalation, incident, planned, recorded
from tests.unit.reporting.test_fact_order import ALL, one_revision_once
from tests.unit.reporting.test_month_figures import APRIL_3, figures_of

NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
VOID = {"meta", "br", "img", "link", "hr", "input"}


class Page(HTMLParser):
    """What a page holds: elements by name, attributes, text; complains about what is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def a_full_month() -> Figures:
    return figures_of(
        planned("f1", "2026-03-10"),
        recorded("f1", "2026-03-10", flags=("complaint",), satisfaction=3),
        planned("f2", "2026-03-10"),
        planned("f3", "2026-03-10", rule="dropped-7d"),
        recorded("f3", "2026-03-10", dropped_reason="price", satisfaction=4),
        duty("d1", "late", "2026-03-17 10:01", "2026-03-17"),
        escalation("e1", "2026-03-17"),
        incident("i1", "opened", at("2026-03-20")),
        incident("i1", "paged", at("2026-03-20 10:09"), step="head"),
    )


def test_the_page_asks_for_nothing_from_outside() -> None:
    html = render(a_full_month(), None, POLICY)
    assert set(re.findall(r"https?://[^\s\"'<>)]+", html)) <= NAMESPACES
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "img", "image", "foreignobject"} & set(page.names)
    names = {name for name, _ in page.attributes}
    assert not {"src", "href", "xlink:href", "srcset"} & names
    assert not [name for name in names if name.startswith("on")]
    assert not re.search(r"@import|url\(", html)


def test_each_chart_has_a_name_and_a_table_in_its_section() -> None:
    html = render(a_full_month(), None, POLICY)
    drawn = re.findall(r"<svg[^>]*>", html)
    assert len(drawn) == 7
    assert all('role="img"' in one and 'aria-label="' in one for one in drawn)
    with_charts = [section for section in re.split(r"<section", html) if "<svg" in section]
    assert len(with_charts) == 5
    assert all("<table" in section for section in with_charts)


@pytest.mark.clause("F37", "F39", "F64")
def test_figures_stand_with_clause_target_and_verdict() -> None:
    text = Page(render(a_full_month(), None, POLICY)).text
    assert "结案 Closed 50 % 1 / 2 1 of 2 F37 目标 ≥ 90 % target ≥ 90 % ✗ 未达标 not met" in text
    assert "在咨询 In counselling — F39 目标 ≥ 100 % target ≥ 100 % – 无数据 no data" in text
    assert "F75" in text
    for target in POLICY.targets:
        assert f" {target.clause} " in text


@pytest.mark.clause("F37")
@pytest.mark.parametrize(
    ("coverage_of", "card", "note"),
    [
        ("due", "结案 Closed 50 % 1 / 2 1 of 2 F37", "与目标比较的是覆盖率。"),
        ("due-less-refusals", "结案 Closed 100 % 1 / 1 1 of 1 F37", "与目标比较的是扣除拒绝者后的覆盖率。"),
    ],
)
def test_the_page_says_which_rate_is_held_against_the_target(coverage_of: str, card: str, note: str) -> None:
    policy = switched(coverage_of=coverage_of)
    events = [planned(f"f{n}", "2026-03-10") for n in range(2)]
    events += [recorded("f0", "2026-03-10"), recorded("f1", "2026-03-10", "refused")]
    html = render(figures_of(*events, policy=policy), None, policy)
    text = Page(html).text.replace("\u202f", " ")
    assert card in text
    assert note in text
    held = {"due": "50", "due-less-refusals": "100"}[coverage_of]
    assert [one for one in ("50", "100") if f"<td><strong>{one}\u202f%</strong></td>" in _coverage(html)] == [
        held
    ]


def _coverage(html: str) -> str:
    """The first row of the table of coverage."""
    return html[html.index('<table class="dense">') :].split("</tr>")[1]


def test_a_month_without_anything_says_so_and_shows_no_zero_or_full_share() -> None:
    text = Page(render(figures_of(), None, POLICY)).text
    assert "本月没有危机事件" in text
    assert "无数据 no data" in text
    assert "✓" not in text
    assert "✗" not in text
    assert not re.search(r"(?<![≥≤] )\b(0|100) %", text)


def test_a_published_report_says_when_and_a_live_one_that_it_is_none() -> None:
    published = Page(render(a_full_month(), APRIL_3, POLICY)).text
    assert "已发布 Published" in published
    assert "2026-04-03 10:00 发布" in published
    live = Page(render(a_full_month(), None, POLICY)).text
    assert "实时数据，尚未发布" in live
    assert "数据截至 2026-04-03 10:00" in live


def test_a_code_without_a_name_is_shown_as_a_code() -> None:
    figures = figures_of(
        planned("f1", "2026-03-10"),
        recorded("f1", "2026-03-10", flags=("wants-a-call",)),
        duty("d1", "opened", "2026-03-10", "2026-03-17", rule="some-new-duty", clause="W99"),
    )
    html = render(figures, None, POLICY)
    assert "<code>wants-a-call</code>" in html
    assert "<code>some-new-duty</code>" in html


@pytest.mark.parametrize(
    ("value", "unit", "read"),
    [
        (None, "share", "—"),
        (0.89996, "share", "89.9\u202f%"),  # it must not read as the 90 % that it misses
        (0.9, "share", "90\u202f%"),
        (2 / 3, "share", "66.6\u202f%"),
        (-0.05, "share", "-5\u202f%"),
        (0.29, "share", "29\u202f%"),
        (3.999, "points", "3.99"),
        (30, "yuan", "30 元"),
    ],
)
def test_figures_are_cut_and_never_rounded_up_to_a_target(value: float | None, unit: str, read: str) -> None:
    assert _amount(value, unit) == read


@settings(max_examples=25, deadline=None)
@given(st.lists(ALL, max_size=20).map(one_revision_once))
def test_any_month_makes_a_whole_page(events: list[Event]) -> None:
    Page(render(figures_of(*events), None, POLICY))
