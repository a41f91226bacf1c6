"""What becomes of a message is decided from the facts, and trouble at the gateway is met with growing pauses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.survey.domain import messages
from services.survey.domain.clients import Client, IncidentState
from tests.builders import at
from tests.integration.survey.events import due, reminder
from tests.unit.survey.test_facts_in_any_order import followed

NOW = at("2026-03-17 10:00")


def message(what: str = "questionnaire-invitation") -> messages.Message:
    data: Any = reminder(what).data
    return messages.taken(data, "client-1", NOW)


def test_pauses_grow_and_stay_within_ten_minutes() -> None:
    pauses = [messages.retry_after(number) for number in range(1, 40)]
    assert pauses[:4] == [timedelta(seconds=seconds) for seconds in (1, 2, 4, 8)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(minutes=10)


@pytest.mark.clause("F10")
@given(
    st.sampled_from(["questionnaire-invitation", "session-reminder", "care-message"]),
    st.booleans(),
    st.sampled_from([None, "deceased", "incapable"]),
    st.booleans(),
)
def test_nothing_is_ever_sent_against_the_clients_word(
    what: str, allowed: bool, barred: Any, incident: bool
) -> None:
    state = IncidentState(open=incident, as_of=NOW)
    client = Client(id="client-1", follow_up_allowed=allowed, barred=barred, incidents={"i": state})
    step = messages.verdict(message(what), client, followed([due()]), NOW).step
    if barred or (not allowed and what != "session-reminder"):
        assert step == "cancel"
    elif incident:
        assert step == "wait"
    else:
        assert step == "send"


def test_a_settled_message_is_never_judged_again() -> None:
    sent = messages.handed_over(message(), "taken", NOW)
    barred = Client(id="client-1", barred="deceased")
    assert messages.judged(sent, barred, None, NOW) == sent


def test_an_invitation_stays_useful_as_long_as_its_link() -> None:
    follow_up = followed([due()])
    last = follow_up.link_expires_at
    assert messages.verdict(message(), None, follow_up, last - timedelta(seconds=1)).step == "send"
    assert messages.verdict(message(), None, follow_up, last).reason == "too-late"


def test_only_questionnaires_carry_a_link() -> None:
    follow_up = followed([due()])
    assert "link" in messages.params(message(), follow_up, "https://x/s/t", 6)
    assert "link" not in messages.params(message("care-message"), None, "https://x/s/t", 6)
