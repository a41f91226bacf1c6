"""The dates of the regime: when each comes next, and that it comes once."""

from __future__ import annotations

import pytest

from services.scheduler.domain.dates import next_date
from services.scheduler.reactions import Decision
from shared.mongo.documents import View
from tests.builders import at
from tests.reference.fold import REGIME
from tests.unit.scheduler.desk import Desk, milestone

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


@pytest.mark.clause(
    "F3", "F15", "F16", "F27", "F31", "F44", "F64", "F70", "W8", "W11", "W15", "W20"
)  # fmt: skip
@pytest.mark.parametrize(
    ("rule", "role", "clauses", "due", "month"),
    [
        ("classification-5th", "psychology", "F15 F16", "2026-04-03", "2026-03"),  # 4 to 6 April are off
        ("report-5th", "operations", "F64", "2026-04-03", "2026-03"),
        ("plan-28th", "psychology", "F44", "2026-04-28", "2026-05"),
        ("templates-quarterly", "psychology", "F27 F3", "2026-06-18", "2026-06"),  # 19 to 21 June are off
        ("training-monthly", "human-resources", "F31", "2026-04-24", "2026-04"),  # the 25th is a Saturday
        ("maintenance-monthly", "it", "F70", "2026-04-15", "2026-04"),
        ("review-quarterly", "expert-group-head", "W8", "2026-06-25", "2026-06"),
        ("supervision-first", "expert-group-head", "W11", "2026-04-10", "2026-04"),  # the 12th is a Sunday
        ("supervision-second", "expert-group-head", "W11", "2026-04-24", "2026-04"),  # the 26th is a Sunday
        ("demand-quarterly", "customer-service", "W15", "2026-04-10", "2026-03"),
        ("training-half-yearly", "expert-group-head", "W20", "2026-06-18", "2026-06"),
    ],
)
def test_each_date_of_the_regime_is_told_on_its_day(
    rule: str, role: str, clauses: str, due: str, month: str
) -> None:
    row = REGIME.policy.calendar_rule(rule)
    assert row.role == role
    assert set(clauses.split()) <= set(row.clauses)
    date = next_date(row, at("2026-04-01 00:00"), REGIME)
    decision = Decision(View(), REGIME, "timer", date.due_at)
    decision.fire(date)

    (told,) = [event.data for event in decision.changes().events if event.topic == "calendar-due"]
    assert told.model_dump() == {
        "rule": rule, "clause": row.clause, "month": month, "due_at": at(f"{due} 10:00"),
    }  # fmt: skip


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


EACH_DATE = [
    # date, the duty that it opens, its role, due on, about
    ("classification-5th", "classification-passed-on", "psychology", "2026-03-05", "2026-02"),
    ("plan-28th", "plan-ready", "psychology", "2026-03-27", "2026-04"),
    ("records-sampled", "records-checked", "psychology", "2026-03-10", "2026-02"),
    ("recordings-sampled", "recordings-checked", "psychology", "2026-03-10", "2026-02"),
    ("templates-quarterly", "templates-reviewed", "psychology", "2026-03-20", "2026-03"),
    ("training-monthly", "training-held", "human-resources", "2026-03-25", "2026-03"),
    ("maintenance-monthly", "maintenance-done", "it", "2026-03-13", "2026-03"),
    ("review-quarterly", "review-held", "expert-group-head", "2026-03-25", "2026-03"),
    ("supervision-first", "first-supervision-held", "expert-group-head", "2026-03-12", "2026-03"),
    ("supervision-second", "second-supervision-held", "expert-group-head", "2026-03-26", "2026-03"),
    ("demand-quarterly", "demand-reported", "customer-service", "2026-04-10", "2026-03"),
    ("training-half-yearly", "half-year-training-held", "expert-group-head", "2026-06-18", "2026-06"),
]


LONGER = {"records-checked": "2026-03-17", "recordings-checked": "2026-03-17"}
"""What is drawn on the day and takes days to check: by when (five working days, our figure)."""


