"""What becomes of follow-ups: ids, moves, what was conducted, what is missed, and care after a crisis."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

import pytest

from services.scheduler.domain.agenda import FollowUp
from services.scheduler.domain.planning import Regime, wanted_for_case
from tests.builders import Timeline, at, client_erased, consent_changed
from tests.reference.fold import REGIME, Fold, folded
from tests.unit.policy.regime import switched
from tests.unit.scheduler.desk import Desk, case_classified, classified, milestone, recorded


def standing(fold: Fold) -> dict[str, FollowUp]:
    return {item.rule: item for item in fold.standing().values()}


def changes(fold: Fold) -> list[tuple[str, str, str]]:
    return [(data.rule, data.change, data.reason) for data in fold.told("follow-up-planned")]


@pytest.mark.clause("F40")
def test_raised_to_key_attention_the_shared_steps_keep_their_ids() -> None:
    closed = Timeline().closed("2026-03-02")
    before = standing(folded(closed.events))
    fold = folded(closed.attention("2026-03-04").events)
    after = standing(fold)

    assert after["key-15d"].id == before["closed-15d"].id
    assert after["key-3m"].id == before["closed-3m"].id
    assert set(after) == {"key-15d", "key-1m", "key-3m", "key-6m"}
    assert [(rule, change) for rule, change, _ in changes(fold)] == [
        ("closed-15d", "planned"), ("closed-3m", "planned"),
        ("key-15d", "moved"), ("key-1m", "planned"), ("key-3m", "moved"), ("key-6m", "planned"),
    ]  # fmt: skip


def test_one_already_conducted_stands_for_both() -> None:
    fold = folded(Timeline().closed("2026-03-02").events)
    first = standing(fold)["closed-15d"]
    desk = Desk("2026-03-17 10:00")
    desk.view = fold.scheduler
    desk.hears_of("follow-up-recorded", "2026-03-17 11:00", **recorded(follow_up_id=first.id))
    fold.deliver(Timeline().attention("2026-03-20").events[0]).settle()

    held = fold.scheduler.get(FollowUp, first.id)
    assert held
    assert (held.rule, held.state) == ("closed-15d", "completed")
    assert set(standing(fold)) == {"key-1m", "key-3m", "key-6m"}


def test_one_conducted_and_not_yet_recorded_stays_when_the_case_ends() -> None:
    """Superseded is what was not conducted: here the client was asked, and only the record is awaited (F60)."""
    desk = Desk("2026-03-02 09:00")
    sessions = [{"session_no": n, "ended_at": at(f"2026-03-02 0{6 + n}:00")} for n in (1, 2)]
    sessions.append({"session_no": 3, "ended_at": at("2026-03-02 09:00")})
    open_case = classified(status="open", closed_at=None, session_ends=sessions) | {"class": "in-counselling"}
    desk.hears_of("case-classified", "2026-03-02 09:00", **open_case).until("2026-03-04 10:00")
    (planned,) = desk.view.all(FollowUp)
    desk.hears_of(
        "milestone-reached",
        "2026-03-04 11:00",
        **milestone("follow-up-conducted", "2026-03-04 11:00", planned.id),
    )
    closed = classified(revision=2, closed_at=at("2026-03-04 16:00"), session_ends=sessions)
    desk.hears_of("case-classified", "2026-03-04 16:00", **closed).until("2026-03-20")

    assert [told.change for told in desk.told("follow-up-planned") if told.follow_up_id == planned.id] == [
        "planned"
    ]
    assert desk.escalations("counselling-every-3") == []  # nor is it missed
    assert desk.reminders("questionnaire-reminder") == []


def test_two_sessions_that_ended_at_one_instant_make_one_follow_up() -> None:
    """Its id is a hash of case, step and anchor: the third and the sixth session ended together."""
    desk = Desk("2026-03-02 09:00")
    sessions = [{"session_no": n, "ended_at": at("2026-03-02 09:00")} for n in range(1, 7)]
    body = classified(status="open", closed_at=None, session_ends=sessions) | {"class": "in-counselling"}
    desk.hears_of("case-classified", "2026-03-02 09:00", **body)
    (planned,) = desk.told("follow-up-planned")
    desk.until("2026-03-04 10:00")
    done = recorded(follow_up_id=planned.follow_up_id, conducted_at=at("2026-03-04 10:00"))
    desk.hears_of("follow-up-recorded", "2026-03-04 11:00", **done)
    desk.hears_of("case-classified", "2026-03-05 09:00", **(body | {"revision": 2}))

    assert len(desk.told("follow-up-planned")) == len(desk.told("follow-up-due")) == 1
    assert [item.state for item in desk.view.all(FollowUp)] == ["completed"]


def test_attention_lifted_takes_back_what_it_added() -> None:
    fold = folded(
        Timeline().closed("2026-03-02").attention("2026-03-04").attention("2026-03-06", "lifted").events
    )

    assert set(standing(fold)) == {"closed-15d", "closed-3m"}


def test_the_work_begins_once_also_when_the_follow_up_moves_later() -> None:
    fold = folded(Timeline().closed("2026-03-02").events).until(at("2026-03-16"))
    (due,) = fold.told("follow-up-due")

    fold.deliver(Timeline().attention("2026-03-16 12:00").events[0]).settle().until(at("2026-03-20"))

    assert ("key-15d", "moved", "attention-changed") in changes(fold)
    assert [data.follow_up_id for data in fold.told("follow-up-due")] == [due.follow_up_id]


def test_what_is_not_conducted_in_time_is_missed_and_the_manager_told() -> None:
    fold = folded(Timeline().closed("2026-03-02").events)
    first = standing(fold)["closed-15d"]
    fold.until(at("2026-03-24 23:59:58"))
    assert "follow-up-missed" not in {data.reason for data in fold.told("escalation-required")}

    fold.until(at("2026-03-25"))

    missed = [data for data in fold.told("escalation-required") if data.reason == "follow-up-missed"]
    assert [(data.subject, data.role, data.due_at) for data in missed] == [
        (first.id, "department-manager", at("2026-03-24 23:59:59"))
    ]


def test_a_missed_follow_up_is_not_missed_again_when_the_case_is_raised_to_key_attention() -> None:
    fold = folded(Timeline().closed("2026-03-02").events).until(at("2026-04-10"))

    fold.deliver(Timeline().attention("2026-04-13 12:00").events[0]).settle().until(at("2026-04-14"))

    assert ("key-15d", "moved", "attention-changed") in changes(fold)
    held = next(item for item in fold.scheduler.all(FollowUp) if item.rule == "key-15d")
    assert (held.state, held.next_at) == ("missed", None)
    of_it = [data for data in fold.told("escalation-required") if data.subject == held.id]
    assert [data.rule for data in of_it if data.reason == "follow-up-missed"] == ["closed-15d"]


def test_a_missed_follow_up_can_still_be_conducted() -> None:
    fold = folded(Timeline().closed("2026-03-02").events).until(at("2026-04-01"))
    first = next(item for item in fold.scheduler.all(FollowUp) if item.rule == "closed-15d")
    assert first.state == "missed"

    desk = Desk("2026-04-01 10:00")
    desk.view = fold.scheduler
    desk.hears_of("follow-up-recorded", "2026-04-01 11:00", **recorded(follow_up_id=first.id))

    held = desk.view.get(FollowUp, first.id)
    assert held
    assert held.state == "completed"


class TestConsent:
    @pytest.mark.clause("F10")
    def test_withdrawal_cancels_what_is_planned(self) -> None:
        fold = Fold(at("2026-03-02"))
        for event in Timeline().closed("2026-03-02").consent("2026-03-05").events:
            fold.deliver(event).settle()

        assert standing(fold) == {}
        assert changes(fold)[2:] == [
            ("closed-15d", "cancelled", "consent-withdrawn"),
            ("closed-3m", "cancelled", "consent-withdrawn"),
        ]

    def test_given_again_it_plans_what_still_lies_ahead_of_that_moment(self) -> None:
        story = Timeline().closed("2026-03-02").consent("2026-03-05")
        story.consent("2026-03-20", purposes={"follow-up": True})
        heard_late = [timedelta(), timedelta(), timedelta(days=100)]

        assert set(standing(folded(story.events))) == {"closed-3m"}
        assert set(standing(folded(story.events, late=heard_late))) == {"closed-3m"}

    def test_given_again_before_the_first_all_are_planned_again(self) -> None:
        story = Timeline().closed("2026-03-02").consent("2026-03-05")
        story.consent("2026-03-10", purposes={"follow-up": True})
        fold = Fold(at("2026-03-02"))
        for event in story.events:
            fold.deliver(event).settle()

        assert set(standing(fold)) == {"closed-15d", "closed-3m"}
        assert [change for _, change, _ in changes(fold)] == ["planned"] * 2 + ["cancelled"] * 2 + [
            "planned"
        ] * 2


def resolved(fold_or_desk: Desk, when: str, change: str = "resolved") -> None:
    fold_or_desk.hears_of(
        "incident-changed",
        when,
        incident_id="i1",
        client_id="client-1",
        case_id="case-1",
        change=change,
        at=at(when),
    )


def care(desk: Desk) -> dict[str, Any]:
    return {item.step: item.scheduled_for for item in desk.view.all(FollowUp) if item.pending}


class TestCareAfterACrisis:
    """A32: calls 1, 3, 7 and 30 days after the incident was resolved, on any day."""

    WHOLE: ClassVar = {
        "1d": at("2026-03-07 10:00"), "3d": at("2026-03-09 10:00"),
        "7d": at("2026-03-13 10:00"), "30d": at("2026-04-05 10:00"),
    }  # fmt: skip

    def desk(self) -> Desk:
        desk = Desk("2026-03-06 09:00")
        resolved(desk, "2026-03-06 09:30", "opened")
        resolved(desk, "2026-03-06 15:00")
        return desk

    @pytest.mark.clause("A32")
    def test_it_goes_on_after_the_incident(self) -> None:
        assert care(self.desk()) == self.WHOLE

    def test_an_incident_that_opens_again_takes_it_back_until_it_is_over(self) -> None:
        desk = self.desk()
        resolved(desk, "2026-03-06 20:00", "reopened")
        assert care(desk) == {}

        resolved(desk, "2026-03-08 09:00")
        assert care(desk)["1d"] == at("2026-03-09 10:00")
        assert len(care(desk)) == 4

    @pytest.mark.clause("F10")
    def test_whoever_withdraws_consent_is_not_called(self) -> None:
        desk = self.desk()
        desk.hears(consent_changed(changed_at="2026-03-08 12:00"))
        assert care(desk) == {}

        desk.hears(consent_changed(changed_at="2026-03-10 12:00", purposes={"follow-up": True}))
        assert set(care(desk)) == {"7d", "30d"}

    def test_whoever_had_withdrawn_it_before_is_not_called_either(self) -> None:
        desk = Desk("2026-03-01 09:00").hears(consent_changed(changed_at="2026-03-02 12:00"))
        resolved(desk, "2026-03-06 15:00")

        assert care(desk) == {}


def test_erasing_a_client_empties_the_agenda_and_stays() -> None:
    story = Timeline().closed("2026-03-02")
    fold = folded([*story.events, client_erased(requested_at="2026-03-04 10:00")])

    assert [change for _, change, _ in changes(fold)] == ["planned", "planned", "cancelled", "cancelled"]
    assert fold.agenda() == []

    fold.deliver(Timeline().closed("2026-03-03").events[0]).settle()
    assert fold.agenda() == []
    assert not any("case-1" in str(document) for document in fold.scheduler._documents.values())


class TestWhereClausesCollide:
    """Collisions 3 and 4 are switches of the policy: both sides of each."""

    @staticmethod
    def planned(body: dict[str, Any], **switches: str) -> list[tuple[str, bool]]:
        case = case_classified(body)
        regime = Regime(switched(**switches), REGIME.calendar)
        return sorted((want.rule.name, want.superseded) for want in wanted_for_case(case, regime))

    @pytest.mark.parametrize(
        ("switch", "since", "expected"),
        [
            ("gains-missing", "2026-03-04", {"key-15d", "key-1m", "key-3m", "key-6m"}),
            ("keeps-plan", "2026-03-04", {"closed-15d", "closed-3m"}),
            (
                "keeps-plan",
                "2026-03-01",
                {"key-15d", "key-1m", "key-3m", "key-6m"},
            ),  # raised before it closed
        ],
    )
    def test_raised_to_key_attention_after_closing(self, switch: str, since: str, expected: set[str]) -> None:
        attention = {"reason": "career-crisis", "state": "decided", "decided_by": "s1", "since": at(since)}
        planned = self.planned(classified(attention=attention), raised_after_closing=switch)
        assert {rule for rule, _ in planned} == expected

    @pytest.mark.parametrize("switch", ["superseded", "kept"])
    def test_the_course_closed_on_its_third_session(self, switch: str) -> None:
        ends = [{"session_no": n, "ended_at": at(f"2026-03-02 0{5 + n}:00")} for n in (1, 2, 3)]
        planned = self.planned(classified(session_ends=ends), overtaken_by_ending=switch)
        assert planned == [
            ("closed-15d", False), ("closed-3m", False), ("counselling-every-3", switch == "superseded"),
        ]  # fmt: skip
