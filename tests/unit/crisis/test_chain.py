"""Who is paged when: the chain, F59, A30, and that an open incident is never silent."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.crisis import domain
from services.crisis.domain import NotPossible
from tests.unit.crisis.stories import CHAIN, FLAGGED, Story, flag, minutes


def test_nobody_answers_and_the_chain_goes_on_to_everyone_and_begins_again() -> None:
    story = Story.of().after(46)
    assert story.pages == [
        (0, "on-call"), (5, "second"), (8.25, "head"), (15, "everyone"),
        (30, "on-call"), (35, "second"), (38.25, "head"), (45, "everyone"),
    ]  # fmt: skip


def test_rounds_widen_and_never_end() -> None:
    """After two hours everyone is paged together: who did not answer until then is no longer waited for."""
    hour, day = 60, 24 * 60
    story = Story.of().after(60 * day)
    assert [at for at, step in story.pages if step == "on-call"] == [0, 30, 60, 90]
    everyone = [at for at, step in story.pages if step == "everyone"]
    assert everyone[:6] == [15, 45, 75, 105, 120, 150]
    assert {step for at, step in story.pages if at >= 2 * hour} == {"everyone"}
    gaps = [later - earlier for earlier, later in pairwise(everyone[4:])]
    assert sorted(gaps) == gaps
    assert set(gaps) == {30, 4 * hour, day, 7 * day}


def test_a_round_of_one_step_that_reaches_nobody_is_tried_again_soon() -> None:
    story = Story.of().after(3 * 60)
    story.reaches = lambda _: False
    before = len(story.pages)
    story.after(3 * 60 + 31)
    assert story.pages[before:] == [(at, "everyone") for at in (210, 210.5, 211)]


@pytest.mark.clause("F59")
def test_an_acknowledgement_stops_the_chain_but_the_head_is_told_within_ten_minutes() -> None:
    """F59."""
    story = Story.of().after(1).does(domain.acknowledge).after(29)
    assert story.pages == [(0, "on-call"), (8.25, "head")]


@pytest.mark.clause("F59")
def test_the_head_is_told_even_of_what_was_resolved_before() -> None:
    """F59: in any case."""
    story = Story.of().after(2).does(domain.resolve)
    assert story.pages == [(0, "on-call"), (2, "head")]
    assert domain.settled(story.incident, CHAIN)


@pytest.mark.clause("F59")
def test_a_head_who_cannot_be_reached_is_tried_until_reached() -> None:
    """F59: acknowledged by others, and every page to the head fails for a while."""
    story = Story.of(reaches=lambda step: step != "head").after(1).does(domain.acknowledge).after(12)
    assert story.pages[1:] == [(at, "head") for at in (8.25, 8.75, 9.25, 9.75, 10.25, 10.75, 11.25, 11.75)]
    story.reaches = lambda _: True
    story.does(domain.intervene).after(60)
    assert story.pages[9:] == [(12.25, "head")]


@pytest.mark.clause("A30")
def test_acknowledged_without_intervention_pages_again_after_thirty_minutes() -> None:
    """A30."""
    story = Story.of().after(3).does(domain.acknowledge).after(36)
    assert story.pages == [(0, "on-call"), (8.25, "head"), (30, "on-call"), (35, "second")]
    assert story.incident.awaiting


@pytest.mark.clause("A30")
def test_intervention_in_time_ends_the_pages() -> None:
    story = Story.of().after(3).does(domain.acknowledge).after(29).does(domain.intervene).after(24 * 60)
    assert story.pages == [(0, "on-call"), (8.25, "head")]
    assert domain.next_at(story.incident, CHAIN) is None


def test_who_acknowledges_late_gets_ten_minutes_to_intervene() -> None:
    story = Story.of().after(40).does(domain.acknowledge).after(49)
    before = len(story.pages)
    assert story.after(50).pages[before:] == [(50, "on-call")]


def test_a_step_that_reaches_nobody_is_not_waited_for() -> None:
    story = Story.of(reaches=lambda step: step not in ("on-call", "second")).after(11)
    assert story.pages == [(0, "on-call"), (0, "second"), (0, "head"), (6.75, "everyone")]


def test_a_last_step_that_reaches_nobody_is_not_waited_for_either() -> None:
    """The chain starts again soon: else those before it would have a quarter of an hour more of silence."""
    story = Story.of(reaches=lambda step: step != "everyone").after(16)
    assert story.pages[3:] == [(15, "everyone"), (15.5, "on-call")]


def test_with_every_provider_down_it_tries_soon_again_and_then_less_often() -> None:
    story = Story.of(reaches=lambda _: False).after(60)
    rounds = [at for at, step in story.pages if step == "on-call"]
    assert rounds[:3] == [0, 0.5, 1]
    assert rounds[-1] - rounds[-2] == 1


@pytest.mark.clause("F59")
def test_a_flag_that_arrives_late_tells_the_head_at_once() -> None:
    """F59 counts from the flag, the steps of the chain from its arrival."""
    story = Story.of(flag(late=20)).after(26)
    assert story.pages == [(20, "on-call"), (20, "head"), (25, "second")]


def test_what_was_missed_while_nobody_ran_is_done_at_once() -> None:
    story = Story.of()
    story.now = FLAGGED + minutes(60)
    assert story.work().pages == [(0, "on-call"), (60, "second"), (60, "head"), (60, "everyone")]


def test_a_worse_flag_reaches_those_who_were_paged_and_does_not_set_the_chain_back() -> None:
    story = Story.of(flag("watch")).after(6)
    story.flagged(flag("imminent", at=FLAGGED + minutes(6), id="2")).after(16)
    assert story.pages == [
        (0, "on-call"), (5, "second"), (6, "worse"), (8.25, "head"), (15, "everyone"),
    ]  # fmt: skip


def test_a_worse_flag_pages_again_after_the_acknowledgement() -> None:
    story = Story.of(flag("watch")).after(1).does(domain.acknowledge)
    story.flagged(flag("imminent", at=FLAGGED + minutes(2), id="2", late=0))
    assert story.incident.awaiting
    assert story.pages[1] == (2, "on-call")


def test_another_flag_no_worse_joins_silently() -> None:
    story = Story.of(flag("high")).after(1).does(domain.acknowledge)
    story.flagged(flag("watch", at=FLAGGED + minutes(1), id="2"))
    assert [step for _, step in story.pages] == ["on-call"]
    assert len(story.incident.flags) == 2


def test_an_unreadable_flag_pages_again_once_the_last_was_acknowledged() -> None:
    """It may speak of another person."""
    first = domain.unreadable_flag("crisis-flagged[0]@1", "crisis-flagged[0]@1", FLAGGED)
    second = domain.unreadable_flag("crisis-flagged[0]@2", "crisis-flagged[0]@2", FLAGGED)
    story = Story.of(first).flagged(second)
    assert len(story.pages) == 1
    third = domain.unreadable_flag("crisis-flagged[0]@3", "crisis-flagged[0]@3", FLAGGED + minutes(1))
    story.after(1).does(domain.acknowledge).flagged(third)
    assert len(story.pages) == 2


def test_a_drill_runs_one_round_and_tells_the_bus_nothing() -> None:
    story = Story.of(flag("drill")).after(600)
    assert [step for _, step in story.pages] == ["on-call", "second", "head", "everyone"]
    assert (story.incident.state, story.said()) == ("resolved", [])


def test_a_drill_ends_with_its_acknowledgement() -> None:
    story = Story.of(flag("drill")).after(1).does(domain.acknowledge).after(600)
    assert (story.pages, story.incident.state) == ([(0, "on-call")], "resolved")


def test_a_drill_joins_no_crisis() -> None:
    assert not domain.joins(Story.of(flag("drill")).incident, flag("high", id="2"))
    assert not domain.joins(Story.of(flag("high")).incident, flag("drill", id="2"))


def test_reopening_starts_every_clock_anew() -> None:
    story = Story.of().after(1).does(domain.resolve)
    story.after(100).does(domain.reopen).after(110)
    assert story.pages[2:] == [(100, "on-call"), (105, "second"), (108.25, "head")]


def test_commands_can_be_repeated() -> None:
    story = Story.of().after(1)
    for act in (domain.acknowledge, domain.intervene, domain.resolve, domain.reopen):
        once = story.does(act).incident
        assert story.does(act).incident is once


def test_what_is_resolved_must_be_reopened_before_intervening() -> None:
    story = Story.of().does(domain.resolve)
    with pytest.raises(NotPossible, match="reopen"):
        domain.intervene(story.incident, "staff-1", story.now)


@pytest.mark.clause("A29", "A31")
def test_assessment_and_referral_are_told_as_steps_each_once() -> None:
    first = partial(domain.assess, step="first-assessment")
    risk = partial(domain.assess, step="risk-assessment")
    refer, respond = partial(domain.refer, to="hospital"), partial(domain.respond, whose="hospital")
    story = Story.of().does(first).does(first)  # whoever assesses has taken it up
    assert (story.incident.state, story.incident.awaiting) == ("acknowledged", False)
    story.does(domain.intervene).does(risk).does(refer).does(refer).does(respond)

    told = [(said.change, said.step) for said in domain.announced(story.incident).values()]
    assert told[2:] == [
        ("acknowledged", None), ("acknowledged", "first-assessment"), ("intervening", None),
        ("intervening", "risk-assessment"), ("intervening", "referred-hospital"), ("intervening", "responded-hospital"),
    ]  # fmt: skip
    story.does(domain.resolve)
    for act in (first, refer, respond):
        with pytest.raises(NotPossible, match="reopen"):
            act(story.incident, "staff-1", story.now)
    again = [*domain.announced(story.does(domain.reopen).does(first).incident).values()][-1]
    assert (again.change, again.step) == (
        "acknowledged",
        "first-assessment",
    )  # once for each time that it opened


def test_nobody_answers_who_was_not_asked() -> None:
    with pytest.raises(NotPossible, match="referral"):
        domain.respond(Story.of().incident, "staff-1", FLAGGED, "social-agency")


def test_every_step_is_told_to_the_bus() -> None:
    story = Story.of().after(6).does(domain.acknowledge).does(domain.intervene).after(10).does(domain.resolve)
    story.does(domain.reopen)
    assert story.said() == [
        "opened", "paged", "escalated", "paged", "acknowledged", "intervening", "paged", "resolved", "reopened",
        "paged",
    ]  # fmt: skip


def test_an_unanswered_chain_is_escalated_once() -> None:
    story = Story.of().after(24 * 60)
    lines = [domain.unanswered(story.incident, line, CHAIN) for line in story.incident.timeline]
    told = [line for line in lines if line is not None]
    assert [(line.clause, line.reason) for line in told] == [("F59", "unanswered")]


ACTS = st.sampled_from(
    [domain.acknowledge, domain.intervene, domain.resolve, domain.reopen, "worse", "same", "unreadable"]
)
STEPS = st.lists(st.tuples(st.floats(0, 200), ACTS), max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    steps=STEPS,
    level=st.sampled_from(["watch", "high", "imminent"]),
    late=st.integers(0, 90),
    works=st.lists(st.booleans(), max_size=40),
    later=st.lists(st.sampled_from([30.0, 60.0, 180.0, 600.0, 1800.0]), unique=True, max_size=3),
)
def test_never_silent(
    steps: list[tuple[float, object]], level: str, late: int, works: list[bool], later: list[float]
) -> None:
    """Whatever happens: while somebody must acknowledge there is a next step, at most a day away in the first month,
    with later stages of whatever delays, which fail or not."""
    luck = iter(works)
    stages = tuple(sorted(later))
    story = Story.of(flag(level, late=late), lambda _: next(luck, True), stages)  # type: ignore[arg-type]
    story.keeps_all = True
    for number, (passes, act) in enumerate(steps):
        elapsed = (story.now - FLAGGED) / minutes(1)
        story.after(elapsed + passes)
        if callable(act):
            if act is domain.intervene and not story.incident.open:
                continue
            story.does(act)
        else:
            worse = {"worse": "imminent", "same": level, "unreadable": "unknown"}[str(act)]
            story.flagged(flag(worse, at=story.now, id=f"more-{number}"))  # type: ignore[arg-type]
        step = domain.next_at(story.incident, CHAIN)
        if story.incident.awaiting or story.incident.state in ("opened", "acknowledged"):
            assert step is not None
            assert story.now < step <= story.now + timedelta(hours=24)
        rebuilt = domain.retold(story.incident, reversed(story.incident.timeline))
        assert rebuilt == story.incident, (
            "an incident is the fold of its timeline, in whatever order it comes"
        )
        assert domain.next_at(domain.pruned(story.incident), CHAIN) == step, "what is kept is enough to go on"
