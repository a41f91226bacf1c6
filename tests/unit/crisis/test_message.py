"""What a page carries, by what it is about."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from services.crisis import domain
from services.crisis.chains import Chains
from services.crisis.domain import Deadline, Page
from services.crisis.links import Links
from services.crisis.message import Composer
from services.crisis.roster import Recipient
from shared.policy.versions import load_versions
from tests.unit.crisis.stories import FLAGGED, flag

COMPOSER = Composer(
    Links(bytes(96), "https://crisis.example", timedelta(hours=1)), "", Chains(load_versions())
)
DEADLINE = Deadline(
    rule="first-contact", clause="F1", subject="case-1", role="supervisor", reason="missed", due_at=FLAGGED
)


@pytest.mark.parametrize(
    ("about", "urgent", "danger"),
    [({}, True, True), ({"deadline": DEADLINE}, True, False), ({"drill": True}, False, False)],
)
def test_only_what_is_about_somebody_in_danger_may_use_up_a_budget(
    about: dict[str, Any], urgent: bool, danger: bool
) -> None:
    incident = domain.open_incident(flag()).model_copy(update=about)
    page = Page("1.0.0", ("on-call",), "on-call", run=1)
    message = COMPOSER.compose(incident, page, Recipient("staff-1", ()), FLAGGED)
    assert (message.urgent, message.danger) == (urgent, danger)
