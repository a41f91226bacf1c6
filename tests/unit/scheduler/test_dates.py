"""The dates of the regime: when each comes next, and that it comes once."""

from __future__ import annotations

import pytest

from services.scheduler.domain.dates import next_date
from services.scheduler.reactions import Decision
from shared.mongo.documents import View
from tests.builders import at
from tests.reference.fold import REGIME

NEXT = [
    # rule, after, due, month that the work is about
    ("report-5th", "2026-03-01 09:00", "2026-03-05 10:00", "2026-02"),
    ("report-5th", "2026-03-05 09:59:59", "2026-03-05 10:00", "2026-02"),
    ("report-5th", "2026-03-05 10:00", "2026-04-03 10:00", "2026-03"),  # 4 to 6 April are off: earlier
    (
        "report-5th",
        "2026-04-30 10:00",
        "2026-05-06 10:00",
        "2026-04",
    ),  # 1 to 5 May are off: never before the 1st
    ("report-5th", "2026-10-01 00:00", "2026-10-08 10:00", "2026-09"),  # 1 to 7 October are off
    ("classification-5th", "2026-06-30 10:00", "2026-07-03 10:00", "2026-06"),  # the 5th is a Sunday
    ("plan-28th", "2026-03-01 10:00", "2026-03-27 10:00", "2026-04"),  # the 28th is a Saturday
    ("plan-28th", "2026-12-01 10:00", "2026-12-28 10:00", "2027-01"),
    ("templates-quarterly", "2026-01-05 10:00", "2026-03-20 10:00", "2026-03"),
    ("templates-quarterly", "2026-03-20 10:00", "2026-06-18 10:00", "2026-06"),  # a Saturday after a day off
    ("budget-yearly", "2026-02-01 10:00", "2027-01-08 10:00", "2026-12"),
]


@pytest.mark.parametrize(("rule", "after", "due", "month"), NEXT)
def test_when_a_date_comes_next(rule: str, after: str, due: str, month: str) -> None:
    date = next_date(REGIME.policy.calendar_rule(rule), at(after), REGIME)

    assert (date.due_at, date.next_at, date.month) == (at(due), at(due), month)


@pytest.mark.parametrize("rule", [rule.name for rule in REGIME.policy.calendar])
def test_each_date_comes_once_each_time_and_never_stands_still(rule: str) -> None:
    date = next_date(REGIME.policy.calendar_rule(rule), at("2026-01-01 00:00"), REGIME)
    view, months = View(), []
    for _ in range(6):
        assert date.next_at
        decision = Decision(view, REGIME, "timer", date.next_at)
        decision.fire(date)
        changes = decision.changes()
        view.apply(changes)
        months += [event.data.month for event in changes.events if event.topic == "calendar-due"]  # type: ignore[attr-defined]
        (following,) = [one for one in changes.puts if isinstance(one, type(date))]
        assert following.id == date.id
        assert following.due_at > date.due_at
        date = following

    assert len(set(months)) == 6
    assert months == sorted(months)


def test_a_date_opens_the_duties_that_hang_on_it() -> None:
    date = next_date(REGIME.policy.calendar_rule("plan-28th"), at("2026-03-01 10:00"), REGIME)
    decision = Decision(View(), REGIME, "timer", date.due_at)
    decision.fire(date)

    opened = {
        (event.data.rule, event.data.subject)  # type: ignore[attr-defined]
        for event in decision.changes().events
        if event.topic == "duty-changed"
    }
    assert opened == {("plan-ready", "2026-04"), ("plan-detailed", "2026-04"), ("plan-approved", "2026-04")}


def test_a_date_in_a_year_without_notice_is_provisional() -> None:
    date = next_date(REGIME.policy.calendar_rule("report-5th"), at("2027-12-31 10:00"), REGIME)

    assert date.provisional
