"""Who is refused counselling and referred elsewhere (W23, W26, W27, W28). Unknown facts refuse nobody.

A case is referred by the opening that holds: a later word that no longer says so admits the client.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.intake.domain import SOURCE
from services.intake.domain.facts import Opening
from shared.contracts.envelope import Event, derive
from shared.contracts.events import CaseOpened, CrisisFlagged
from shared.policy.model import Eligibility


@dataclass(frozen=True)
class Refusal:
    """One ground on which a client is refused."""

    gate: str
    """The row of the policy."""
    ground: str
    clause: str


def refusals(opening: Opening | None, rules: Eligibility) -> tuple[Refusal, ...]:
    """Every ground on which the rules refuse what was agreed; none for the services that refuse nobody."""
    if opening is None or opening.service not in rules.services:
        return ()
    return tuple(_refusals(opening, rules))


def _refusals(opening: Opening, rules: Eligibility) -> Iterator[Refusal]:
    health, individuals, enterprises = rules.health, rules.individuals, rules.enterprises
    for ground in health.refused:  # W26
        if getattr(opening, ground):
            yield Refusal(health.name, ground.replace("_", "-"), health.clause)
    if opening.enterprise_id is None:  # W23: who comes on their own account
        if opening.age is not None and not individuals.youngest <= opening.age <= individuals.oldest:
            yield Refusal(individuals.name, "age", individuals.clause)
        if opening.employment is not None and opening.employment not in individuals.employment:
            yield Refusal(individuals.name, "employment", individuals.clause)
    elif enterprises.agreements and opening.agreements_signed is False:  # W28
        yield Refusal(enterprises.name, "agreements", enterprises.clause)


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
