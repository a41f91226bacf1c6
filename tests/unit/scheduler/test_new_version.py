"""A new version of the policy applies to what is not yet due, whenever the facts are heard of.

The second version begins on Wednesday 1 July 2026.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from services.scheduler.domain.agenda import Date, Duty, FollowUp
from services.scheduler.domain.planning import Regime
from shared.contracts.envelope import Event
from shared.policy.counting import Period
from shared.policy.model import Limit, MonthlyDate, Row
from shared.policy.versions import Policies
from tests.builders import When, at, case_closed, case_opened, event, session_completed, session_scheduled
from tests.reference.fold import Fold, folded
from tests.unit.policy.regime import POLICY
from tests.unit.scheduler.desk import Desk, classified, milestone, recorded

R = TypeVar("R", bound=Row)
BEGINS = "2026-07-01 00:00"


def changed(rows: Sequence[R], name: str, **fields: Any) -> tuple[R, ...]:
    return tuple(row.model_copy(update=fields) if row.name == name else row for row in rows)


def without(rows: Sequence[R], name: str) -> tuple[R, ...]:
    return tuple(row for row in rows if row.name != name)


def second(**sections: Any) -> Regime:
    """The shipped regime, and a version after it that has these sections otherwise."""
    update = {"version": "2026-2", "effective_from": date(2026, 7, 1), **sections}
    return Regime.of(Policies((POLICY, POLICY.model_copy(update=update))))


def closed(desk: Desk, when: When) -> Desk:
    body = classified(closed_at=at(when), as_of=at(when))
    return desk.hears_of("case-classified", when, **body)


def standing(desk: Desk) -> dict[str, datetime]:
    return {one.rule: one.scheduled_for for one in desk.view.all(FollowUp) if one.pending}


def told(desk: Desk, since: int = 0) -> list[tuple[str, str, str]]:
    return [(one.rule, one.change, one.reason) for one in desk.told("follow-up-planned")[since:]]


# --- follow-ups -------------------------------------------------------------------------------------------------

LATER = second(follow_ups=changed(POLICY.follow_ups, "closed-15d", after=Period(days=20)))


def test_what_is_not_yet_due_moves_when_the_version_begins() -> None:
    desk = closed(Desk("2026-06-22 10:00", LATER), "2026-06-22 10:00")
    assert standing(desk)["closed-15d"] == at("2026-07-07")
    before = len(desk.told("follow-up-planned"))

    desk.until("2026-07-01 09:00")

    assert standing(desk) == {"closed-15d": at("2026-07-13"), "closed-3m": at("2026-09-22")}
    assert told(desk, before) == [("closed-15d", "moved", "policy-changed")]
    desk.until("2026-07-20")
    assert [one.scheduled_for for one in desk.told("follow-up-due")] == [at("2026-07-13")]


def test_what_is_due_stays_as_it_was() -> None:
    desk = closed(Desk("2026-06-15 10:00", LATER), "2026-06-15 10:00").until("2026-06-29")
    assert len(desk.told("follow-up-due")) == 1
    desk.until("2026-07-31")

    assert standing(desk)["closed-15d"] == at("2026-06-30")
    assert len(told(desk)) == 2


def test_what_is_closed_afterwards_goes_by_the_new_version() -> None:
    assert standing(closed(Desk("2026-07-01", LATER), "2026-07-01 10:00"))["closed-15d"] == at("2026-07-21")


def test_nothing_becomes_due_before_the_row_that_says_so_was_in_force() -> None:
    sooner = second(follow_ups=changed(POLICY.follow_ups, "closed-15d", after=Period(days=5)))
    desk = closed(Desk("2026-06-22 10:00", sooner), "2026-06-22 10:00").until("2026-07-02")
    assert standing(desk)["closed-15d"] == at("2026-07-07")  # five days would have been the 29th of June

    late = closed(Desk("2026-06-27 10:00", sooner), "2026-06-27 10:00").until("2026-07-02")
    assert standing(late)["closed-15d"] == at("2026-07-13")  # its work would have begun on the 30th
    after = closed(Desk("2026-06-29 10:00", sooner), "2026-06-29 10:00").until("2026-07-02")
    assert standing(after)["closed-15d"] == at("2026-07-06")


def test_a_rule_that_is_gone_takes_what_is_not_yet_due_with_it() -> None:
    fewer = second(follow_ups=without(POLICY.follow_ups, "closed-3m"))
    desk = closed(Desk("2026-05-04 10:00", fewer), "2026-05-04 10:00").until("2026-07-01 09:00")
    assert told(desk)[-1] == ("closed-3m", "cancelled", "policy-changed")
    assert "closed-3m" not in standing(desk)

    due = closed(Desk("2026-03-30 10:00", fewer), "2026-03-30 10:00").until("2026-07-01 09:00")
    assert standing(due)["closed-3m"] == at("2026-06-30")


def test_a_rule_that_is_new_asks_for_what_lies_ahead() -> None:
    row = POLICY.follow_up("closed-3m").model_copy(update={"name": "closed-6m", "step": "6m"})
    row = row.model_copy(update={"after": Period(months=6)})
    more = second(follow_ups=(*POLICY.follow_ups, row))
    desk = closed(Desk("2026-05-04 10:00", more), "2026-05-04 10:00").until("2026-06-30")
    assert "closed-6m" not in standing(desk)
    desk.until("2026-07-01 09:00")
    assert standing(desk)["closed-6m"] == at("2026-11-04")
    assert told(desk)[-1] == ("closed-6m", "planned", "policy-changed")

    old = closed(Desk("2025-12-01 10:00", more), "2025-12-01 10:00").until("2026-07-01 09:00")
    assert "closed-6m" not in standing(old)  # it would have been due in June


def test_care_after_a_crisis_follows_the_new_version() -> None:
    care = [rule.name for rule in POLICY.follow_ups if rule.applies_to == "incident-resolved"]
    none = second(follow_ups=tuple(rule for rule in POLICY.follow_ups if rule.name not in care))
    desk = Desk("2026-06-29 10:00", none)
    body = {"incident_id": "i-1", "client_id": "client-1", "at": at("2026-06-29 10:00")}
    desk.hears_of("incident-changed", "2026-06-29 10:00", change="resolved", **body)
    assert set(standing(desk)) == set(care)
    desk.until("2026-07-01 09:00")
    assert {change for _, change, reason in told(desk) if reason == "policy-changed"} == {"cancelled"}


def test_the_beginning_is_told_once() -> None:
    desk = closed(Desk("2026-06-22 10:00", LATER), "2026-06-22 10:00").until("2026-07-01 09:00")
    before = len(desk.published)
    desk.version_begins()
    assert len(desk.published) == before


# --- duties -----------------------------------------------------------------------------------------------------


def complained(desk: Desk, when: When) -> Desk:
    """A complaint: three working days to plan what to do about it."""
    body = recorded(flags=["complaint"], conducted_at=at(when), recorded_at=at(when))
    return desk.hears_of("follow-up-recorded", when, **body)


def with_limit(**limit: int) -> Regime:
    return second(duties=changed(POLICY.duties, "complaint-3wd", limit=Limit(**limit)))


def test_an_open_duty_gets_the_new_limit() -> None:
    desk = complained(Desk("2026-06-29 10:00", with_limit(working_days=10)), "2026-06-29 10:00")
    assert desk.duty("complaint-3wd").due_at == at("2026-07-02 23:59:59")
    desk.until("2026-07-06")
    assert desk.duty("complaint-3wd").due_at == at("2026-07-13 23:59:59")
    assert [change for change, _ in desk.duties("complaint-3wd")] == ["opened"]


def test_a_duty_that_is_late_stays_late() -> None:
    desk = complained(Desk("2026-06-22 10:00", with_limit(working_days=30)), "2026-06-22 10:00")
    desk.until("2026-07-06")
    assert desk.duty("complaint-3wd").state == "late"
    assert desk.duty("complaint-3wd").due_at == at("2026-06-25 23:59:59")


def test_nothing_is_late_by_a_limit_that_was_not_in_force() -> None:
    desk = complained(Desk("2026-06-29 10:00", with_limit(hours=2)), "2026-06-29 10:00").until("2026-07-02")
    assert desk.duty("complaint-3wd").due_at == at("2026-07-02 23:59:59")
    assert desk.duty("complaint-3wd").state == "open"
    desk = complained(Desk("2026-07-01 10:00", with_limit(hours=2)), "2026-07-01 10:00")
    assert desk.duty("complaint-3wd").due_at == at("2026-07-01 12:00")


GONE = second(duties=without(POLICY.duties, "complaint-3wd"))


def test_a_duty_that_nobody_asks_for_any_more_is_cancelled() -> None:
    desk = complained(Desk("2026-06-29 10:00", GONE), "2026-06-29 10:00").until("2026-07-06")
    assert desk.duties("complaint-3wd") == [("opened", at("2026-06-29 10:00")), ("cancelled", at(BEGINS))]
    assert not complained(Desk("2026-07-01 10:00", GONE), "2026-07-01 10:00").duties("complaint-3wd")


def test_what_was_late_when_its_rule_went_is_still_fulfilled() -> None:
    desk = complained(Desk("2026-06-22 10:00", GONE), "2026-06-22 10:00").until("2026-07-06")
    done = milestone("rectification-planned", "2026-07-06 10:00")
    desk.hears_of("milestone-reached", "2026-07-06 10:00", **done)
    assert [change for change, _ in desk.duties("complaint-3wd")] == ["opened", "late", "fulfilled"]


def test_a_duty_that_is_new_opens_by_what_happens_afterwards() -> None:
    row = POLICY.duty("complaint-3wd").model_copy(update={"name": "complaint-told"})
    more = second(duties=(*POLICY.duties, row))
    assert not complained(Desk("2026-06-30 10:00", more), "2026-06-30 10:00").duties("complaint-told")
    late = Desk("2026-07-02 10:00", more)  # heard of afterwards: it had happened before
    body = recorded(flags=["complaint"], conducted_at=at("2026-06-30"), recorded_at=at("2026-06-30"))
    assert not late.hears_of("follow-up-recorded", "2026-06-30 10:00", **body).duties("complaint-told")
    assert complained(Desk("2026-07-01 10:00", more), "2026-07-01 10:00").duties("complaint-told")


def test_a_duty_whose_rule_comes_back_opens_anew() -> None:
    third = POLICY.model_copy(update={"version": "2026-3", "effective_from": date(2026, 8, 1)})
    regime = Regime.of(Policies((*(one.policy for one in GONE.versions), third)))
    desk = complained(Desk("2026-06-29 10:00", regime), "2026-06-29 10:00").until("2026-07-20")
    complained(desk, "2026-08-03 10:00")
    assert [change for change, _ in desk.duties("complaint-3wd")] == ["opened", "cancelled", "opened"]


# --- reminders and dates ----------------------------------------------------------------------------------------


def test_nobody_is_reminded_by_a_rule_that_is_gone() -> None:
    scheduled = session_scheduled(starts_at="2026-07-03 10:00", time="2026-06-29 10:00")
    assert Desk("2026-06-29").hears(scheduled).until("2026-07-04").told("reminder-due")
    desk = Desk("2026-06-29", second(reminders=())).hears(scheduled).until("2026-07-04")
    assert not desk.told("reminder-due")


def test_the_next_coming_of_a_date_follows_the_new_version() -> None:
    due = MonthlyDate(day_of_month=10, month_offset=1)
    desk = Desk("2026-06-20", second(calendar=changed(POLICY.calendar, "report-5th", due=due)))
    desk.expects("report-5th").until("2026-08-11")
    assert [(one.month, one.due_at) for one in desk.told("calendar-due") if one.rule == "report-5th"] == [
        ("2026-06", at("2026-07-10")),
        ("2026-07", at("2026-08-10")),
    ]


def test_dates_come_and_go_with_their_rules() -> None:
    row = POLICY.calendar_rule("report-5th").model_copy(update={"name": "report-again"})
    regime = second(calendar=(*without(POLICY.calendar, "report-5th"), row))
    desk = Desk("2026-06-20", regime).expects("report-5th").expects("plan-28th").until("2026-07-31")
    assert "report-5th" not in {one.rule for one in desk.view.all(Date)}
    rules = {one.rule for one in desk.told("calendar-due")}
    assert "report-again" in rules
    assert "report-5th" not in rules


# --- whenever it is heard of ------------------------------------------------------------------------------------

EVALUATED = POLICY.duty("evaluation-1wd").model_copy(update={"name": "evaluation-again"})
TOGETHER = second(
    follow_ups=without(
        changed(POLICY.follow_ups, "closed-15d", after=Period(days=20)), "counselling-every-3"
    ),
    duties=(
        *without(changed(POLICY.duties, "evaluation-1wd", limit=Limit(working_days=5)), "effect-1m"),
        EVALUATED,
    ),
)


def story() -> list[Event]:
    """Sessions, an ending just before the second version begins, and what was done after it."""
    sessions = [
        session_completed(session_no=number, ended_at=f"2026-06-{day} 16:00")
        for number, day in enumerate(("08", "12", "17", "22", "26", "30"), 1)
    ]
    return [
        case_opened(opened_at="2026-06-05", service="workplace-adaptation", enterprise_id="e-1"),
        *sessions,
        case_closed(closed_at="2026-06-30 17:00"),
        event("milestone-reached", milestone("evaluation-collected", "2026-07-03 10:00", "case-1")),
        event("milestone-reached", milestone("effect-tracked", "2026-07-06 10:00", "case-1")),
    ]


def ends(fold: Fold) -> tuple[Any, ...]:
    """How all stands, but for what hangs on what was planned or told to be due before all was known."""
    follow_ups = {
        (one.id, one.rule, one.scheduled_for, one.complete_by, one.state)
        for one in fold.scheduler.all(FollowUp)
        if one.state not in ("cancelled", "superseded")
    }
    duties = {
        (one.id, one.rule, one.due_at, one.opened_at, one.state)
        for one in fold.scheduler.all(Duty)
        if one.published and one.rule != "prepare-1wd"
    }
    return follow_ups, duties


def test_each_by_the_version_that_it_belongs_to() -> None:
    fold = folded(story(), regime=TOGETHER).until(at("2026-08-01"))
    follow_ups, duties = ends(fold)
    assert {(rule, when) for _, rule, when, _, _ in follow_ups} == {
        ("closed-15d", at("2026-07-20")),
        ("closed-3m", at("2026-09-30")),
    }
    overtaken = {one.scheduled_for for one in fold.scheduler.all(FollowUp) if one.state == "superseded"}
    assert overtaken == {at("2026-06-22"), at("2026-07-02")}  # in June, when their rule was still there
    ended = {rule: (due, state) for _, rule, due, _, state in duties}
    assert ended["assessment-2wd"] == (at("2026-06-09 23:59:59"), "cancelled")
    assert ended["evaluation-1wd"] == (at("2026-07-07 23:59:59"), "fulfilled")
    assert ended["effect-1m"] == (at("2026-07-30 23:59:59"), "cancelled")
    assert "evaluation-again" not in ended


@settings(deadline=None)
@given(st.lists(st.integers(0, 14), min_size=10, max_size=10), st.integers(0, 3))
def test_the_order_of_arrival_makes_no_difference(delays: list[int], seed: int) -> None:
    events = story()
    in_time = folded(events, regime=TOGETHER).until(at("2026-08-01"))
    arrivals = sorted(
        ((one.time + timedelta(days=delay), one) for delay, one in zip(delays, events, strict=True)),
        key=lambda arrival: arrival[0],
    )
    late = Fold(events[0].time, seed, TOGETHER)
    for arrives, one in arrivals:
        late.deliver(one, arrives)
    late.settle().until(at("2026-08-01"))
    assert ends(late) == ends(in_time)
