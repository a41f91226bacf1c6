"""A link is for one recipient and one incident, expires, and cannot be made by others."""

from __future__ import annotations

from datetime import timedelta

import pytest

from services.crisis.links import Expired, Forged, Links
from tests.unit.crisis.stories import FLAGGED

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
