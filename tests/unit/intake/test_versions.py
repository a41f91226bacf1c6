"""A case is decided upon by the version in force; whoever was admitted stays admitted."""

from __future__ import annotations

from datetime import date

import pytest

from shared.policy.model import Policy
from tests.builders import at, attention_changed, case_opened, session_completed
from tests.unit.intake.desk import Desk
from tests.unit.policy.regime import POLICY, switched


def from_july(policy: Policy) -> Policy:
    return policy.model_copy(update={"version": "2026-2", "effective_from": date(2026, 7, 1)})


STRICTER = from_july(
    POLICY.model_copy(
        update={
            "eligibility": POLICY.eligibility.model_copy(
                update={"individuals": POLICY.eligibility.individuals.model_copy(update={"oldest": 40})}
            )
        }
    )
)


def opened(day: str) -> Desk:
    desk = Desk(POLICY, STRICTER)
    eligibility = {"acute_crisis": False, "severe_illness": False, "age": 45}
    return desk.hears(case_opened(opened_at=day, service="workplace-adaptation", eligibility=eligibility))


@pytest.mark.clause("W23")
def test_who_was_admitted_stays_admitted() -> None:
    desk = opened("2026-06-29")
    assert desk.classified().status == "open"
    desk.hears(session_completed(ended_at="2026-07-02 11:00"))
    assert desk.classified().status == "open"
    assert opened("2026-07-01").classified().status == "referred"


def test_the_class_of_a_case_follows_with_the_next_fact_about_it() -> None:
    desk = Desk(POLICY, from_july(switched(proposed_attention="waits")))
    proposed = {"state": "proposed", "decided_by": "machine", "reason": "phq-9-severe"}
    desk.hears(case_opened(opened_at="2026-06-01"), attention_changed(at="2026-06-20", **proposed))
    assert desk.classified().case_class == "key-attention"
    again = session_completed(ended_at="2026-06-25 11:00")
    desk.hears(again, now=at("2026-07-02 10:00"))
    assert desk.classified().case_class == "new"
    told = len(desk.told("case-classified"))
    desk.hears(case_opened(opened_at="2026-06-01", id="the same again"), now=at("2026-07-03 10:00"))
    assert len(desk.told("case-classified")) == told
