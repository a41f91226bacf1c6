"""Two versions of one incident are merged by their timelines: nothing is lost, nothing is told twice."""

from __future__ import annotations

from functools import partial
from typing import get_args

from services.crisis import domain
from services.crisis.domain import Kind
from tests.unit.crisis.stories import CHAIN, FLAGGED, Story, flag, minutes


def test_the_same_flag_by_bus_and_by_http_is_one_incident() -> None:
    assert domain.open_incident(flag()).id == domain.open_incident(flag(late=1)).id


def test_an_acknowledgement_elsewhere_stops_the_chain_here() -> None:
    here = Story.of().after(6)
    there = domain.acknowledge(Story.of().after(1).incident, "staff-2", FLAGGED + minutes(1))
    merged = domain.merge(here.incident, there)
    assert (merged.state, merged.awaiting, merged.acknowledged_by) == ("acknowledged", False, "staff-2")
    assert merged.timeline == domain.merge(there, here.incident).timeline


def test_time_that_ran_out_where_the_end_was_not_heard_of_starts_nothing() -> None:
    ended = Story.of().after(1).does(domain.acknowledge).after(20).does(domain.resolve).incident
    elsewhere = Story.of().after(1).does(domain.acknowledge).after(31).incident
    assert elsewhere.awaiting, "A30: nobody intervened, as far as is known there"
    merged = domain.merge(ended, elsewhere)
    assert (merged.state, merged.awaiting) == ("resolved", False)


def test_where_one_replica_reached_somebody_and_the_other_nobody_the_next_step_keeps_its_time() -> None:
    opened = domain.open_incident(flag())
    (page,) = domain.due(opened, CHAIN, FLAGGED)
    refused = domain.failed(opened, page, FLAGGED + minutes(0.5), "timeout")
    assert domain.next_at(domain.merge(Story.of().incident, refused), CHAIN) == FLAGGED + minutes(5)


def test_merging_with_itself_changes_nothing() -> None:
    incident = Story.of().after(20).incident
    assert domain.merge(incident, incident) == incident


def test_two_incidents_of_one_client_become_one_and_links_to_both_stay_good() -> None:
    first, second = Story.of(flag(id="1")).incident, Story.of(flag("imminent", id="2")).incident
    merged = domain.merge(first, second)
    assert (merged.id, merged.aliases, merged.level) == (first.id, (second.id,), "imminent")
    assert {known.unique for known in merged.flags} == {"/company 1", "/company 2"}


def test_a_page_sent_twice_is_one_line() -> None:
    one, two = Story.of().incident, Story.of().incident
    merged = domain.merge(one, two)
    assert [line.kind for line in merged.timeline] == ["flagged", "paged"]


def test_a_clock_that_steps_back_does_not_reorder_the_timeline() -> None:
    story = Story.of().after(1)
    incident = domain.acknowledge(story.incident, "staff-1", FLAGGED - minutes(5))
    assert incident.timeline[-1].kind == "acknowledged"
    assert not incident.awaiting


def test_an_erased_client_leaves_nothing_but_the_times() -> None:
    incident = domain.scrubbed(Story.of(flag(client="client-77")).does(domain.resolve).incident)
    assert "client-77" not in incident.model_dump_json()
    assert domain.settled(incident, CHAIN)


def test_of_very_many_flags_those_that_changed_something_and_the_newest_stay_with_the_incident() -> None:
    story = Story.of(flag("watch", id="first"))
    for number in range(1, 151):
        story.flagged(
            flag("high" if number == 40 else "watch", id=str(number), at=FLAGGED + minutes(number / 100))
        )
    whole = story.incident
    kept = domain.pruned(whole)
    names = [known.unique.removeprefix("/company ") for known in kept.flags]
    assert names == ["first", "40", *map(str, range(131, 151))]
    assert domain.retold(kept, kept.timeline).level == whole.level == "high"
    assert domain.pruned(kept) is kept


def test_few_flags_all_stay() -> None:
    story = Story.of(flag(id="0"))
    for number in range(1, 50):
        story.flagged(flag(id=str(number)))
    assert len(domain.pruned(story.incident).flags) == 50


NOTED = {"unanswered", "repeated", "delivered", "undelivered", "answered", "key-pressed"}
"""What stands in the timeline alone: the bus is told of what it is about by other lines."""
ELSEWHERE = NOTED - {"unanswered"}
"""Of these no story is made here."""


def test_the_bus_is_told_of_every_kind_of_step_but_what_is_only_noted() -> None:
    left_alone = Story.of(reaches=lambda step: step != "second").after(40)
    taken_up = Story.of().after(1).does(domain.acknowledge).after(31).does(domain.intervene)
    taken_up.does(domain.take_part, by="staff-2")
    taken_up.does(partial(domain.assess, step="first-assessment")).does(partial(domain.refer, to="hospital"))
    taken_up.does(partial(domain.respond, whose="hospital")).does(domain.resolve).does(domain.reopen)
    lines = [(story, line) for story in (left_alone, taken_up) for line in story.incident.timeline]
    told = {line.kind for story, line in lines if line.id in domain.announced(story.incident)}
    assert {line.kind for _, line in lines} == set(get_args(Kind)) - ELSEWHERE
    assert set(get_args(Kind)) - told == NOTED
