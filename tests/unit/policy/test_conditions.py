from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from shared.contracts.events import FollowUpRecorded, ReportPublished
from shared.policy.conditions import Condition, field_of, holds
from tests.unit.policy.regime import POLICY

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def recorded(flags: tuple[str, ...] = (), satisfaction: int | None = None) -> FollowUpRecorded:
    return FollowUpRecorded(
        follow_up_id="f1", client_id="c1", form="phone", conducted_at=NOW, recorded_at=NOW, by="s1",
        outcome="completed", satisfaction=satisfaction, flags=flags, bands={},
    )  # fmt: skip


@pytest.mark.clause("F63")
@pytest.mark.parametrize(
    ("flags", "satisfaction", "opens"),
    [((), 5, False), ((), 3, False), ((), 2, True), ((), 1, True), (("complaint",), 5, True), ((), None, False),
     (("needs-counselling",), None, False)],
)  # fmt: skip
def test_what_opens_a_rectification(flags: tuple[str, ...], satisfaction: int | None, opens: bool) -> None:
    condition = POLICY.duty("complaint-3wd").opened_by.when
    event = recorded(flags, satisfaction)
    assert holds(condition, event) is opens
    assert holds(condition, event.model_dump(mode="json", by_alias=True, exclude_none=True)) is opens


@pytest.mark.clause("F75")
def test_a_low_figure_opens_its_duty() -> None:
    condition = POLICY.duty("satisfaction-corrected").opened_by.when
    for figure, opens in ((3.99, True), (4.0, False), (None, False)):
        report = ReportPublished(
            month="2026-03", report="monthly", published_at=NOW, figures={"satisfaction": figure}
        )
        assert holds(condition, report) is opens
    assert not holds(condition, {"figures": {}})


def test_the_first_of_a_list() -> None:
    condition = POLICY.reminder("questionnaire-invitation").opened_by.when
    assert holds(condition, {"forms": ["questionnaire", "phone"]})
    assert not holds(condition, {"forms": ["phone", "questionnaire"]})
    assert not holds(condition, {"forms": []})
    assert not holds(condition, {})


def test_no_condition_always_holds_and_all_needs_every_part() -> None:
    assert holds(None, {})
    both = Condition(all=(Condition(flag="a"), Condition(equals={"n": 1})))
    assert holds(both, {"flags": ["a"], "n": 1})
    assert not holds(both, {"flags": ["a"], "n": 2})


@pytest.mark.parametrize("parts", [{}, {"flag": "a", "equals": {"b": 1}}, {"flags": "a"}])
def test_a_condition_is_exactly_one_test(parts: dict) -> None:
    with pytest.raises(ValidationError):
        Condition(**parts)


def test_fields_are_found_by_their_names_on_the_wire() -> None:
    assert field_of({"a": {"b": 1}}, "a.b") == 1
    assert field_of({"a": 1}, "a.b") is None
    assert field_of(recorded(), "nothing") is None
