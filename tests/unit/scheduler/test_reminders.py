"""Reminders: a message at its time, once, and none to a client in a crisis."""

from __future__ import annotations

from typing import Any

import pytest

from services.scheduler.domain import reminders
from services.scheduler.domain.duties import Happening
from services.scheduler.domain.planning import Regime
from tests.builders import (
    Timeline,
    at,
    case_closed,
    case_opened,
    client_dropped,
    client_status_changed,
    session_scheduled,
)
from tests.reference.fold import REGIME, Fold, folded
from tests.unit.scheduler.desk import Desk, classified, recorded


def closed_case(**other: Any) -> Desk:
    """Closed on Monday 2 March: the first follow-up is on Tuesday 17 March at ten."""
    return Desk("2026-03-02 10:00").hears_of("case-classified", "2026-03-02 10:00", **classified(**other))


def incident(change: str, when: str, key: str = "i1") -> dict[str, Any]:
    return {"incident_id": key, "client_id": "client-1", "change": change, "at": at(when)}


@pytest.mark.clause("F50")
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


@pytest.mark.clause("F20")
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


@pytest.mark.clause("F46")
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


@pytest.mark.clause("W44")
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


@pytest.mark.clause("A16")
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


# --- silent clients (collision 5) -------------------------------------------------------------------------------


def silences(fold: Fold, until: str) -> list[tuple[str, str, str]]:
    """What was said about silent clients by then: to whom, about what, when."""
    fold.until(at(until))
    told = [one for one in fold.told("reminder-due") if one.what == "silent-client"]
    assert len({one.reminder_id for one in told}) == len(told)  # a message gateway takes each of them
    return [
        (one.to, one.subject, f"{one.at.astimezone(REGIME.policy.switches.zone):%m-%d %H:%M}") for one in told
    ]


MINE = ("staff:counsellor-1", "case-1")


def test_the_counsellor_of_a_silent_client_is_asked_once_for_each_silence() -> None:
    """Opened on 2 March; sessions on 4 and 11 March, then none until 20 May."""
    fold = folded(Timeline().opened("2026-03-02").session("2026-03-04").session("2026-03-11 23:00").events)
    assert silences(fold, "2026-05-19") == [(*MINE, "04-10 10:00")]

    (again,) = Timeline().session("2026-05-20", session_no=3).events
    assert silences(fold.deliver(again).settle(), "2026-08-31") == [
        (*MINE, "04-10 10:00"),
        (*MINE, "06-19 10:00"),
    ]


def test_where_no_session_was_held_the_silence_begins_at_the_opening_and_the_later_of_both_counts() -> None:
    assert silences(folded(Timeline().opened("2026-03-02").events), "2026-06-30") == [(*MINE, "04-01 10:00")]
    reopened = (
        Timeline().opened("2026-03-02").session("2026-03-04").dropped("2026-03-10").opened("2026-03-20")
    )
    assert silences(folded(reopened.events), "2026-06-30") == [(*MINE, "04-19 10:00")]


def test_where_nobody_knows_the_counsellor_the_role_is_asked() -> None:
    fold = folded(Timeline().session("2026-03-04").events)
    assert silences(fold, "2026-06-30") == [("role:counsellor", "case-1", "04-03 10:00")]


@pytest.mark.parametrize(
    "story",
    [
        Timeline().opened("2026-03-02").session("2026-03-04").closed("2026-03-20"),
        Timeline().opened("2026-03-02").session("2026-03-04").dropped("2026-03-20"),
        Timeline().opened("2026-03-02").session("2026-03-04").status("2026-03-20", "deceased"),
        Timeline().attention("2026-03-02"),  # no session and no opening: nothing to count from
    ],
)
def test_nobody_is_asked_about_a_case_that_has_ended_or_was_never_begun(story: Timeline) -> None:
    assert silences(folded(story.events), "2026-08-31") == []
    assert silences(folded(story.events[::-1]), "2026-08-31") == []


def test_a_case_that_goes_on_is_asked_about_again() -> None:
    story = Timeline().opened("2026-03-02").closed("2026-03-20").opened("2026-04-20", time="2026-04-20")
    assert silences(folded(story.events), "2026-08-31") == [(*MINE, "05-20 10:00")]


