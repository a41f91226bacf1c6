"""Duties: opened, fulfilled, late, cancelled, in whatever order it is heard of. Limits by the published facts.

The weeks used: 2 March 2026 is a Monday with ordinary weeks around it; 13 February 2026 is the Friday before Spring
Festival, when Saturday 14 is worked and 15 to 23 are off.
"""

from __future__ import annotations

import itertools

import pytest

from services.scheduler.domain.agenda import Duty, FollowUp
from shared.contracts.envelope import Event
from tests.builders import (
    at,
    case_closed,
    case_opened,
    client_erased,
    client_status_changed,
    follow_up_recorded,
    milestone_reached,
    session_scheduled,
)
from tests.reference.fold import Fold, folded
from tests.unit.scheduler.desk import Desk, classified, milestone, recorded


def end_of(day: str) -> str:
    return f"{day} 23:59:59"


LIMITS = [
    # rule, what opens it, opened at, due at
    ("match-2wd", {"flags": ["needs-counselling"]}, "2026-03-02 11:00", end_of("2026-03-04")),
    ("match-2wd", {"flags": ["needs-counselling"]}, "2026-02-13 11:00", end_of("2026-02-24")),
    ("complaint-3wd", {"flags": ["complaint"]}, "2026-03-02 11:00", end_of("2026-03-05")),
    ("complaint-3wd", {"satisfaction": 1}, "2026-09-30 11:00", end_of("2026-10-10")),
    ("complaint-3wd", {"satisfaction": 2}, "2026-03-06 23:59", end_of("2026-03-11")),
    ("handle-5wd", {}, "2026-03-02 00:00", end_of("2026-03-09")),
    ("handle-5wd", {}, "2026-04-30 11:00", end_of("2026-05-11")),
]


@pytest.mark.clause("F62", "F63", "F65")
@pytest.mark.parametrize(("rule", "said", "opened", "due"), LIMITS)
def test_a_record_opens_what_follows_from_it(
    rule: str, said: dict[str, object], opened: str, due: str
) -> None:
    desk = Desk(opened).hears_of("follow-up-recorded", opened, **recorded(**said))

    assert desk.duties(rule) == [("opened", at(opened))]
    assert desk.duty(rule).due_at == at(due)


@pytest.mark.parametrize("said", [{}, {"satisfaction": 3}, {"flags": ["special-need"]}])
def test_an_ordinary_record_asks_for_no_counsellor_and_no_rectification(said: dict[str, object]) -> None:
    desk = Desk().hears_of("follow-up-recorded", "2026-03-02 11:00", **recorded(**said))

    assert desk.duties("match-2wd") == []
    assert desk.duties("complaint-3wd") == []
    assert desk.duties("handle-5wd") == [("opened", at("2026-03-02 11:00"))]


@pytest.mark.clause("F60")
def test_f60_a_follow_up_that_was_conducted_must_be_recorded_within_24_hours() -> None:
    desk = Desk().hears_of(
        "milestone-reached", "2026-03-06 17:30", **milestone("follow-up-conducted", "2026-03-06 17:30")
    )

    assert desk.duty("record-24h").due_at == at("2026-03-07 17:30")  # hours run at once, over a Saturday too
    desk.until("2026-03-07 13:30")
    assert desk.escalations("record-24h") == [("due-soon", "operations", at("2026-03-07 17:30"))]
    desk.until("2026-03-07 17:30")
    assert desk.duties("record-24h") == [("opened", at("2026-03-06 17:30"))]
    desk.until("2026-03-07 17:30:01")
    assert desk.duties("record-24h")[1:] == [("late", at("2026-03-07 17:30"))]
    assert desk.escalations("record-24h")[1:] == [("late", "department-manager", at("2026-03-07 17:30"))]


def test_what_is_done_at_the_limit_itself_is_not_late() -> None:
    desk = Desk().hears_of("follow-up-recorded", "2026-03-02 11:00", **recorded(flags=["complaint"]))
    limit = "2026-03-05 23:59:59"
    desk.hears_of("milestone-reached", limit, **milestone("rectification-planned", limit)).until("2026-03-09")
    assert [change for change, _ in desk.duties("complaint-3wd")] == ["opened", "fulfilled"]

    desk = Desk().hears_of("follow-up-recorded", "2026-03-02 11:00", **recorded(flags=["complaint"]))
    after = "2026-03-06 00:00"
    desk.hears_of("milestone-reached", after, **milestone("rectification-planned", after))
    assert desk.duties("complaint-3wd") == [
        ("opened", at("2026-03-02 11:00")),
        ("late", at(limit)),
        ("fulfilled", at(after)),
    ]


