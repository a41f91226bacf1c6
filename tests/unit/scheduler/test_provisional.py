"""What was planned into a year without notice is computed again once the notice is there (collision 8)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

from services.scheduler.domain.agenda import Date, Duty, FollowUp
from services.scheduler.domain.planning import Regime
from shared.policy.workdays import WorkCalendar
from tests.builders import at
from tests.reference.fold import REGIME
from tests.unit.scheduler.desk import Desk, classified, milestone, recorded

YEAR = 2031


def knowing(off: Iterable[str] = (), worked: Iterable[str] = ()) -> Regime:
    """The regime with a calendar that knows the year."""
    days = {date.fromisoformat(day): False for day in off} | {date.fromisoformat(day): True for day in worked}
    return Regime(REGIME.policy, WorkCalendar(days, [YEAR, YEAR + 1]))


def closed(when: str = "2031-03-03 09:00") -> Desk:
    """Closed on Monday 3 March: the follow-ups are on Tuesday 18 March and on Tuesday 3 June."""
    body = classified(closed_at=at(when), as_of=at(when))
    return Desk(when).hears_of("case-classified", when, **body)


def planned(desk: Desk) -> dict[str, datetime]:
    return {item.rule: item.scheduled_for for item in desk.view.all(FollowUp)}


def test_what_falls_on_a_day_off_moves_and_says_why() -> None:
    desk = closed()
    assert all(item.provisional for item in desk.view.all(FollowUp))
    before = len(desk.told("follow-up-planned"))

    desk.calendar_known(knowing(off=["2031-03-18"]))

    assert planned(desk) == {"closed-15d": at("2031-03-19"), "closed-3m": at("2031-06-03")}
    told = {data.rule: data for data in desk.told("follow-up-planned")[before:]}
    assert {(data.change, data.reason, data.provisional) for data in told.values()} == {
        ("moved", "calendar-known", False)
    }
    assert told["closed-15d"].scheduled_for == at("2031-03-19")
    assert told["closed-15d"].complete_by == at("2031-03-26 23:59:59")
    assert not any(item.provisional for item in desk.view.all(FollowUp))


def test_doing_it_again_says_nothing_more() -> None:
    regime = knowing(off=["2031-03-18"])
    desk = closed().calendar_known(regime)
    before = len(desk.published)

    desk.calendar_known(regime).calendar_known(regime)

    assert len(desk.published) == before


def test_while_the_year_stays_unknown_nothing_is_said() -> None:
    desk = closed()
    before = len(desk.published)
    desk.calendar_known(Regime(REGIME.policy, WorkCalendar()))

    assert len(desk.published) == before


def test_what_is_moved_is_announced_and_begun_at_its_new_time() -> None:
    desk = closed().calendar_known(knowing(off=["2031-03-17", "2031-03-18"])).until("2031-03-30")

    assert [data.scheduled_for for data in desk.told("follow-up-due")] == [at("2031-03-19")]
    assert desk.reminders("follow-up-notice") == [at("2031-03-17 10:00")]
    assert desk.reminders("questionnaire-invitation") == [at("2031-03-19 10:00")]


def test_the_work_that_has_begun_moves_along_with_its_preparation() -> None:
    desk = closed().until("2031-03-16 12:00")
    assert desk.duty("prepare-1wd").due_at == at("2031-03-17 23:59:59")

    desk.calendar_known(knowing(off=["2031-03-18", "2031-03-19"])).until("2031-03-16 13:00")

    assert desk.duty("prepare-1wd").due_at == at("2031-03-17 23:59:59")
    assert planned(desk)["closed-15d"] == at("2031-03-20")
    assert len(desk.told("follow-up-due")) == 1
    assert [change for change, _ in desk.duties("prepare-1wd")] == ["opened"]
    desk.until("2031-03-21")  # the client had been told of the 18th
    assert desk.reminders("follow-up-notice") == [at("2031-03-16 10:00"), at("2031-03-18 10:00")]


def test_what_is_past_or_conducted_stays_as_it_was() -> None:
    desk = closed().until("2031-03-18 12:00")
    (due,) = desk.told("follow-up-due")
    desk.hears_of("follow-up-recorded", "2031-03-18 11:00", **recorded(follow_up_id=due.follow_up_id))
    before = len(desk.told("follow-up-planned"))
    desk.calendar_known(knowing(off=["2031-03-18"]))

    moved = desk.told("follow-up-planned")[before:]
    assert [data.rule for data in moved] == ["closed-3m"]  # firm now, on the same day
    assert moved[0].scheduled_for == at("2031-06-03")


def test_a_duty_gets_its_new_limit_quietly() -> None:
    desk = Desk("2031-03-03 11:00")
    desk.hears_of("follow-up-recorded", "2031-03-03 11:00", **recorded(flags=["complaint"]))
    assert desk.duty("complaint-3wd").due_at == at("2031-03-06 23:59:59")
    before = len(desk.published)

    desk.calendar_known(knowing(off=["2031-03-05"]))

    duty: Duty = desk.duty("complaint-3wd")
    assert (duty.due_at, duty.provisional) == (at("2031-03-07 23:59:59"), False)
    assert len(desk.published) == before
    desk.until("2031-03-07 12:00")
    assert [change for change, _ in desk.duties("complaint-3wd")] == ["opened"]
    done = milestone("rectification-planned", "2031-03-07 18:00")
    desk.hears_of("milestone-reached", "2031-03-07 18:00", **done)
    assert [change for change, _ in desk.duties("complaint-3wd")] == ["opened", "fulfilled"]
    assert desk.told("duty-changed")[-1].due_at == at("2031-03-07 23:59:59")


def test_what_ran_late_by_the_calendar_of_its_time_stays_late() -> None:
    desk = Desk("2031-03-03 11:00")
    desk.hears_of("follow-up-recorded", "2031-03-03 11:00", **recorded(flags=["complaint"]))
    desk.until("2031-03-07 00:30").calendar_known(knowing(off=["2031-03-05"]))

    duty = desk.duty("complaint-3wd")
    assert (duty.state, duty.due_at) == ("late", at("2031-03-06 23:59:59"))


def test_a_date_moves_and_what_reminds_of_it_moves_along() -> None:
    desk = Desk("2031-03-01 09:00").expects("plan-28th")
    (date_before,) = desk.view.all(Date)
    assert (date_before.due_at, date_before.provisional) == (at("2031-03-28 10:00"), True)

    desk.calendar_known(knowing(off=["2031-03-28"])).until("2031-03-31")

    assert [data.due_at for data in desk.told("calendar-due")] == [at("2031-03-27 10:00")]
    assert desk.reminders("date-ahead") == [at("2031-03-22 10:00")]


def test_who_was_reminded_of_a_date_is_not_reminded_again_when_it_moves() -> None:
    desk = Desk("2031-03-01 09:00").expects("plan-28th").until("2031-03-24")
    desk.calendar_known(knowing(off=["2031-03-28"])).until("2031-03-31")

    assert desk.reminders("date-ahead") == [at("2031-03-23 10:00")]
