"""A further person helps; a request that is sent again does nothing twice."""

from __future__ import annotations

import pytest

from services.crisis import domain
from services.crisis.domain import NotPossible
from services.crisis.once import REMEMBERED, Once
from tests.unit.crisis.stories import FLAGGED, Story, flag


def kinds(story: Story) -> list[tuple[str, str | None]]:
    return [(line.kind, line.by) for line in story.incident.timeline if line.by]


def test_who_joins_first_takes_it_up_and_the_next_one_helps_once() -> None:
    story = Story.of().does(domain.take_part, "staff-1").does(domain.take_part, "staff-1")
    assert kinds(story) == [("acknowledged", "staff-1")]
    story.does(domain.take_part, "staff-2").does(domain.take_part, "staff-2")
    assert kinds(story)[1:] == [("joined", "staff-2")]
    assert story.incident.acknowledged_by == "staff-1"


def test_joining_stops_no_clock_and_tells_the_bus_who_and_that_it_goes_on() -> None:
    story = Story.of().does(domain.acknowledge, "staff-1").does(domain.take_part, "staff-2")
    assert story.after(31).pages[-1] == (30, "on-call"), "A30 runs on"
    [event] = [e for e in domain.announced(story.incident).values() if e.step == "joined"]
    assert (event.change, event.by) == ("acknowledged", "staff-2")


def test_nobody_joins_what_is_over() -> None:
    story = Story.of().does(domain.resolve)
    with pytest.raises(NotPossible, match="reopen it first"):
        domain.take_part(story.incident, "staff-2", FLAGGED)


def test_a_drill_that_is_joined_ends_like_one_that_is_acknowledged() -> None:
    story = Story.of(flag("drill")).does(domain.take_part, "staff-1")
    assert (story.incident.state, kinds(story)) == ("resolved", [("acknowledged", "staff-1")])


def test_a_request_is_known_again_by_its_key_its_sender_and_its_incident() -> None:
    once = Once()
    once.keep("staff-1", "one", "key")
    once.keep("staff-1", "one", None)
    assert once.has("staff-1", "one", "key")
    assert not once.has("staff-2", "one", "key")
    assert not once.has("staff-1", "two", "key")
    assert not once.has("staff-1", "one", None)


def test_old_keys_are_forgotten() -> None:
    once = Once()
    for number in range(REMEMBERED + 1):
        once.keep("staff-1", "one", str(number))
    assert not once.has("staff-1", "one", "0")
    assert once.has("staff-1", "one", str(REMEMBERED))