@pytest.mark.clause("F15", "F27", "F31", "F44", "F70", "F71", "F72", "W8", "W11", "W15", "W20")
@pytest.mark.parametrize(("date", "duty", "role", "day", "month"), EACH_DATE)
def test_each_date_asks_its_role_to_do_it_that_day(
    date: str, duty: str, role: str, day: str, month: str
) -> None:
    end = LONGER.get(duty, day)
    desk = Desk("2026-03-01 09:00").expects(date).until(f"{day} 12:00")

    opened = desk.duty(duty)
    assert (opened.role, opened.subject, opened.due_at) == (role, month, at(f"{end} 23:59:59"))
    assert desk.duties(duty) == [("opened", at(f"{day} 10:00"))]
    assert [(due.rule, due.month, due.due_at) for due in desk.told("calendar-due")] == [
        (date, month, at(f"{day} 10:00"))
    ]

    absent = Desk("2026-03-01 09:00").expects(date).until(f"{end} 23:59:59.500")
    escalate_to = REGIME.policy.duty(duty).escalate_to
    assert absent.duties(duty)[1:] == [("late", at(f"{end} 23:59:59"))]
    assert absent.escalations(duty) == [("late", escalate_to, at(f"{end} 23:59:59"))]

    name = REGIME.policy.duty(duty).fulfilled_by.milestone
    assert name
    desk.hears_of("milestone-reached", f"{day} 17:00", **milestone(name, f"{day} 17:00", month))
    desk.until(f"{end} 23:59:59.500")
    assert desk.duties(duty)[1:] == [("fulfilled", at(f"{day} 17:00"))]


def test_every_date_opens_something() -> None:
    """By rows alone: no date comes and goes without anybody having to do something."""
    opened = {
        rule.opened_by.when.equals["rule"]
        for rule in REGIME.policy.duties
        if rule.opened_by.event == "calendar-due" and rule.opened_by.when and rule.opened_by.when.equals
    }
    assert opened == {rule.name for rule in REGIME.policy.calendar}


@pytest.mark.clause("F64")
def test_f64_the_report_itself_fulfils_its_duty() -> None:
    desk = Desk("2026-03-01 09:00").expects("report-5th").until("2026-03-05 10:00")
    assert desk.duty("report-out").due_at == at("2026-03-05 23:59:59")
    for report in ("something-else", "follow-up-analysis"):
        desk.hears_of(
            "report-published",
            "2026-03-05 10:01",
            month="2026-02",
            report=report,
            published_at=at("2026-03-05 10:01"),
            figures={},
        )
        fulfilled = [change for change, _ in desk.duties("report-out")] == ["opened", "fulfilled"]
        assert fulfilled is (report == "follow-up-analysis")


def test_w11_the_two_supervisions_of_a_month_are_two_duties() -> None:
    desk = Desk("2026-03-01 09:00").expects("supervision-first").expects("supervision-second")
    desk.until("2026-03-12 12:00")
    held = milestone("first-supervision-held", "2026-03-12 16:00", "2026-03")
    desk.hears_of("milestone-reached", "2026-03-12 16:00", **held).until("2026-03-27")

    assert [change for change, _ in desk.duties("first-supervision-held")] == ["opened", "fulfilled"]
    assert [change for change, _ in desk.duties("second-supervision-held")] == ["opened", "late"]


def test_who_has_to_prepare_is_reminded_days_ahead_once_for_each_month() -> None:
    desk = Desk("2026-03-01 09:00").expects("plan-28th").until("2026-04-30")

    told = [data for data in desk.told("reminder-due") if data.what == "date-ahead"]
    assert [(data.to, data.subject, data.clause, data.at) for data in told] == [
        ("role:psychology", "2026-04", "F44", at("2026-03-22 10:00")),  # the plan is due on Friday 27
        ("role:psychology", "2026-05", "F44", at("2026-04-23 10:00")),
    ]
    assert len({data.reminder_id for data in told}) == 2
    assert [data.due_at for data in desk.told("calendar-due")] == [
        at("2026-03-27 10:00"),
        at("2026-04-28 10:00"),
    ]


def test_the_rows_say_how_many_hours_they_ask_for() -> None:
    calendar = REGIME.policy.calendar_rule
    assert "2 class hours" in str(calendar("training-monthly").note)  # F31
    assert "90 minutes" in str(calendar("supervision-first").note)  # W11
    assert "90 minutes" in str(calendar("supervision-second").note)
    assert "16 class hours" in str(calendar("training-half-yearly").note)  # W20
