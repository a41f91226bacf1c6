"""The figures of a month: what counts, what does not, and where a month begins and ends."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import cast

import pytest

from services.reporting.domain import counting
from services.reporting.domain.figures import ClassFigures, Figures
from services.reporting.domain.months import months_up_to
from services.reporting.domain.read_models import FollowUp
from services.reporting.reactions import ReportingReactions
from services.reporting.store import Store
from shared.contracts.envelope import Event
from shared.contracts.events import Consents, ReportPublished
from shared.mongo.documents import View
from shared.policy.counting import month_of
from shared.policy.model import Policy
from tests.unit.policy.regime import POLICIES, POLICY, switched
from tests.unit.reporting.events import (
    SHANGHAI,
    at,
    classified,
    due,
    duty,
    escalation,
    incident,
    planned,
    recorded,
    report_due,
)

APRIL_3 = at("2026-04-03")
REACTIONS = ReportingReactions(cast(Store, None), POLICIES)  # decide() reads no store


def fold(events: Iterable[Event], now: datetime = APRIL_3) -> View:
    """The read models after these events, in this order."""
    view = View()
    for event in events:
        view.apply(REACTIONS.decide(view, event, now))
    return view


def figures_of(
    *events: Event, month: str = "2026-03", as_of: datetime = APRIL_3, policy: Policy = POLICY
) -> Figures:
    view = fold(events)
    return counting.figures(month, counting.Facts.of(view), policy, as_of)


def closed(figures: Figures) -> ClassFigures:
    return figures.classes[0]


# --- the month ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheduled", "month"),
    [
        ("2026-02-28 23:59", "2026-02"),
        ("2026-03-01 00:00", "2026-03"),  # still 28 February in UTC
        ("2026-03-31 23:59", "2026-03"),
        ("2026-04-01 00:00", "2026-04"),
        ("2025-12-31 23:59", "2025-12"),
        ("2026-01-01 00:00", "2026-01"),
    ],
)
def test_a_follow_up_belongs_to_the_month_of_its_day_in_shanghai(scheduled: str, month: str) -> None:
    assert month_of(at(scheduled), SHANGHAI) == month
    event = planned("f1", "", scheduled_for=at(scheduled))
    assert [one.month for one in fold([event]).all(FollowUp)] == [month]


def test_the_months_of_a_trend_cross_the_year() -> None:
    assert months_up_to("2026-02", 4) == ("2025-11", "2025-12", "2026-01", "2026-02")


def test_a_follow_up_that_moves_takes_its_month_along() -> None:
    events = (
        planned("f1", "2026-03-31"),
        planned("f1", "2026-04-01", change="moved", time=at("2026-03-02")),
    )
    assert closed(figures_of(*events)).planned == 0
    assert closed(figures_of(*events, month="2026-04")).planned == 1


# --- coverage -------------------------------------------------------------------------------------------------


@pytest.mark.clause("F10", "F37")
def test_each_outcome_is_counted_by_itself_and_both_rates_are_told() -> None:
    outcomes = ("completed", "completed", "refused", "unreachable", "stopped-for-crisis")
    events = [planned(f"f{n}", "2026-03-10") for n in range(8)]
    events += [recorded(f"f{n}", "2026-03-10", outcome) for n, outcome in enumerate(outcomes)]
    events += [
        planned("f5", "2026-03-10", change="superseded", time=at("2026-03-09")),
        planned("f6", "2026-03-10", change="cancelled", time=at("2026-03-09")),
    ]
    told = closed(figures_of(*events))
    assert (told.completed, told.refused, told.unreachable, told.stopped_for_crisis) == (2, 1, 1, 1)
    assert (told.missed, told.superseded, told.cancelled, told.open) == (1, 1, 1, 0)
    assert (told.planned, told.due) == (6, 6)
    assert told.rate.value == pytest.approx(2 / 6)
    assert told.rate_less_refusals.value == pytest.approx(2 / 5)  # collision 2


@pytest.mark.clause("F10", "F37", "F39", "F41")
@pytest.mark.parametrize(
    ("coverage_of", "value", "met"), [("due", 9 / 11, False), ("due-less-refusals", 0.9, True)]
)
@pytest.mark.parametrize(
    ("rule", "target", "row"),
    [("closed-15d", "coverage-closed", 0), ("counselling-every-3", "coverage-in-counselling", 1),
     ("key-1m", "coverage-key-attention", 2)],
)  # fmt: skip
def test_which_rate_is_held_against_the_target_is_a_switch(
    coverage_of: str, value: float, met: bool, rule: str, target: str, row: int
) -> None:
    """Collision 2: of eleven, nine are completed, one is missed and one refused. Both rates are told either way."""
    outcomes = ["completed"] * 9 + ["refused"]
    events = [planned(f"f{n}", "2026-03-10", rule=rule) for n in range(11)]
    events += [recorded(f"f{n}", "2026-03-10", outcome) for n, outcome in enumerate(outcomes)]
    told = figures_of(*events, policy=switched(coverage_of=coverage_of))
    of_class = told.classes[row]
    assert (of_class.rate.value, of_class.rate_less_refusals.value) == (pytest.approx(9 / 11), 0.9)
    assert of_class.held_by == coverage_of
    assert of_class.held.value == pytest.approx(value)
    assert of_class.met is (met if target == "coverage-closed" else False)  # F39 and F41 want all of them
    indicator = next(one for one in told.indicators if one.name == target)
    assert (indicator.value, indicator.met) == (pytest.approx(value), of_class.met)
    assert told.trend[-1].rates[of_class.group] == pytest.approx(value)
    flat = counting.flat(told)
    assert (flat[f"{of_class.group}-coverage"], flat[f"{of_class.group}-coverage-less-refusals"]) == (
        pytest.approx(9 / 11),
        0.9,
    )


@pytest.mark.parametrize(("coverage_of", "met"), [("due", False), ("due-less-refusals", True)])
@pytest.mark.clause("F39", "F41")
def test_whom_only_refusals_keep_from_full_coverage(coverage_of: str, met: bool) -> None:
    rules = ("counselling-every-3", "key-1m")
    events = [planned(f"{rule}-{n}", "2026-03-10", rule=rule) for rule in rules for n in range(2)]
    events += [recorded(f"{rule}-{n}", "2026-03-10", outcome) for rule in rules for n, outcome in
               enumerate(("completed", "refused"))]  # fmt: skip
    told = figures_of(*events, policy=switched(coverage_of=coverage_of))
    assert [one.met for one in told.classes[1:3]] == [met, met]


def test_what_is_superseded_is_not_due() -> None:
    """Collision 4: a case that closes on its third session leaves no miss behind."""
    told = figures_of(
        planned("f1", "2026-03-10", rule="counselling-every-3"),
        planned(
            "f1", "2026-03-10", rule="counselling-every-3", change="superseded", case_class="closed",
            time=at("2026-03-09"),
        ),
    )  # fmt: skip
    in_counselling = told.classes[1]
    assert (in_counselling.group, in_counselling.superseded, in_counselling.due) == ("in-counselling", 1, 0)
    assert in_counselling.rate.value is None
    assert in_counselling.met is None


def test_of_what_was_said_at_one_instant_the_graver_holds_until_the_follow_up_comes_due() -> None:
    """A time-lapse stands still while much happens: closed and reopened at one instant, for instance."""
    plan, gone = planned("f1", "2026-03-10"), planned("f1", "2026-03-10", change="superseded")
    assert plan.time == gone.time
    for events in ((plan, gone), (gone, plan)):
        assert closed(figures_of(*events)).superseded == 1
        told = closed(figures_of(*events, due(plan, "2026-03-08")))
        assert (told.superseded, told.missed) == (0, 1)


def test_what_was_conducted_stays_conducted() -> None:
    told = figures_of(
        planned("f1", "2026-03-10"),
        recorded("f1", "2026-03-10"),
        planned("f1", "2026-03-10", change="superseded", time=at("2026-03-20")),
    )
    assert (closed(told).completed, closed(told).superseded) == (1, 0)


@pytest.mark.parametrize(
    ("as_of", "missed"),
    [("2026-03-17 23:59", 0), ("2026-03-18 00:00", 1)],  # complete by 17 March, 23:59:59
)
def test_an_open_follow_up_is_missed_when_its_time_has_run_out(as_of: str, missed: int) -> None:
    told = closed(figures_of(planned("f1", "2026-03-10"), as_of=at(as_of)))
    assert (told.missed, told.due, told.open) == (missed, missed, 1 - missed)
    assert told.rate.value == (0 if missed else None)


def test_a_completed_follow_up_may_be_late() -> None:
    told = closed(figures_of(planned("f1", "2026-03-10"), recorded("f1", "2026-03-18 00:00")))
    assert (told.completed, told.completed_late) == (1, 1)


@pytest.mark.clause("F37")
@pytest.mark.parametrize(("missed", "met"), [(1, True), (2, False)])
def test_the_target_of_closed_cases_is_nine_in_ten(missed: int, met: bool) -> None:
    events = [planned(f"f{n}", "2026-03-10") for n in range(10)]
    events += [recorded(f"f{n}", "2026-03-10") for n in range(10 - missed)]
    told = closed(figures_of(*events))
    assert (told.clause, told.target, told.met) == ("F37", 0.9, met)


@pytest.mark.clause("F37", "F39", "F41")
def test_every_class_has_its_own_row() -> None:
    told = figures_of(
        planned("f1", "2026-03-10"),
        planned("f2", "2026-03-10", rule="counselling-every-3"),
        planned("f3", "2026-03-10", rule="counselling-every-3", case_class="key-attention"),
        planned("f4", "2026-03-10", rule="key-1m"),
        planned("f5", "2026-03-10", rule="dropped-7d"),
        planned("f6", "2026-03-10", rule="crisis-aftercare"),
        planned("f7", "2026-03-10", rule="closed-15d"),
        planned("f7", "2026-03-10", rule="key-15d", change="moved", time=at("2026-03-02")),
    )
    rows = [(one.group, one.clause, one.target, one.due) for one in told.classes]
    assert rows == [
        ("closed", "F37", 0.9, 1),
        ("in-counselling", "F39", 1.0, 1),
        ("key-attention", "F41", 1.0, 3),  # collision 3: it comes before the others
        ("dropped", "F42", None, 1),
        ("crisis-aftercare", "A32", None, 1),
    ]


def test_a_rule_of_an_older_policy_is_counted_by_its_clause() -> None:
    told = figures_of(_old_rule())
    assert [one.due for one in told.classes] == [0, 0, 1, 0, 0]


def _old_rule() -> Event:
    event = planned("f1", "2026-03-10", rule="key-1m")
    data = event.data.model_copy(update={"rule": "key-2m"})
    return Event(event.id, event.source, event.topic, event.time, event.subject, data)


# --- what follow-ups brought up -------------------------------------------------------------------------------


@pytest.mark.clause("F74")
def test_satisfaction_is_the_mean_out_of_five_and_flagged_below_four() -> None:
    events = [planned(f"f{n}", "2026-03-10") for n in range(4)]
    events += [recorded(f"f{n}", "2026-03-10", satisfaction=score) for n, score in enumerate((5, 4, 2, None))]
    told = figures_of(*events).satisfaction
    assert told.mean == pytest.approx(11 / 3)
    assert (told.answers, told.met) == (3, False)
    assert told.scores == {"1": 0, "2": 1, "3": 0, "4": 1, "5": 1}
    nothing = figures_of().satisfaction
    assert (nothing.mean, nothing.answers, nothing.met) == (None, 0, None)


@pytest.mark.clause("F43", "F57")
def test_flags_and_reasons_are_counted_by_code() -> None:
    told = figures_of(
        planned("f1", "2026-03-10"),
        recorded("f1", "2026-03-10", flags=("complaint", "special-need")),
        planned("f2", "2026-03-10"),
        recorded("f2", "2026-03-10", flags=("complaint",)),
        planned("f3", "2026-03-10", rule="dropped-7d"),
        recorded("f3", "2026-03-10", dropped_reason="price"),
        planned("f4", "2026-03-10", rule="dropped-7d"),
        recorded("f4", "2026-03-10"),
        planned("f5", "2026-03-10", rule="dropped-7d"),
        recorded("f5", "2026-03-10", "unreachable"),
    )
    assert told.flags == {"complaint": 2, "special-need": 1}
    assert told.dropped_reasons == {"not-recorded": 1, "price": 1}


@pytest.mark.clause("F60")
@pytest.mark.parametrize(("hours", "in_time"), [(24, 1), (24.01, 0)])
def test_a_record_is_due_within_a_day(hours: float, in_time: int) -> None:
    conducted = at("2026-03-10")
    late = recorded("f1", "2026-03-10", recorded_at=conducted + timedelta(hours=hours))
    told = figures_of(planned("f1", "2026-03-10"), late).record_in_time
    assert (told.reached, told.of) == (in_time, 1)


def test_the_last_word_on_a_record_holds() -> None:
    told = figures_of(
        planned("f1", "2026-03-10"),
        recorded("f1", "2026-03-12"),
        recorded("f1", "2026-03-10", "unreachable"),
    )
    assert (closed(told).completed, closed(told).unreachable) == (1, 0)


# --- duties, escalations, incidents ---------------------------------------------------------------------------


def test_a_duty_is_in_time_by_the_deed_and_late_by_the_schedulers_word() -> None:
    told = figures_of(
        duty("in-time", "opened", "2026-03-10", "2026-03-17"),
        duty("in-time", "fulfilled", "2026-03-17", "2026-03-17"),
        duty("word-came-late", "opened", "2026-03-10", "2026-03-17"),
        duty("word-came-late", "late", "2026-03-17 10:01", "2026-03-17"),
        duty("word-came-late", "fulfilled", "2026-03-16", "2026-03-17"),
        duty("done-late", "opened", "2026-03-10", "2026-03-17"),
        duty("done-late", "late", "2026-03-17 10:01", "2026-03-17"),
        duty("done-late", "fulfilled", "2026-03-18", "2026-03-17"),
        duty("grace", "opened", "2026-03-16", "2026-03-13"),  # F52: a limit before the opening leaves the day
        duty("grace", "fulfilled", "2026-03-16 18:00", "2026-03-13"),
        duty("never-done", "late", "2026-03-17 10:01", "2026-03-17"),
        duty("old", "opened", "2026-03-10", "2026-03-17"),  # history is opened without lateness
        duty("cancelled", "opened", "2026-03-10", "2026-03-17"),
        duty("cancelled", "cancelled", "2026-03-11", "2026-03-17"),
        duty("april", "opened", "2026-03-30", "2026-04-01"),
    )
    (row,) = told.duties
    assert (row.opened, row.fulfilled, row.late, row.open, row.cancelled) == (6, 4, 2, 1, 1)
    assert row.in_time.value == pytest.approx(3 / 5)


def test_duties_and_escalations_stand_in_the_order_of_their_clauses() -> None:
    told = figures_of(
        duty("d1", "opened", "2026-03-10", "2026-03-17", rule="w", clause="W12"),
        duty("d2", "opened", "2026-03-10", "2026-03-17", rule="f", clause="F65"),
        duty("d3", "opened", "2026-03-10", "2026-03-17", rule="e", clause="F5"),
        escalation("e1", "2026-03-17"),
        escalation("e2", "2026-03-17", urgency="page"),
        escalation("e3", "2026-04-01"),
    )
    assert [one.clause for one in told.duties] == ["F5", "F65", "W12"]
    assert [(one.notified, one.paged) for one in told.escalations] == [(1, 1)]


@pytest.mark.clause("F59", "A30")
def test_incidents_are_measured_from_the_flag() -> None:
    flag = at("2026-03-20")
    told = figures_of(
        incident("i1", "opened", flag),
        incident("i1", "paged", flag + timedelta(seconds=2), step="on-call"),
        incident("i1", "paged", flag + timedelta(minutes=10), step="head"),
        incident("i1", "acknowledged", flag + timedelta(minutes=4)),
        incident("i1", "intervening", flag + timedelta(minutes=30)),
        incident("i1", "resolved", flag + timedelta(hours=3)),
        incident("i2", "opened", flag),
        incident("i2", "paged", flag + timedelta(seconds=4), step="on-call"),
        incident("i2", "paged", flag + timedelta(minutes=10, seconds=1), step="head"),
        incident("i2", "intervening", flag + timedelta(minutes=30, seconds=1)),
        incident("i3", "opened", at("2026-03-31 23:59")),
        incident("i4", "opened", at("2026-04-01 00:00")),
        as_of=at("2026-04-01 00:05"),
    ).incidents
    assert (told.opened, told.resolved) == (3, 1)
    assert (told.first_page.median, told.first_page.longest) == (3, 4)
    assert (told.acknowledged.incidents, told.acknowledged.median) == (1, 240)
    assert (told.head_told_in_time.reached, told.head_told_in_time.of) == (1, 2)  # i3 still has time
    assert (told.intervention_in_time.reached, told.intervention_in_time.of) == (1, 2)


@pytest.mark.clause("A29", "A31")
def test_crises_are_counted_that_were_assessed_and_referrals_that_were_answered() -> None:
    when = at("2026-03-20")
    steps = ("first-assessment", "in-depth-interview", "risk-assessment", "referred-hospital")
    told = figures_of(
        *(incident("i1", "intervening", when, step=step) for step in (*steps, *steps)),
        incident("i1", "intervening", when, step="responded-hospital"),
        *(incident("i2", "acknowledged", when, step=step) for step in steps[1:]),
        incident(
            "i3", "paged", when, step="first-assessment"
        ),  # a step of the chain is none of the assessment
    )
    found = {one.name: (one.value, one.counted, one.met) for one in told.indicators}
    assert found["crisis-assessed"] == (1 / 3, 3, False)
    assert found["agencies-respond"] == (0.5, 2, False)


def test_an_incident_nobody_took_up_is_a_miss_once_its_time_is_over() -> None:
    told = figures_of(incident("i1", "opened", at("2026-03-20"))).incidents
    assert (told.intervention_in_time.value, told.head_told_in_time.value) == (0, 0)
    assert told.first_page.median is None


# --- cases, indicators, trend ---------------------------------------------------------------------------------


@pytest.mark.clause("A17")
def test_retention_counts_the_cases_that_ended_in_the_month() -> None:
    told = figures_of(
        classified("c1", closed_at=at("2026-03-10"), opened_at=at("2026-03-01")),
        classified("c2", closed_at=at("2026-02-10")),
        classified("c3", case_class="dropped", status="dropped", dropped_at=at("2026-03-10")),
        classified(
            "c4", case_class="in-counselling", status="open", dropped_at=at("2026-03-10")
        ),  # came back
    )
    assert (told.cases.opened, told.cases.closed, told.cases.dropped) == (1, 1, 1)
    retention = next(one for one in told.indicators if one.name == "retention")
    assert (retention.value, retention.counted, retention.clause, retention.met) == (0.5, 2, "A17", False)


def test_an_older_revision_of_a_case_is_ignored() -> None:
    newer = classified("c1", 3, case_class="in-counselling", status="open")
    older = classified("c1", 2, closed_at=at("2026-03-10"))
    for events in ((older, newer), (newer, older)):
        assert figures_of(*events).cases.closed == 0


@pytest.mark.clause("A2", "A7", "A8", "A10", "A32")
def test_shares_of_the_after_sales_plan_are_counted_of_what_they_can_be_counted_of() -> None:
    """Satisfied: a score of 4 or 5. Reached: spoken to. Evaluated: with a score. Handled: fulfilled, or else late."""
    told = figures_of(
        planned("f1", "2026-03-10"), recorded("f1", "2026-03-10", satisfaction=4),
        planned("f2", "2026-03-10"), recorded("f2", "2026-03-10", satisfaction=3),
        planned("f3", "2026-03-10"), recorded("f3", "2026-03-10", satisfaction=None),
        planned("f4", "2026-03-10"), recorded("f4", "2026-03-10", outcome="refused"),
        planned("f5", "2026-03-10"), recorded("f5", "2026-03-10", outcome="unreachable"),
        planned("f6", "2026-03-10", rule="crisis-aftercare"), recorded("f6", "2026-03-10", satisfaction=5),
        duty("d1", "fulfilled", "2026-03-12", "2026-03-17", rule="match-2wd"),
        duty("d2", "late", "2026-03-17 10:01", "2026-03-17", rule="complaint-3wd"),
        duty("d3", "late", "2026-03-17 10:01", "2026-03-17", rule="file-5wd"),  # no feedback of a client's
    )  # fmt: skip
    shares = {one.name: (one.value, one.counted) for one in told.indicators}
    assert shares["client-satisfaction"] == (2 / 3, 3)
    assert shares["reach"] == (5 / 6, 6)
    assert shares["evaluation-coverage"] == (3 / 4, 4)
    assert shares["feedback-handled"] == (1 / 2, 2)
    assert shares["aftercare-satisfaction"] == (1, 1)


@pytest.mark.clause("A25")
def test_scales_are_asked_of_those_who_agreed_to_them() -> None:
    told = figures_of(
        classified("case-f1", consents=Consents(scales=True)),
        classified("case-f2"),
        planned("f1", "2026-03-10"),
        recorded("f1", "2026-03-10", bands={"phq-9": "mild"}),
        planned("f2", "2026-03-10"),
        recorded("f2", "2026-03-10"),
    )
    used = next(one for one in told.indicators if one.name == "scales-used")
    assert (used.value, used.counted) == (1, 1)


@pytest.mark.clause("A25")
def test_our_own_bands_are_no_standard_scale() -> None:
    told = figures_of(
        classified("case-f1", consents=Consents(scales=True)),
        planned("f1", "2026-03-10"),
        recorded("f1", "2026-03-10", bands={"effect": "high", "communication": "good"}),
    )
    used = next(one for one in told.indicators if one.name == "scales-used")
    assert (used.value, used.counted) == (0, 1)


@pytest.mark.clause("A15", "A20", "A21", "A23", "A26")
@pytest.mark.parametrize(
    ("rated", "target", "clause"),
    [
        ("recommendation", "recommendation-satisfaction", "A15"),
        ("setting", "setting-rated-good", "A20"),
        ("communication", "communication-effective", "A21"),
        ("emotion", "emotion-management", "A23"),
        ("result-feedback", "result-feedback-satisfaction", "A26"),
    ],
)
def test_what_clients_rate_is_counted_of_those_who_rated_it(rated: str, target: str, clause: str) -> None:
    bands = ("good", "good", "fair", "poor", None)
    events = [planned(f"f{n}", "2026-03-10") for n in range(len(bands))]
    events += [
        recorded(f"f{n}", "2026-03-10", bands={rated: band} if band else {}) for n, band in enumerate(bands)
    ]
    events += [planned("april", "2026-04-01"), recorded("april", "2026-04-01", bands={rated: "good"})]
    told = next(one for one in figures_of(*events).indicators if one.name == target)
    assert (told.clause, told.value, told.counted, told.met) == (clause, 0.5, 4, False)


def test_every_target_of_the_policy_is_reported_with_its_clause_and_no_data_is_said() -> None:
    told = figures_of().indicators
    assert [one.name for one in told] == [target.name for target in POLICY.targets]
    assert all(one.value is None and one.met is None for one in told)


@pytest.mark.clause("A12")
def test_the_trend_shows_earlier_months_as_they_stand_now() -> None:
    trend = figures_of(
        planned("f1", "2026-02-10"), recorded("f1", "2026-02-10", satisfaction=4),
        planned("f2", "2026-03-10"), recorded("f2", "2026-03-10", satisfaction=5),
    )  # fmt: skip
    assert [one.month for one in trend.trend] == [
        "2025-10", "2025-11", "2025-12", "2026-01", "2026-02", "2026-03",
    ]  # fmt: skip
    assert [one.satisfaction for one in trend.trend][-3:] == [None, 4, 5]
    gain = next(one for one in trend.indicators if one.name == "satisfaction-gain")
    assert gain.value == pytest.approx(0.25)
    assert gain.met is True


# --- the report's event ---------------------------------------------------------------------------------------


def test_the_report_carries_flat_figures_by_which_the_policy_can_act() -> None:
    view = fold([planned("f1", "2026-03-10"), recorded("f1", "2026-03-10", satisfaction=3)])
    changes = REACTIONS.decide(view, report_due("2026-03", "2026-04-03"), APRIL_3)
    (event,) = changes.events
    assert isinstance(event.data, ReportPublished)
    assert (event.topic, event.subject, event.time) == ("report-published", "2026-03", APRIL_3)
    assert event.data.figures["satisfaction"] == 3
    assert event.data.figures["closed-coverage"] == 1
    assert event.data.figures["dropped-coverage"] is None
    assert ReportPublished.from_json(event.data.to_json()) == event.data
