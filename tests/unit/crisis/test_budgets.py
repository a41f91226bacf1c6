"""A little less than the provider takes; crises before drills; what a provider says of itself is remembered."""

from __future__ import annotations

from datetime import timedelta

from services.crisis.channels import Limit
from services.crisis.channels.budgets import Budgets
from shared.clock import VirtualClock
from tests.unit.crisis.stories import FLAGGED

LIMITS = (Limit(4, 60),)


def taken(budgets: Budgets, count: int, *, danger: bool = True, key: str = "bot") -> list[bool]:
    return [budgets.take(key, LIMITS, danger=danger) for _ in range(count)]


def test_the_fifth_of_a_minute_is_over_budget_until_the_first_is_a_minute_old() -> None:
    clock = VirtualClock(FLAGGED)
    budgets = Budgets(clock)
    assert taken(budgets, 5) == [True] * 4 + [False]
    clock.advance(FLAGGED + timedelta(seconds=59))
    assert taken(budgets, 1) == [False]
    clock.advance(FLAGGED + timedelta(seconds=60))
    assert taken(budgets, 5) == [True] * 4 + [False]


def test_each_address_has_its_own() -> None:
    budgets = Budgets(VirtualClock(FLAGGED))
    assert taken(budgets, 4) == taken(budgets, 4, key="another") == [True] * 4


def test_what_is_about_nobody_in_danger_leaves_half_for_what_is() -> None:
    budgets = Budgets(VirtualClock(FLAGGED))
    assert taken(budgets, 3, danger=False) == [True, True, False]
    assert taken(budgets, 3) == [True, True, False]


def test_all_limits_hold() -> None:
    clock = VirtualClock(FLAGGED)
    budgets = Budgets(clock)
    limits = (Limit(1, 60), Limit(3, 3600))
    answers = []
    for minute in range(5):
        clock.advance(FLAGGED + timedelta(minutes=minute))
        answers.append(budgets.take("phone", limits, danger=True))
    assert answers == [True, True, True, False, False]


class Stepping(VirtualClock):
    def back(self, seconds: float) -> None:
        self._now -= timedelta(seconds=seconds)


def test_a_clock_that_goes_back_blocks_nothing() -> None:
    clock = Stepping(FLAGGED)
    budgets = Budgets(clock)
    assert taken(budgets, 5)[-1] is False
    clock.back(3600)
    assert taken(budgets, 1) == [True]


def test_a_provider_that_takes_nothing_is_passed_over_until_it_does() -> None:
    clock = VirtualClock(FLAGGED)
    budgets = Budgets(clock)
    budgets.block("bot", 600)
    assert (budgets.blocked("bot"), budgets.blocked("another")) == (True, False)
    clock.advance(FLAGGED + timedelta(seconds=600))
    assert not budgets.blocked("bot")
