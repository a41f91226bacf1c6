"""What was drawn and checked, in the report of the month in which it was drawn (F71, F72, F73, A22, A27, A28)."""

from __future__ import annotations

import itertools

import pytest

from services.reporting.domain import counting
from services.reporting.report import render
from shared.contracts.envelope import Event
from shared.contracts.sampling import SampleKind, drawn, found, item_id
from tests.unit.policy.regime import POLICY
from tests.unit.reporting.events import milestone
from tests.unit.reporting.test_month_figures import figures_of
from tests.unit.reporting.test_report_page import Page

OF_FEBRUARY = "2026-02"


def checked(key: str, kind: SampleKind = "record", month: str = OF_FEBRUARY, **good: bool) -> list[Event]:
    subject = item_id(month, kind, key)
    findings = [
        milestone(found(kind, name.replace("_", "-"), value), subject)  # type: ignore[arg-type]
        for name, value in good.items()
    ]
    return [milestone(drawn(kind), subject), *findings]


FEBRUARY = [
    *checked("f1", complete=True, standard=True, accurate=True, warning_signs=True),
    *checked("f2", complete=True, standard=False, accurate=False, crisis_judged=True),
    *checked("f3"),
    *checked("f1", "recording", complete=True, standard=True, warning_signs=False),
    *checked("f9", month="2026-03", complete=True, standard=True),
    milestone("records-checked", OF_FEBRUARY),
    milestone("sampled-record-drawn", "some-other-thing"),
]


@pytest.mark.clause("F71", "F72", "F73")
def test_what_was_drawn_in_a_month_is_of_the_month_before() -> None:
    records, recordings = figures_of(*FEBRUARY).samples
    assert (records.kind, records.clause, records.of_month) == ("record", "F71", OF_FEBRUARY)
    assert (records.drawn, records.checked) == (3, 2)
    assert {name: (one.reached, one.of) for name, one in records.findings.items()} == {
        "complete": (2, 2),
        "standard": (1, 2),
        "accurate": (1, 2),
        "warning-signs": (1, 1),
        "crisis-judged": (1, 1),
    }
    assert (recordings.clause, recordings.drawn, recordings.checked) == ("F72", 1, 1)
    assert [one.drawn for one in figures_of(*FEBRUARY, month="2026-04").samples] == [1, 0]


@pytest.mark.clause("A22", "A27", "A28")
def test_what_the_checks_find_is_held_against_the_targets() -> None:
    told = {one.name: one for one in figures_of(*FEBRUARY).indicators}
    accurate, signs, crisis = (
        told[name]
        for name in ("session-records-accurate", "warning-signs-recognised", "crisis-judgement-accurate")
    )
    assert (accurate.value, accurate.counted, accurate.met) == (0.5, 2, False)
    assert (signs.value, signs.counted, signs.met) == (0.5, 2, False)  # of records and recordings together
    assert (crisis.value, crisis.counted, crisis.met) == (1, 1, True)
    nothing = {one.name: one.value for one in figures_of().indicators}
    assert nothing["session-records-accurate"] is None


def test_the_order_in_which_it_is_told_makes_no_difference() -> None:
    events = [*checked("f1", complete=True, standard=False), milestone("records-checked", OF_FEBRUARY)]
    for order in itertools.permutations(events):
        assert figures_of(*order, *order).samples == figures_of(*events).samples


@pytest.mark.clause("F73")
def test_the_page_says_what_was_drawn_and_found() -> None:
    text = Page(render(figures_of(*FEBRUARY), None, POLICY)).text
    assert "本月抽查 2026-02 的随访记录单与录音：记录单抽 30 %，录音抽 10 %" in text.replace("\u202f", " ")
    assert "随访记录单 Record sheets F71 3 2 100 % 2 / 2 2 of 2 50 % 1 / 2" in text.replace("\u202f", " ")


def test_the_published_figures_carry_the_counts() -> None:
    flat = counting.flat(figures_of(*FEBRUARY))
    assert (flat["records-drawn"], flat["records-checked"], flat["recordings-drawn"]) == (3, 2, 1)
