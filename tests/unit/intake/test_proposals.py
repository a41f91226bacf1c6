"""Key attention proposed because of a score; a person decides (F13, collision 6)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from services.intake.domain.why import why
from shared.contracts.envelope import Event
from shared.policy.model import Policy
from tests.builders import (
    Timeline,
    at,
    attention_changed,
    case_closed,
    case_opened,
    client_erased,
    follow_up_recorded,
)
from tests.reference.fold import folded
from tests.unit.intake.desk import Desk
from tests.unit.policy.regime import POLICY

SEVERE = {"phq-9": "severe"}
WAITING = POLICY.model_copy(
    update={"switches": POLICY.switches.model_copy(update={"proposed_attention": "waits"})}
)


def severe(**given: Any) -> Event:
    return follow_up_recorded(**{"bands": SEVERE, **given})


def closed() -> list[Event]:
    return Timeline().opened("2026-03-02").closed("2026-03-20").events


def test_a_severe_band_raises_the_case_at_once_and_is_proposed() -> None:
    desk = Desk().hears(*closed(), severe())

    (proposal,) = desk.told("attention-changed")
    assert (proposal.reason, proposal.state, proposal.decided_by) == ("phq-9-severe", "proposed", "machine")
    assert (proposal.case_id, proposal.at) == ("case-1", at("2026-04-01 10:00"))
    told = desk.classified()
    assert (told.case_class, told.status, told.cause) == ("key-attention", "closed", "follow-up-recorded")
    assert told.attention
    assert (told.attention.state, told.attention.since) == ("proposed", at("2026-04-01 10:00"))


@pytest.mark.parametrize(
    ("bands", "reasons"),
    [
        ({"gad-7": "severe"}, ["gad-7-severe"]),
        ({"gad-7": "severe", "phq-9": "severe"}, ["phq-9-severe"]),
        ({"phq-9": "moderately-severe", "gad-7": "moderate"}, []),
        ({"effect": "low"}, []),
        ({}, []),
    ],
)
def test_only_the_bands_that_the_policy_calls_severe_count(bands: dict[str, str], reasons: list[str]) -> None:
    desk = Desk().hears(*closed(), severe(bands=bands))

    assert [one.reason for one in desk.told("attention-changed")] == reasons
    assert desk.classified().case_class == ("key-attention" if reasons else "closed")


def test_a_record_that_says_nothing_grave_tells_nothing_anew() -> None:
    desk = Desk().hears(*closed())
    revision = desk.classified().revision
    desk.hears(severe(bands={"phq-9": "mild"}), severe(bands={}, case_id="never-heard-of"))

    assert desk.classified().revision == revision
    assert {one.case_id for one in desk.told("case-classified")} == {"case-1"}


def test_our_own_proposal_coming_back_from_the_bus_changes_nothing() -> None:
    desk = Desk().hears(*closed(), severe())
    count = len(desk.published)
    (proposal,) = [one for one in desk.published if one.topic == "attention-changed"]

    assert len(desk.hears(proposal).published) == count


def test_it_is_proposed_once_for_a_follow_up_and_anew_for_the_next() -> None:
    again = severe(id="mended", time="2026-04-03 10:00")
    desk = Desk().hears(*closed(), severe(), again)
    assert len(desk.told("attention-changed")) == 1

    desk.hears(severe(follow_up_id="follow-up-2", conducted_at="2026-05-06 10:00"))
    assert len(desk.told("attention-changed")) == 2


LIFTED = attention_changed(state="lifted", decided_by="head-of-psychology", at="2026-04-02 10:00")
DECIDED = attention_changed(state="decided", decided_by="counsellor", at="2026-04-02 10:00")


def test_once_a_person_has_lifted_it_the_same_follow_up_counts_no_more_in_any_order() -> None:
    for order in itertools.permutations([*closed(), severe(), LIFTED]):
        assert Desk().hears(*order).classified().case_class == "closed"
    desk = Desk().hears(*closed(), LIFTED, severe(time="2026-04-05 10:00"))
    assert desk.told("attention-changed") == []  # the record is late: its follow-up was before the decision


def test_a_later_follow_up_proposes_again_what_was_lifted() -> None:
    later = severe(follow_up_id="follow-up-2", conducted_at="2026-05-06 10:00")
    for order in itertools.permutations([case_closed(closed_at="2026-03-20"), LIFTED, later]):
        assert Desk().hears(*order).classified().case_class == "key-attention"
    assert len(Desk().hears(*closed(), LIFTED, later).told("attention-changed")) == 1


def test_what_a_person_decided_stays_decided_whenever_the_follow_up_was() -> None:
    for when in ("2026-04-01 10:00", "2026-05-06 10:00"):
        for order in itertools.permutations(
            [case_closed(closed_at="2026-03-20"), DECIDED, severe(conducted_at=when)]
        ):
            told = Desk().hears(*order).classified()
            assert told.attention
            assert (told.case_class, told.attention.state) == ("key-attention", "decided")
    assert (
        Desk().hears(*closed(), DECIDED, severe(conducted_at="2026-05-06 10:00")).told("attention-changed")
        == []
    )


def test_what_a_counsellor_marked_is_decided_and_needs_no_proposal() -> None:
    story = Timeline().session("2026-03-03", marks=["career-crisis"]).closed("2026-03-20").events
    desk = Desk().hears(*story, severe())

    assert desk.told("attention-changed") == []
    assert desk.classified().attention.state == "decided"  # type: ignore[union-attr]


def test_where_proposals_wait_nothing_changes_before_a_person_has_decided() -> None:
    desk = Desk(WAITING).hears(*closed(), severe())

    assert len(desk.told("attention-changed")) == 1
    assert (desk.classified().case_class, desk.classified().attention) == ("closed", None)
    assert waiting(desk, WAITING) == {
        "reason": "phq-9-severe", "decided_by": "machine", "since": "2026-04-01T10:00:00+08:00",
    }  # fmt: skip

    desk.hears(DECIDED)
    assert desk.classified().case_class == "key-attention"
    assert waiting(desk, WAITING) is None


def test_where_proposals_wait_what_was_decided_before_stands() -> None:
    proposed = attention_changed(state="proposed", at="2026-04-05 10:00")
    desk = Desk(WAITING).hears(*closed(), DECIDED, proposed)

    assert desk.classified().attention.state == "decided"  # type: ignore[union-attr]


def test_until_a_person_decides_the_proposal_is_shown() -> None:
    desk = Desk().hears(*closed(), severe())
    assert waiting(desk, POLICY)
    assert waiting(desk.hears(LIFTED), POLICY) is None


def waiting(desk: Desk, policy: Policy) -> dict[str, str] | None:
    found: dict[str, str] | None = why(desk.case(), policy)["proposal"]
    return found


def test_until_a_person_decides_the_stricter_plan_applies_and_a_lifting_takes_it_back() -> None:
    """F40 for F36, planned by the scheduler from what intake says."""
    plain = {"closed-15d", "closed-3m"}
    stricter = {"key-15d", "key-1m", "key-3m", "key-6m"}

    def planned(*events: Event) -> set[str]:
        return {item.rule for item in folded(events).standing().values()}

    assert planned(*closed()) == plain
    assert planned(*closed(), severe()) == stricter
    for order in itertools.permutations([*closed(), severe(), LIFTED]):
        assert planned(*order) == plain


def test_of_a_client_who_was_forgotten_nothing_is_proposed() -> None:
    assert Desk().hears(case_opened(), client_erased(), severe()).told("attention-changed") == []
