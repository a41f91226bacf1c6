"""The monthly plan: drafted on its date, approved or returned, amended and signed (F34, F44, F45, collision 1)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from services.scheduler.domain import plans
from services.scheduler.domain.agenda import FollowUp
from services.scheduler.domain.dates import next_date
from services.scheduler.domain.planning import Regime
from services.scheduler.domain.plans import Plan
from shared.mongo.documents import Changes
from shared.policy.counting import month_of
from tests.builders import When, at, event
from tests.reference.fold import REGIME
from tests.unit.policy.regime import switched
from tests.unit.scheduler.desk import Desk, classified, milestone

CLOSED = "2026-03-02 09:00"


SIGNED_FIRST = Regime(switched(after_the_plan="signed-first"), REGIME.calendar)


def desk(now: When = "2026-03-20 09:00", regime: Regime = REGIME) -> Desk:
    """The plan for April is drafted on 27 March: the 28th is a Saturday."""
    desk = Desk(now, regime)
    date = next_date(REGIME.policy.calendar_rule("plan-28th"), at(now), REGIME)
    desk.view.apply(Changes(puts=[date]))
    return desk


def plan(desk: Desk, month: str = "2026-04") -> Plan:
    found = desk.view.get(Plan, month)
    assert found
    return found


def says(name: str, when: When) -> dict[str, Any]:
    return {"topic": "milestone-reached", "when": when, **milestone(name, when, "2026-04")}


def closing(case: str, when: When) -> dict[str, Any]:
    """A case that closes so: its first follow-up lies fifteen days later."""
    return {
        "topic": "case-classified",
        "when": when,
        **classified(case_id=case, client_id=f"client-{case}", closed_at=at(when), as_of=at(when)),
    }


def amended(desk: Desk, case: str) -> dict[str, str | None]:
    return {told.rule: told.amends_plan for told in desk.told("follow-up-planned") if told.case_id == case}


@pytest.mark.parametrize(
    ("heard", "state"),
    [
        ([], "drafted"),
        ([("plan-approved", "2026-03-27 15:00")], "approved"),
        ([("plan-returned", "2026-03-27 15:00")], "returned"),
        ([("plan-returned", "2026-03-27 15:00"), ("plan-approved", "2026-03-27 16:00")], "approved"),
    ],
)
def test_a_plan_is_what_the_manager_last_said_of_it(heard: list[tuple[str, str]], state: str) -> None:
    for order in itertools.permutations(heard):
        one = desk().until("2026-03-27 10:00")
        for name, when in order:
            one.hears_of(**says(name, when))

        assert plan(one).state == state


def test_before_its_date_there_is_no_plan() -> None:
    assert desk().until("2026-03-27 09:59:59").view.get(Plan, "2026-04") is None


def test_a_plan_that_was_returned_is_drafted_anew() -> None:
    returned = desk().until("2026-03-27 10:00").hears_of(**says("plan-returned", "2026-03-27 15:00"))

    again = plans.drafted(plan(returned), "2026-04", at("2026-03-28 09:00"))

    assert again.state == "drafted"
    assert plans.drafted(again, "2026-04", at("2026-03-29 09:00")).drafted_at == at("2026-03-29 09:00")


def test_a_plan_that_was_approved_early_stays_approved_when_its_date_comes() -> None:
    early = desk().hears_of(**says("plan-approved", "2026-03-26 15:00")).until("2026-03-27 10:00")

    assert plan(early).state == "approved"


def test_what_arises_after_the_approval_amends_the_plan_of_its_month_and_goes_ahead() -> None:
    one = desk()
    one.hears_of(**closing("early", "2026-03-21 09:00"))  # its 15th day is 5 April: in the plan
    one.until("2026-03-27 10:00").hears_of(
        **closing("waiting", "2026-03-27 11:00")
    )  # 11 April, not approved yet
    one.hears_of(**says("plan-approved", "2026-03-27 15:00"))
    one.hears_of(**closing("late", "2026-03-30 09:00"))  # 14 April, and 30 June, of which there is no plan

    assert amended(one, "early") == {"closed-15d": None, "closed-3m": None}
    assert amended(one, "waiting") == {"closed-15d": None, "closed-3m": None}
    assert amended(one, "late") == {"closed-15d": "2026-04", "closed-3m": None}
    due = one.until("2026-04-13 10:00").told("follow-up-due")
    assert {told.case_id for told in due} == {"early", "waiting", "late"}


def amended_late(regime: Regime = SIGNED_FIRST) -> Desk:
    """April's plan is approved; then a case closes whose follow-up is on the 14th, with its work from the 12th on."""
    one = desk(regime=regime).hears_of(**closing("early", "2026-03-21 09:00")).until("2026-03-27 10:00")
    one.hears_of(**says("plan-approved", "2026-03-27 15:00"))
    return one.hears_of(**closing("late", "2026-03-30 09:00"))