def test_what_changes_nothing_of_the_silence_asks_nothing_anew() -> None:
    """An older word that comes late, a consent, an older revision of the case."""
    story = Timeline().opened("2026-03-02").sessions(2, "2026-03-04").events
    fold = folded(story)
    assert silences(fold, "2026-04-30") == [(*MINE, "04-10 10:00")]
    late = Timeline().session("2026-03-01", session_no=7, time="2026-05-01").consent("2026-05-02").events
    for event in late:
        fold.deliver(event)
    assert silences(fold.settle(), "2026-08-31") == [(*MINE, "04-10 10:00")]

    desk = Desk().hears_of("case-classified", "2026-03-02 10:00", **classified(revision=2))
    open_before = classified(revision=1, status="open", opened_at=at("2026-03-01 10:00"), closed_at=None)
    desk.hears_of("case-classified", "2026-03-02 11:00", **(open_before | {"class": "new"})).until(
        "2026-06-30"
    )
    assert desk.reminders("silent-client") == []


def test_zero_days_ask_nobody() -> None:
    rules = tuple(
        rule.model_copy(update={"after": rule.after * 0}) if rule.name == "silent-client" else rule
        for rule in REGIME.policy.reminders
    )
    off = Regime(REGIME.policy.model_copy(update={"reminders": rules}), REGIME.calendar)
    (told,) = folded(Timeline().opened("2026-03-02").events).told("case-classified")
    what = Happening.of("case-classified", told, at("2026-03-02 10:00"))

    assert [rule.name for rule, _ in reminders.opened_by(what, REGIME)] == ["silent-client"]
    assert list(reminders.opened_by(what, off)) == []
    assert REGIME.policy.reminder("silent-client").after == REGIME.policy.switches.silent_after


def session_reminders(desk: Desk) -> list[Any]:
    return [data for data in desk.told("reminder-due") if data.what == "session-reminder"]


def test_a_session_that_moves_after_it_was_reminded_of_is_reminded_of_again() -> None:
    desk = Desk("2026-03-08 10:00")
    desk.hears(session_scheduled(starts_at="2026-03-09 10:00", time="2026-03-08 10:00"))
    desk.until("2026-03-09 09:52")
    desk.hears(session_scheduled(starts_at="2026-03-12 14:00", time="2026-03-09 09:55"))
    desk.hears(session_scheduled(starts_at="2026-03-12 14:00", time="2026-03-09 09:56"))
    desk.until("2026-03-13")

    assert desk.reminders("session-reminder") == [at("2026-03-09 09:50"), at("2026-03-12 13:50")]
    assert len({data.reminder_id for data in session_reminders(desk)}) == 2


def test_of_two_words_on_a_session_the_later_holds_whichever_comes_first() -> None:
    words = [
        session_scheduled(starts_at="2026-03-09 10:00", time="2026-03-07 10:00"),
        session_scheduled(starts_at="2026-03-12 14:00", time="2026-03-08 10:00"),
    ]
    for told in (words, words[::-1]):
        desk = Desk("2026-03-08 12:00")
        for word in told:
            desk.hears(word)
        desk.until("2026-03-13")
        assert desk.reminders("session-reminder") == [at("2026-03-12 13:50")]


def test_with_less_than_ten_minutes_left_it_is_said_at_once_and_after_the_start_not_at_all() -> None:
    desk = Desk("2026-03-09 09:55")
    desk.hears(session_scheduled(starts_at="2026-03-09 10:00", time="2026-03-09 09:55")).until("2026-03-10")
    assert desk.reminders("session-reminder") == [at("2026-03-09 09:55")]

    desk = Desk("2026-03-09 10:00")
    desk.hears(session_scheduled(starts_at="2026-03-09 10:00", time="2026-03-09 09:55")).until("2026-03-10")
    assert desk.reminders("session-reminder") == []


