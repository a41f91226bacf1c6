"""A link is for one recipient and one incident, expires, and cannot be made by others."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.crisis.chains import Chains
from services.crisis.domain import Page
from services.crisis.links import Expired, Forged, Links
from services.crisis.message import Composer
from services.crisis.roster import Recipient
from shared.policy.versions import load_versions
from tests.unit.crisis.stories import FLAGGED, Story

LINKS = Links(bytes(96), "https://crisis.example/", timedelta(hours=24))
TOKEN = LINKS.make("incident-1", "staff-1", FLAGGED).removeprefix("https://crisis.example/a/")


def test_a_link_says_whose_it_is() -> None:
    link = LINKS.read(TOKEN, FLAGGED + timedelta(hours=23))
    assert (link.incident_id, link.recipient) == ("incident-1", "staff-1")


def test_a_link_expires() -> None:
    with pytest.raises(Expired):
        LINKS.read(TOKEN, FLAGGED + timedelta(hours=24))


@pytest.mark.parametrize(
    "token", ["", ".", "abc", TOKEN[:-1], TOKEN[1:], TOKEN + "A", TOKEN.replace(".", ""), "é.é", "a" * 5]
)
def test_a_link_that_was_tampered_with_is_refused(token: str) -> None:
    with pytest.raises(Forged):
        LINKS.read(token, FLAGGED)


def test_another_key_makes_other_links() -> None:
    with pytest.raises(Forged):
        Links(bytes([1]) * 96, "", timedelta(hours=1)).read(TOKEN, FLAGGED)


@pytest.mark.parametrize(("days", "every"), [(0, 0), (3, 0), (10, 1), (100, 7)])
def test_the_link_of_a_late_round_lives_until_the_next_round_brings_another(days: int, every: int) -> None:
    composer = Composer(LINKS, "", Chains(load_versions()))
    sent = FLAGGED + timedelta(days=days)
    page = Page("1.9.3", ("everyone-on-call",), "everyone")
    message = composer.compose(Story.of().incident, page, Recipient("staff-1", ()), sent)
    token = str(message.data["acknowledge_url"]).removeprefix("https://crisis.example/a/")
    assert LINKS.read(token, sent + timedelta(days=max(every, 1), minutes=-1)).recipient == "staff-1"
    assert LINKS.read(token, sent + timedelta(days=every)).recipient == "staff-1"
    with pytest.raises(Expired):
        LINKS.read(token, sent + timedelta(days=max(every, 1), hours=2))