def begun(desk: Desk) -> list[str]:
    return [told.case_id for told in desk.told("follow-up-due")]


def test_where_the_policy_says_so_an_amendment_waits_until_it_is_signed() -> None:
    one = amended_late().until("2026-04-13 10:00")
    assert begun(one) == ["early"]
    notices = one.reminders("follow-up-notice")

    one.hears_of(**says("plan-amendments-signed", "2026-04-13 11:00")).until("2026-04-13 12:00")

    assert begun(one) == ["early", "late"]
    assert one.reminders("follow-up-notice") == [*notices, at("2026-04-13 11:00")]
    assert begun(amended_late(REGIME).until("2026-04-13 10:00")) == ["early", "late"]


def test_what_was_signed_in_time_waits_for_nothing() -> None:
    one = amended_late().hears_of(**says("plan-amendments-signed", "2026-03-31 11:00"))
    assert begun(one.until("2026-04-12 10:00")) == ["early", "late"]


def test_what_nobody_signs_is_missed_and_the_manager_told() -> None:
    one = amended_late().until("2026-04-30")
    assert begun(one) == ["early"]
    missed = {item.case_id for item in one.view.all(FollowUp) if item.state == "missed"}
    assert missed == {"early", "late"}
    assert len([told for told in one.told("escalation-required") if told.reason == "follow-up-missed"]) == 2


def test_care_after_a_crisis_waits_for_no_signature() -> None:
    one = amended_late()
    body = {"incident_id": "i-1", "client_id": "client-1", "at": at("2026-04-01 10:00"), "change": "resolved"}
    one.hears_of("incident-changed", "2026-04-01 10:00", **body).until("2026-04-11")
    assert {told.clause for told in one.told("follow-up-due")} == {"F36", "A32"}


def test_what_is_taken_out_of_an_approved_plan_needs_no_signature() -> None:
    one = desk().hears_of(**closing("early", "2026-03-21 09:00")).until("2026-03-27 10:00")
    one.hears_of(**says("plan-approved", "2026-03-27 15:00"))
    gone = {"status": "deceased", "at": at("2026-03-30 09:00"), "client_id": "client-early"}
    one.hears(event("client-status-changed", gone, time="2026-03-30 09:00", id="gone"))

    cancelled = [told for told in one.told("follow-up-planned") if told.change == "cancelled"]
    assert [told.amends_plan for told in cancelled] == [None, None]


def test_amendments_are_signed_up_to_an_instant() -> None:
    one = desk().until("2026-03-27 10:00").hears_of(**says("plan-approved", "2026-03-27 15:00"))
    assert plan(one).signed_until == at("2026-03-27 15:00")

    one.hears_of(**says("plan-amendments-signed", "2026-04-02 15:00"))

    assert plan(one).signed_until == at("2026-04-02 15:00")
    assert plan(one).state == "approved"


def test_the_month_of_a_follow_up_is_that_of_shanghai() -> None:
    assert month_of(at("2026-03-31 23:59"), REGIME.policy.switches.zone) == "2026-03"
    assert month_of(at("2026-04-01 00:00"), REGIME.policy.switches.zone) == "2026-04"


def test_a_plan_that_nobody_approves_is_escalated() -> None:
    one = desk().until("2026-03-31 10:00")

    assert ("late", "head-of-psychology") in [
        (why, role) for why, role, _ in one.escalations("plan-approved")
    ]


def test_when_a_follow_up_was_planned_is_known() -> None:
    one = desk().hears_of(**closing("early", "2026-03-21 09:00"))

    assert {item.planned_at for item in one.view.all(FollowUp)} == {at("2026-03-21 09:00")}