def test_of_the_sessions_of_a_case_that_is_over_nobody_is_reminded() -> None:
    ends = (case_closed(closed_at="2026-03-09 12:00"), client_dropped(dropped_at="2026-03-09 12:00"))
    planned = [
        session_scheduled(session_no=number, starts_at=f"2026-03-{day} 10:00", time="2026-03-08 10:00")
        for number, day in ((1, 10), (2, 17))
    ]
    for end in ends:
        for told in ([*planned, end], [end, *planned]):  # the ending may overtake what was planned before it
            desk = Desk("2026-03-09 12:00")
            for one in told:
                desk.hears(one)
            desk.until("2026-03-20")
            assert desk.reminders("session-reminder") == []

        desk = Desk("2026-03-08 10:00").hears(end)
        later = session_scheduled(session_no=3, starts_at="2026-03-20 10:00", time="2026-03-10 10:00")
        desk.hears(later).until("2026-03-21")
        assert desk.reminders("session-reminder") == [at("2026-03-20 09:50")]  # agreed upon after the ending


def test_a_session_at_midnight_is_reminded_of_on_the_day_before() -> None:
    desk = Desk("2028-02-29 10:00")
    desk.hears(session_scheduled(starts_at="2028-03-01 00:00", time="2028-02-29 10:00")).until("2028-03-02")

    assert desk.reminders("session-reminder") == [at("2028-02-29 23:50")]


def test_the_follow_up_that_takes_the_place_of_an_announced_one_is_announced_too() -> None:
    desk = closed_case().until("2026-03-16 08:00")
    assert desk.reminders("follow-up-notice") == [at("2026-03-15 10:00")]
    body = classified(revision=2, closed_at=at("2026-03-05 09:00"))
    desk.hears_of("case-classified", "2026-03-16 09:00", **body)
    desk.until("2026-04-30")

    # F50. Another closing is another follow-up: the first is cancelled, the second on Friday 20 March.
    assert desk.reminders("follow-up-notice") == [at("2026-03-15 10:00"), at("2026-03-18 10:00")]
    assert (
        len({data.reminder_id for data in desk.told("reminder-due") if data.what == "follow-up-notice"}) == 2
    )


def test_the_sixtieth_day_after_a_closing_late_at_night_counts_in_shanghai() -> None:
    """A16, over the leap day of 2028: 23:59 on 31 December and 00:00 on 1 January are two days."""
    for closed, care in (("2027-12-31 23:59", "2028-02-29 10:00"), ("2028-01-01 00:00", "2028-03-01 10:00")):
        desk = Desk(closed).hears(case_closed(closed_at=closed)).until("2028-04-01")
        assert desk.reminders("care-message") == [at(care)]


def test_a_case_that_goes_on_gets_no_care_for_its_former_end() -> None:
    again = case_opened(opened_at="2026-03-20 10:00")
    closing = case_closed(closed_at="2026-03-02 10:00")
    for told in ([closing, again], [again, closing]):
        desk = Desk("2026-03-20 10:00")
        for one in told:
            desk.hears(one)
        desk.until("2026-12-31")
        assert desk.reminders("care-message") == []

    desk = Desk("2026-03-20 10:00").hears(case_opened(opened_at="2026-02-02 10:00")).hears(closing)
    assert desk.until("2026-12-31").reminders("care-message") == [
        at("2026-05-01 10:00"),
        at("2026-09-28 10:00"),
    ]


@pytest.mark.clause("A16")
def test_a_case_that_ends_again_gets_care_again_and_under_another_id() -> None:
    """The message of 1 May was about the first end; the case went on after it, and ended on 1 July."""
    desk = Desk("2026-03-02 10:00").hears(case_closed(closed_at="2026-03-02 10:00")).until("2026-05-02")
    assert desk.reminders("care-message") == [at("2026-05-01 10:00")]

    desk.hears(case_opened(opened_at="2026-06-01 10:00"))
    desk.hears(case_closed(closed_at="2026-07-01 10:00", id="closed-again")).until("2027-12-31")

    assert desk.reminders("care-message") == [
        at("2026-05-01 10:00"), at("2026-08-30 10:00"), at("2027-01-27 10:00"),
    ]  # fmt: skip
    told = [data.reminder_id for data in desk.told("reminder-due") if data.what == "care-message"]
    assert len(set(told)) == 3