def test_what_was_done_in_time_is_not_escalated() -> None:
    desk = Desk().hears_of("follow-up-recorded", "2026-03-02 11:00", **recorded(flags=["complaint"]))
    desk.hears_of(
        "milestone-reached", "2026-03-05 12:00", **milestone("rectification-planned", "2026-03-05 12:00")
    )
    desk.until("2026-04-02")

    assert desk.duties("complaint-3wd") == [
        ("opened", at("2026-03-02 11:00")),
        ("fulfilled", at("2026-03-05 12:00")),
    ]
    assert desk.escalations("complaint-3wd") == []


def test_before_the_last_second_is_in_time() -> None:
    desk = Desk().hears_of("follow-up-recorded", "2026-03-02 11:00", **recorded(flags=["complaint"]))
    desk.hears_of(
        "milestone-reached",
        "2026-03-05 23:59:58",
        **milestone("rectification-planned", "2026-03-05 23:59:58"),
    )

    assert [change for change, _ in desk.duties("complaint-3wd")] == ["opened", "fulfilled"]


def test_what_was_done_late_is_late_and_then_fulfilled() -> None:
    desk = Desk().hears_of("follow-up-recorded", "2026-03-02 11:00", **recorded(flags=["complaint"]))
    desk.until("2026-03-09")
    desk.hears_of(
        "milestone-reached", "2026-03-09 12:00", **milestone("rectification-planned", "2026-03-09 12:00")
    )

    assert [change for change, _ in desk.duties("complaint-3wd")] == ["opened", "late", "fulfilled"]
    assert len([one for one in desk.escalations("complaint-3wd") if one[0] == "late"]) == 1


def test_the_role_is_warned_once_before_the_limit() -> None:
    desk = Desk().hears_of("follow-up-recorded", "2026-03-02 11:00", **recorded(flags=["complaint"]))
    limit = at(end_of("2026-03-05"))

    desk.until("2026-03-05 15:59:58")
    assert desk.escalations("complaint-3wd") == []
    desk.until("2026-03-05 23:00")
    assert desk.escalations("complaint-3wd") == [("due-soon", "department-manager", limit)]
    desk.until("2026-03-06")
    assert desk.escalations("complaint-3wd")[1:] == [("late", "head-of-psychology", limit)]


class TestPreparation:
    """F52: all prepared one working day before."""

    def due(self, opened: str, scheduled: str) -> Desk:
        return Desk(opened).hears_of(
            "follow-up-due",
            opened,
            follow_up_id="f1",
            case_id="case-1",
            client_id="client-1",
            rule="closed-15d",
            clause="F36",
            **{"class": "closed"},
            scheduled_for=at(scheduled),
            complete_by=at("2026-03-31 23:59:59"),
            forms=["phone"],
            template="closed",
        )

    @pytest.mark.clause("F46", "F51", "F52")
    def test_it_ends_with_the_working_day_before(self) -> None:
        desk = self.due("2026-03-10 10:00", "2026-03-12 10:00")

        assert desk.duty("prepare-1wd").due_at == at(end_of("2026-03-11"))
        desk.until("2026-03-12 10:00")
        assert desk.duties("prepare-1wd")[1:] == [("late", at(end_of("2026-03-11")))]

    def test_for_a_monday_known_on_saturday_the_rest_of_the_day_of_opening_is_left(self) -> None:
        """The limit, Friday night, lay before the opening: nobody can be late before having heard of it."""
        desk = self.due("2026-03-14 10:00", "2026-03-16 10:00")

        assert desk.duty("prepare-1wd").due_at == at(end_of("2026-03-13"))
        desk.until("2026-03-14 23:59:58")
        assert desk.duties("prepare-1wd") == [("opened", at("2026-03-14 10:00"))]
        desk.until("2026-03-15 10:00")
        assert desk.duties("prepare-1wd")[1:] == [("late", at(end_of("2026-03-14")))]

    def test_done_on_that_day_it_was_in_time(self) -> None:
        desk = self.due("2026-03-14 10:00", "2026-03-16 10:00")
        desk.hears_of(
            "milestone-reached", "2026-03-14 18:00", **milestone("follow-up-prepared", "2026-03-14 18:00")
        )
        desk.until("2026-03-20")

        assert [change for change, _ in desk.duties("prepare-1wd")] == ["opened", "fulfilled"]

    def test_a_recorded_follow_up_needs_no_preparation_any_more(self) -> None:
        desk = self.due("2026-03-10 10:00", "2026-03-12 10:00")
        desk.hears_of("follow-up-recorded", "2026-03-11 10:00", **recorded())
        desk.until("2026-03-20")

        assert [change for change, _ in desk.duties("prepare-1wd")] == ["opened", "cancelled"]


