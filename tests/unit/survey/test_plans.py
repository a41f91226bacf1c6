"""A month's plan in the survey's eyes: it waits from its drafting to its approval, in whatever order that is heard."""

from __future__ import annotations

import itertools
from datetime import timedelta
from functools import reduce

import pytest

from services.survey.domain import follow_ups, plans
from services.survey.domain.plans import MonthPlan
from shared.contracts.envelope import Event
from shared.contracts.events import FollowUpPlanned, MilestoneReached
from shared.contracts.types import COMPANY_ZONE
from shared.policy.counting import month_of
from tests.builders import at, event
from tests.integration.survey.events import planned

DRAFTED = "drafted"


def says(name: str, time: str) -> Event:
    body = {"milestone": name, "subject": "2026-04", "reached_at": at(time), "by": "manager-1"}
    return event("milestone-reached", body, time=time)


def hears(plan: MonthPlan, told: Event | str) -> MonthPlan:
    if isinstance(told, str):
        return plans.drafted(plan, plan.id)
    assert isinstance(told.data, MilestoneReached)
    return plans.decided(plan, told, told.data)


APPROVED = says("plan-approved", "2026-03-27 16:00")
RETURNED = says("plan-returned", "2026-03-27 15:00")


@pytest.mark.parametrize(
    ("heard", "waits"),
    [
        ([], False),
        ([DRAFTED], True),
        ([DRAFTED, RETURNED], True),
        ([DRAFTED, APPROVED], False),
        ([DRAFTED, RETURNED, APPROVED], False),
    ],
)
def test_it_waits_until_it_is_approved(heard: list[Event | str], waits: bool) -> None:
    for order in itertools.permutations(heard):
        assert reduce(hears, order, MonthPlan(id="2026-04")).waits is waits


SIGNED = says("plan-amendments-signed", "2026-04-02 15:00")


@pytest.mark.parametrize(
    ("planned_at", "unsigned"),
    [
        ("2026-03-27 16:00", False),  # in the plan
        ("2026-04-02 15:00", False),  # an amendment, signed
        ("2026-04-02 15:01", True),
    ],
)
def test_an_amendment_is_unsigned_until_the_manager_signs_what_arose_until_then(
    planned_at: str, unsigned: bool
) -> None:
    told = planned(time=planned_at)
    assert isinstance(told.data, FollowUpPlanned)
    follow_up = follow_ups.planned(None, told.data, told.time, "invitation", timedelta(days=2))
    for order in itertools.permutations([DRAFTED, APPROVED, SIGNED]):
        assert reduce(hears, order, MonthPlan(id="2026-04")).is_unsigned(follow_up) is unsigned
    assert reduce(hears, [DRAFTED, APPROVED], MonthPlan(id="2026-04")).is_unsigned(follow_up) is (
        planned_at > "2026-03-28"
    )


def test_the_month_is_that_of_shanghai() -> None:
    assert month_of(at("2026-03-31 23:59"), COMPANY_ZONE) == "2026-03"
    assert month_of(at("2026-04-01 00:00"), COMPANY_ZONE) == "2026-04"
