"""A month's plan in the survey's eyes: it waits from its drafting to its approval, in whatever order that is heard."""

from __future__ import annotations

import itertools
from functools import reduce

import pytest

from services.survey.domain import plans
from services.survey.domain.plans import MonthPlan
from shared.contracts.envelope import Event
from shared.contracts.events import MilestoneReached
from shared.contracts.types import COMPANY_ZONE
from shared.policy.counting import month_of
from tests.builders import at, event

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


def test_the_month_is_that_of_shanghai() -> None:
    assert month_of(at("2026-03-31 23:59"), COMPANY_ZONE) == "2026-03"
    assert month_of(at("2026-04-01 00:00"), COMPANY_ZONE) == "2026-04"