def test_in_any_order_a_duty_ends_the_same() -> None:
    """The milestone may overtake the record that opens the duty, and both may come twice."""
    opening = ("follow-up-recorded", "2026-03-02 11:00", recorded(flags=["complaint"]))
    fulfilment = (
        "milestone-reached",
        "2026-03-09 12:00",
        milestone("rectification-planned", "2026-03-09 12:00"),
    )
    later = ("milestone-reached", "2026-03-11 12:00", milestone("rectification-planned", "2026-03-11 12:00"))
    ends = set()
    for order in itertools.permutations([opening, fulfilment, later, opening]):
        desk = Desk("2026-03-12")
        for topic, when, body in order:
            desk.hears_of(topic, when, **body)
        duty = desk.duty("complaint-3wd")
        ends.add((duty.opened_at, duty.due_at, duty.fulfilled_at, duty.state))
        assert sorted(change for change, _ in desk.duties("complaint-3wd")) == ["fulfilled", "late", "opened"]

    assert ends == {(at("2026-03-02 11:00"), at(end_of("2026-03-05")), at("2026-03-09 12:00"), "fulfilled")}


def test_what_was_prepared_before_it_was_due_opens_and_is_fulfilled_in_one() -> None:
    desk = Desk().hears_of(
        "milestone-reached", "2026-03-09 12:00", **milestone("rectification-planned", "2026-03-09 12:00")
    )
    assert desk.duties("complaint-3wd") == []  # nobody knows yet that there is such a duty

    desk.hears_of("follow-up-recorded", "2026-03-09 11:00", **recorded(flags=["complaint"]))

    assert desk.duties("complaint-3wd") == [
        ("opened", at("2026-03-09 11:00")),
        ("fulfilled", at("2026-03-09 12:00")),
    ]


def test_each_thing_has_its_own_duty() -> None:
    desk = Desk()
    for subject in ("f1", "f2"):
        desk.hears_of("follow-up-recorded", "2026-03-02 11:00", **recorded(follow_up_id=subject))
    desk.hears_of(
        "milestone-reached", "2026-03-03 12:00", **milestone("result-handled", "2026-03-03 12:00", "f2")
    )

    assert [change for change, _ in desk.duties("handle-5wd")] == ["opened", "opened", "fulfilled"]


def test_nothing_remains_to_be_done_about_a_client_who_died() -> None:
    desk = Desk().hears_of("follow-up-recorded", "2026-03-02 11:00", **recorded(flags=["needs-counselling"]))
    desk.hears(client_status_changed(at="2026-03-03 10:00"))
    desk.until("2026-06-01")

    assert [change for change, _ in desk.duties("match-2wd")] == ["opened", "cancelled"]
    assert desk.escalations("match-2wd") == []


def test_a_cancelled_follow_up_needs_no_preparation() -> None:
    desk = Desk("2026-03-02 10:00").hears_of("case-classified", "2026-03-02 10:00", **classified())
    desk.until("2026-03-15 12:00")
    assert [change for change, _ in desk.duties("prepare-1wd")] == ["opened"]

    desk.hears_of(
        "consent-changed",
        "2026-03-15 13:00",
        client_id="client-1",
        changed_at=at("2026-03-15 13:00"),
        notice_version="n1",
        purposes={"follow-up": False},
    )

    assert [change for change, _ in desk.duties("prepare-1wd")] == ["opened", "cancelled"]
    assert {item.state for item in desk.view.all(FollowUp)} == {"cancelled"}


