"""Reminders: a message at its time, once, and none to a client in a crisis."""

from __future__ import annotations

from typing import Any

from tests.builders import at, case_closed, client_dropped, client_status_changed, session_scheduled
from tests.reference.fold import folded
from tests.unit.scheduler.desk import Desk, classified, recorded


def closed_case(**other: Any) -> Desk:
    """Closed on Monday 2 March: the first follow-up is on Tuesday 17 March at ten."""
    return Desk("2026-03-02 10:00").hears_of("case-classified", "2026-03-02 10:00", **classified(**other))


def incident(change: str, when: str, key: str = "i1") -> dict[str, Any]:
    return {"incident_id": key, "client_id": "client-1", "change": change, "at": at(when)}


def test_f50_notice_goes_out_two_days_ahead_once() -> None:
    desk = closed_case().until("2026-03-15 09:59:59")
    assert desk.reminders("follow-up-notice") == []

    desk.until("2026-04-30")

    assert desk.reminders("follow-up-notice") == [at("2026-03-15 10:00")]


def test_where_less_than_two_days_are_left_notice_goes_out_at_once() -> None:
    """A follow-up of a client who stopped on 2 March lies three days ahead; told on the fourth, one day is left."""
    desk = Desk("2026-03-04 10:00")
    body = classified(status="dropped", dropped_at=at("2026-03-02 09:00"), closed_at=None)
    desk.hears_of("case-classified", "2026-03-04 10:00", **(body | {"class": "dropped"}))
    desk.until("2026-03-04 10:00")

    assert desk.reminders("follow-up-notice") == [at("2026-03-04 10:00")]


def test_of_what_has_passed_nobody_is_given_notice() -> None:
    desk = Desk("2026-04-01 10:00").hears_of("case-classified", "2026-04-01 10:00", **classified())
    desk.until("2026-04-30")

    assert desk.reminders("follow-up-notice") == []


def test_the_questionnaire_is_sent_at_its_time_and_asked_for_once_more() -> None:
    desk = closed_case().until("2026-04-30")

    assert desk.reminders("questionnaire-invitation") == [at("2026-03-17 10:00")]
    assert desk.reminders("questionnaire-reminder") == [at("2026-03-20 10:00")]


def test_who_has_answered_is_not_asked_again() -> None:
    desk = closed_case().until("2026-03-17 12:00")
    (due,) = desk.told("follow-up-due")
    desk.hears_of("follow-up-recorded", "2026-03-18 10:00", **recorded(follow_up_id=due.follow_up_id))
    desk.until("2026-04-30")

    assert desk.reminders("questionnaire-reminder") == []


def test_a_client_who_is_called_gets_no_questionnaire() -> None:
    attention = {
        "reason": "career-crisis", "state": "decided", "decided_by": "c1", "since": at("2026-03-01 10:00"),
    }  # fmt: skip
    desk = closed_case(attention=attention).until("2026-03-20")

    assert desk.reminders("questionnaire-invitation") == []
    assert desk.reminders("follow-up-notice") == [at("2026-03-15 10:00")]


def test_operations_is_told_to_prepare() -> None:
    desk = closed_case().until("2026-03-16")

    assert desk.reminders("preparation") == [at("2026-03-15 10:00")]
    assert {data.to for data in desk.told("reminder-due") if data.what == "preparation"} == {
        "role:operations"
    }


def test_while_an_incident_is_open_messages_to_the_client_wait() -> None:
    desk = closed_case()
    desk.hears_of("incident-changed", "2026-03-10 10:00", **incident("opened", "2026-03-10 10:00"))
    desk.until("2026-03-16 12:00")
    assert desk.reminders("follow-up-notice") == []
    assert desk.reminders("preparation") == [at("2026-03-15 10:00")]  # staff work on

    desk.hears_of("incident-changed", "2026-03-16 15:00", **incident("resolved", "2026-03-16 15:00"))
    desk.until("2026-03-16 15:00")

    assert desk.reminders("follow-up-notice")[:1] == [at("2026-03-16 15:00")]


def test_they_wait_until_the_last_of_several_incidents_is_over() -> None:
    desk = closed_case()
    for key in ("i1", "i2"):
        desk.hears_of("incident-changed", "2026-03-10 10:00", **incident("opened", "2026-03-10 10:00", key))
    desk.until("2026-03-15 12:00")
    desk.hears_of("incident-changed", "2026-03-15 13:00", **incident("resolved", "2026-03-15 13:00", "i1"))
    desk.until("2026-03-15 14:00")
    assert desk.reminders("follow-up-notice") == []

    desk.hears_of("incident-changed", "2026-03-15 15:00", **incident("resolved", "2026-03-15 15:00", "i2"))
    desk.until("2026-03-15 15:00")
    assert at("2026-03-15 15:00") in desk.reminders("follow-up-notice")


