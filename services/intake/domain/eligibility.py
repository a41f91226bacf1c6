"""Who is refused counselling and referred elsewhere (W23, W26, W27, W28).

A case is referred by the opening that holds: a later word that no longer says so admits the client.
"""

from __future__ import annotations

from services.intake.domain import SOURCE
from services.intake.domain.facts import Opening
from shared.contracts.envelope import Event, derive
from shared.contracts.events import CaseOpened, CrisisFlagged
from shared.policy import eligibility
from shared.policy.eligibility import Refusal
from shared.policy.model import Eligibility


def refusals(opening: Opening | None, rules: Eligibility) -> tuple[Refusal, ...]:
    """Every ground on which the rules refuse what was agreed; none where nothing was agreed yet."""
    return eligibility.refusals(opening.service, opening.enterprise_id, opening, rules) if opening else ()


def flag_of(event: Event, rules: Eligibility) -> Event | None:
    """W26: who is refused for an acute crisis is in one, and someone is paged. None where the event says no such thing.

    One flag for each opening, whichever of them holds. It follows from the event alone, so that told twice, by bus and
    by HTTP, it is one flag.
    """
    data = event.data
    if not isinstance(data, CaseOpened) or data.service not in rules.services:
        return None
    if not data.eligibility.acute_crisis or "acute_crisis" not in rules.health.refused:
        return None
    flag = CrisisFlagged(
        client_id=data.client_id,
        case_id=data.case_id,
        flagged_at=event.time,
        source="booking",
        signals=("acute-crisis",),
        level="high",
    )
    return derive(event.unique, SOURCE, flag, time=event.time, topic="crisis-flagged")