# --- referred cases (W26) ---------------------------------------------------------------------------------------


def opening(time: str, ill: bool) -> Event:
    eligibility = {"acute_crisis": False, "severe_illness": ill}
    return case_opened(
        service="workplace-adaptation", opened_at="2026-03-02", time=time, eligibility=eligibility
    )


REFUSED = opening("2026-03-02 10:00", ill=True)
ADMITTED = opening("2026-03-03 10:00", ill=False)
FIRST_TALK = session_scheduled(starts_at="2026-03-20 10:00", time="2026-03-02 11:00")


def states(fold: Fold, *rules: str) -> dict[str, str]:
    fold.until(at("2026-03-03 12:00"))
    return {
        duty.rule: duty.state for duty in fold.scheduler.all(Duty) if duty.rule in rules and duty.published
    }


@pytest.mark.parametrize("seed", range(6))
def test_w26_a_referred_case_is_owed_no_counselling_in_any_order(seed: int) -> None:
    asked = ("assessment-2wd", "case-analysed")
    for order in itertools.permutations([REFUSED, FIRST_TALK]):
        assert set(states(folded(order, seed), *asked).values()) <= {"cancelled"}
    for order in itertools.permutations([REFUSED, ADMITTED, FIRST_TALK]):
        fold = folded(order, seed)
        assert states(fold, *asked) == {"assessment-2wd": "open", "case-analysed": "open"}
        fold.until(at("2026-03-31"))
        assert {one.rule for one in fold.told("escalation-required") if one.reason == "late"} >= set(asked)
    for order in itertools.permutations(
        [REFUSED, ADMITTED, opening("2026-03-03 11:00", ill=True), FIRST_TALK]
    ):
        fold = folded(order, seed)
        assert set(states(fold, *asked).values()) <= {"cancelled"}
        fold.until(at("2026-03-31"))
        assert not {one.rule for one in fold.told("escalation-required")} & set(asked)


def test_what_was_found_in_a_follow_up_is_handled_though_the_case_is_referred() -> None:
    complaint = follow_up_recorded(flags=["complaint"], conducted_at="2026-03-02 12:00")
    for order in itertools.permutations([REFUSED, complaint]):
        assert states(folded(order), "complaint-3wd") == {"complaint-3wd": "open"}


def test_a_follow_up_of_a_case_that_is_referred_later_is_cancelled_for_that_reason() -> None:
    desk = Desk().hears_of("case-classified", "2026-03-02 10:00", **classified())
    desk.hears_of("case-classified", "2026-03-03 10:00", **classified(revision=2, status="referred"))

    told = sorted((one.rule, one.change, one.reason) for one in desk.told("follow-up-planned")[-2:])
    assert told == [("closed-15d", "cancelled", "case-referred"), ("closed-3m", "cancelled", "case-referred")]
    assert desk.until("2026-09-30").told("follow-up-due") == []
    assert [data.what for data in desk.told("reminder-due") if data.to == "client"] == []


def test_what_was_done_while_a_case_was_referred_counts_once_it_is_admitted() -> None:
    done = milestone_reached(milestone="assessment-done", subject="case-1", reached_at="2026-03-02 15:00")
    for order in itertools.permutations([REFUSED, ADMITTED, done]):
        assert states(folded(order), "assessment-2wd") == {"assessment-2wd": "fulfilled"}


@pytest.mark.clause("W26")
@pytest.mark.parametrize("heard", ["2026-03-02 09:00", "2026-03-04 09:00"])
@pytest.mark.parametrize("before", [[], [opening("2026-03-02 09:00", ill=False)]])
def test_who_is_admitted_after_a_referral_is_owed_from_the_admission_on(
    before: list[Event], heard: str
) -> None:
    for order in itertools.permutations([*before, REFUSED, ADMITTED]):
        fold = Fold(at(heard))
        for told in order:
            fold.deliver(told).settle()
        fold.until(at("2026-03-04 10:00"))
        assert {(duty.rule, duty.due_at) for duty in fold.scheduler.all(Duty) if duty.open} == {
            ("assessment-2wd", at("2026-03-05 23:59:59")),
            ("progress-3wd", at("2026-03-06 23:59:59")),
        }
        assert fold.told("escalation-required") == []