def test_what_became_pointless_while_it_waited_is_not_sent() -> None:
    desk = closed_case()
    desk.hears_of("incident-changed", "2026-03-10 10:00", **incident("opened", "2026-03-10 10:00"))
    desk.until("2026-03-16")
    desk.hears(client_status_changed(at="2026-03-16 12:00"))
    desk.hears_of("incident-changed", "2026-03-16 15:00", **incident("resolved", "2026-03-16 15:00"))
    desk.until("2026-06-30")

    assert [data.what for data in desk.told("reminder-due") if data.to == "client"] == []


def test_w44_ten_minutes_before_each_session() -> None:
    desk = Desk("2026-03-08 10:00").hears(session_scheduled(starts_at="2026-03-09 10:00"))
    desk.until("2026-03-10")

    assert desk.reminders("session-reminder") == [at("2026-03-09 09:50")]


def test_a_session_that_moves_is_reminded_of_at_its_new_time() -> None:
    desk = Desk("2026-03-08 10:00").hears(session_scheduled(starts_at="2026-03-09 10:00"))
    desk.hears(session_scheduled(starts_at="2026-03-12 14:00", time="2026-03-08 12:00"))
    desk.until("2026-03-13")

    assert desk.reminders("session-reminder") == [at("2026-03-12 13:50")]


def test_a_session_that_moves_into_the_past_is_not_reminded_of_at_its_old_time() -> None:
    desk = Desk("2026-03-08 10:00")
    desk.hears(session_scheduled(starts_at="2026-03-12 10:00", time="2026-03-08 10:00"))
    desk.hears(session_scheduled(starts_at="2026-03-09 10:00", time="2026-03-09 12:00"))
    desk.until("2026-03-13")

    assert desk.reminders("session-reminder") == []


def test_two_long_names_still_make_a_subject() -> None:
    """A case id has up to 64 characters, and case and session together are more than an id may have."""
    desk = Desk("2026-03-08 10:00").hears(session_scheduled(case_id="c" * 64, session_no=1000))
    desk.until("2026-03-10")

    assert desk.reminders("session-reminder") == [at("2026-03-09 09:50")]


def test_a16_care_goes_on_after_closing() -> None:
    desk = Desk("2026-03-02 10:00").hears(case_closed(closed_at="2026-03-02 10:00"))
    desk.until("2026-12-31")

    assert desk.reminders("care-message") == [at("2026-05-01 10:00"), at("2026-09-28 10:00")]


def test_a_follow_up_that_moves_is_noticed_at_its_new_time() -> None:
    """The client stopped a day later than was said at first."""
    fold = folded(
        [
            client_dropped(dropped_at="2026-03-02 09:00"),
            client_dropped(dropped_at="2026-03-03 09:00", time="2026-03-02 20:00"),
        ]
    )
    fold.until(at("2026-03-20"))

    notices = [data.at for data in fold.told("reminder-due") if data.what == "follow-up-notice"]
    assert notices == [at("2026-03-04 10:00")]


def test_a_page_after_the_end_opens_no_incident_again() -> None:
    """The head of the department is paged in any case (F59), also when the incident is over by then."""
    desk = closed_case()
    for change, minute in (("opened", "00"), ("resolved", "05"), ("paged", "09")):
        when = f"2026-03-10 10:{minute}"
        desk.hears_of("incident-changed", when, **incident(change, when))
    desk.until("2026-03-16 12:00")

    assert desk.reminders("follow-up-notice")[-1] == at("2026-03-15 10:00")


def test_what_is_held_until_its_time_has_passed_is_not_said_at_all() -> None:
    desk = Desk("2026-03-10 08:00").hears(
        session_scheduled(starts_at="2026-03-10 10:00", time="2026-03-10 08:00")
    )
    desk.hears_of("incident-changed", "2026-03-10 09:45", **incident("opened", "2026-03-10 09:45"))
    desk.hears_of("incident-changed", "2026-03-10 10:45", **incident("resolved", "2026-03-10 10:45"))
    desk.until("2026-03-10 23:00")

    assert desk.reminders("session-reminder") == []


def test_the_invitation_follows_the_form_that_comes_first() -> None:
    """Raised to key attention after the work began, the phone comes first; lifted, the questionnaire does."""
    attention = {
        "reason": "career-crisis",
        "state": "decided",
        "decided_by": "c1",
        "since": at("2026-03-16 09:00"),
    }
    raised = classified(revision=2, attention=attention) | {"class": "key-attention"}
    lifted = classified(revision=3)
    desk = closed_case().until("2026-03-16 08:00")
    desk.hears_of("case-classified", "2026-03-16 09:00", **raised)
    assert len(desk.told("follow-up-due")) == 1
    desk.until("2026-03-25")
    assert desk.reminders("questionnaire-invitation") == desk.reminders("questionnaire-reminder") == []

    desk = closed_case().until("2026-03-16 08:00")
    desk.hears_of("case-classified", "2026-03-16 09:00", **raised)
    desk.hears_of("case-classified", "2026-03-16 10:00", **lifted).until("2026-03-25")
    assert desk.reminders("questionnaire-invitation") == [at("2026-03-17 10:00")]
    assert desk.reminders("questionnaire-reminder") == [at("2026-03-20 10:00")]
