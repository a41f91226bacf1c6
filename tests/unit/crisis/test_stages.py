"""A person's own rules: now the bot, after a minute a text, after three a call, until somebody acknowledges."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.crisis import domain
from services.crisis.addresses import SmsAddress, VoiceAddress, WeComAddress
from services.crisis.domain import Contact
from services.crisis.roster import Person, Roster, stages
from tests.unit.crisis.stories import CHAIN, FLAGGED, Story, flag, minutes

BOT = WeComAddress(url="https://bot.example/?key=one")
TEXT = SmsAddress(number="+8613800000000", after=timedelta(minutes=1))
CALL = VoiceAddress(number="+8613800000000", after=timedelta(minutes=3))


def test_stages_follow_the_delays_and_keep_the_order_of_the_list_within_one() -> None:
    found = stages((CALL, BOT, TEXT, WeComAddress(url="https://bot.example/?key=two")))
    assert [(stage.after, [channel.kind for channel in stage.channels]) for stage in found] == [
        (0, ["wecom", "wecom"]), (60, ["sms"]), (180, ["voice"]),
    ]  # fmt: skip


def test_the_later_channels_go_out_while_nobody_acknowledges_and_the_chain_goes_on_beside_them() -> None:
    story = Story.of(later=(60, 180)).after(9)
    assert story.pages == [
        (0, "on-call"), (1, "on-call+60"), (3, "on-call+180"),
        (5, "second"), (6, "second+60"), (8, "second+180"), (8.25, "head"),
    ]  # fmt: skip


def test_an_acknowledgement_stops_the_later_channels() -> None:
    story = Story.of(later=(60, 180)).after(2).does(domain.acknowledge).after(8)
    assert story.pages == [(0, "on-call"), (1, "on-call+60")]


def test_a_stage_that_fails_holds_up_nothing_and_is_not_repeated() -> None:
    story = Story.of(reaches=lambda step: "+" not in step, later=(60,)).after(30)
    assert [page for page in story.pages if "+" not in page[1]] == Story.of().after(30).pages
    assert [at for at, step in story.pages if step == "on-call+60"] == [1]


@settings(max_examples=15, deadline=None)
@given(
    later=st.lists(st.sampled_from([30.0, 60.0, 180.0, 600.0, 1800.0]), unique=True, max_size=3),
    failing=st.sets(st.sampled_from(["on-call", "second", "head", "everyone", "stages"])),
)
def test_the_chain_is_the_same_with_stages_and_without(later: list[float], failing: set[str]) -> None:
    def reaches(step: str) -> bool:
        return ("stages" if "+" in step else step) not in failing

    alone = Story.of(reaches=reaches).after(12)
    beside = Story.of(reaches=reaches, later=tuple(sorted(later))).after(12)
    assert [page for page in beside.pages if "+" not in page[1]] == alone.pages


def test_whom_the_first_page_did_not_reach_has_no_later_one() -> None:
    story = Story.of(reaches=lambda step: step != "on-call", later=(60,)).after(4)
    assert story.pages == [(0, "on-call"), (0, "second"), (1, "second+60"), (3.25, "head")]


def test_who_was_reached_over_a_later_channel_at_once_is_not_tried_over_it_again() -> None:
    """The text did not go out, so the call was made in its place."""
    story = Story.of(later=(60, 180)).after(0.9)
    story.now = FLAGGED + minutes(1)
    (page,) = domain.due(story.incident, CHAIN, story.now)
    called = Contact(person="staff-1", channel="voice-aliyun", after=180)
    story.incident = domain.sent(story.incident, page, story.now, "voice-aliyun", 1, (called,))
    assert story.after(4).pages == [(0, "on-call")]


def test_a_stage_goes_to_those_whom_the_step_reached() -> None:
    story = Story.of(later=(60,))
    (page,) = domain.due(story.incident, CHAIN, FLAGGED + minutes(1))
    assert (page.people, page.stage, page.opens) == (("staff-1",), 60, False)


def test_a_stage_that_hangs_is_cut_off_when_the_chain_goes_on() -> None:
    """F59 allows for one slow page, and not for two in a row."""
    story = Story.of(later=(290,))
    (page,) = domain.due(story.incident, CHAIN, FLAGGED + timedelta(seconds=290))
    assert page.within == 10
    (page,) = domain.due(Story.of(later=(60,)).incident, CHAIN, FLAGGED + minutes(1))
    assert page.within == domain.LONGEST_STAGE


def test_each_round_has_its_stages_and_ends_those_of_the_round_before() -> None:
    story = Story.of(later=(60, 1000)).after(32)
    calls = [(at, step) for at, step in story.pages if step.startswith("everyone")]
    assert calls == [(15, "everyone"), (16, "everyone+60")]
    assert (31, "on-call+60") in story.pages


def test_the_bus_is_told_of_a_stage_as_of_a_page() -> None:
    assert Story.of(later=(60,)).after(1).said() == ["opened", "paged", "paged"]


def test_a_stage_that_fails_is_told_to_nobody() -> None:
    story = Story.of(later=(60,))
    (page,) = domain.due(story.incident, CHAIN, FLAGGED + minutes(1))
    failed = domain.failed(story.incident, page, FLAGGED + minutes(1), "timeout")
    assert failed.timeline[-1].stage == 60
    assert len(domain.announced(failed)) == len(domain.announced(story.incident))


@pytest.mark.parametrize("what", ["delivered", "undelivered", "answered"])
def test_a_receipt_is_noted_once_and_told_to_nobody(what: domain.Received) -> None:
    story = Story.of()
    contact = story.incident.timeline[-1].contacts[0]
    before = domain.next_at(story.incident, CHAIN)
    noted = domain.receive(story.incident, contact, what, FLAGGED + minutes(1))
    assert (noted.timeline[-1].kind, noted.timeline[-1].by) == (what, "staff-1")
    assert domain.receive(noted, contact, what, FLAGGED + minutes(2)) is noted
    assert len(domain.announced(noted)) == len(domain.announced(story.incident))
    assert domain.next_at(noted, CHAIN) == before


def test_the_right_key_acknowledges_as_the_one_who_was_called() -> None:
    story = Story.of()
    contact = story.incident.timeline[-1].contacts[0]
    wrong = domain.receive(story.incident, contact, "key-pressed", FLAGGED + minutes(1), "9")
    assert wrong.awaiting
    right = domain.receive(wrong, contact, "key-pressed", FLAGGED + minutes(1), "1")
    assert (right.awaiting, right.acknowledged_by) == (False, "staff-1")


def test_a_key_repeated_after_the_chain_has_begun_again_acknowledges_nothing() -> None:
    story = Story.of()
    contact = story.incident.timeline[-1].contacts[0]
    story.incident = domain.receive(story.incident, contact, "key-pressed", story.now, "1")
    story.after(31)
    assert story.incident.awaiting, "A30: nobody intervened"
    assert domain.receive(story.incident, contact, "key-pressed", story.now, "1") is story.incident


def test_nothing_is_noted_of_what_is_over() -> None:
    story = Story.of(flag("drill"))
    contact = story.incident.timeline[-1].contacts[0]
    story.does(domain.acknowledge)
    assert domain.receive(story.incident, contact, "answered", story.now) is story.incident


def test_one_channel_must_go_out_at_once() -> None:
    with pytest.raises(ValidationError, match="at once"):
        Person(id="staff-1", roles=("on-call",), channels=(TEXT,))


def test_a_phone_needs_a_provider() -> None:
    with pytest.raises(ValidationError, match="providers"):
        Roster(people=(Person(id="staff-1", roles=("on-call",), channels=(BOT, TEXT)),))


@pytest.mark.parametrize("number", ["13800000000", "+86 138", "+", "+86138a"])
def test_a_number_without_its_country_is_refused_and_not_shown(number: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        SmsAddress(number=number)
    assert number not in str(refusal.value) or number == "+"