@pytest.mark.clause("W26")
def test_w26_heard_of_as_referred_first_the_refused_opening_is_told_of_no_second_time() -> None:
    desk = Desk().hears(opening("2026-03-02 09:00", ill=False))
    case = classified(status="open", closed_at=None, service="workplace-adaptation") | {"class": "new"}
    desk.hears_of("case-classified", "2026-03-02 09:00", **case)
    desk.hears_of("case-classified", "2026-03-02 10:00", **(case | {"revision": 2, "status": "referred"}))
    desk.hears(REFUSED)
    desk.hears(ADMITTED)
    desk.hears_of("case-classified", "2026-03-03 10:00", **(case | {"revision": 3}))

    assert desk.duties("assessment-2wd") == [
        ("opened", at("2026-03-02 09:00")),
        ("cancelled", at("2026-03-02 10:00")),
        ("opened", at("2026-03-03 10:00")),
    ]


def test_a_session_that_moves_once_its_preparation_is_late_leaves_it_late_in_any_order() -> None:
    planned = session_scheduled(starts_at="2026-03-10 10:00", time="2026-03-02 11:00")
    moved = session_scheduled(starts_at="2026-03-17 10:00", time="2026-03-10 11:00")
    for order in itertools.permutations([planned, moved]):
        desk = Desk("2026-03-10 12:00")
        for told in order:
            desk.hears(told)
        desk.until("2026-03-10 12:01")
        duty = desk.duty("case-analysed")
        assert (duty.due_at, duty.state) == (at("2026-03-10 10:00"), "late")


def test_an_opening_opens_nothing_for_another_service() -> None:
    """It says itself of which service the case is, also to somebody who took the case for another one until then."""
    desk = Desk("2026-03-02 09:00")
    case = classified(status="open", closed_at=None, service="workplace-adaptation") | {"class": "new"}
    desk.hears_of("case-classified", "2026-03-02 09:00", **case)
    desk.hears(case_opened(service="stress", opened_at="2026-03-02 10:00"))

    assert desk.duties("assessment-2wd") == []


def test_an_opening_that_is_heard_after_a_later_one_is_of_the_same_duty() -> None:
    """The first assessment ended with the case; the second is told of once, whichever opening is heard first."""
    for order in itertools.permutations(["2026-03-04 10:00", "2026-03-05 10:00"]):
        desk = Desk("2026-03-05 11:00")
        case = classified(status="open", closed_at=None, service="workplace-adaptation") | {"class": "new"}
        desk.hears_of("case-classified", "2026-03-05 11:00", **case)
        desk.hears(opening("2026-03-02 10:00", ill=False))
        desk.hears(case_closed(closed_at="2026-03-03 10:00"))
        for when in order:
            desk.hears(opening(when, ill=False))

        changes = [change for change, _ in desk.duties("assessment-2wd") if change != "late"]
        assert sorted(changes) == ["cancelled", "opened", "opened"]
        assert [one.due_at for one in desk.view.all(Duty) if one.rule == "assessment-2wd" and one.open] == [
            at(end_of("2026-03-06"))
        ]


@pytest.mark.parametrize("first", ["conducted", "gone"])
@pytest.mark.parametrize(
    "gone", [client_status_changed(at="2026-04-09"), client_erased(requested_at="2026-04-09")]
)
def test_what_names_a_follow_up_alone_is_about_its_client(first: str, gone: Event) -> None:
    fold = folded([case_closed(closed_at="2026-03-25 17:00")])
    follow_up = next(one.follow_up_id for one in fold.told("follow-up-planned") if one.rule == "closed-15d")
    conducted = milestone_reached(milestone="follow-up-conducted", subject=follow_up, reached_at="2026-04-09")
    for told in (conducted, gone) if first == "conducted" else (gone, conducted):
        fold.deliver(told).settle()

    changes = [one.change for one in fold.told("duty-changed") if one.rule == "record-24h"]
    assert changes == (["opened", "cancelled"] if first == "conducted" else [])
