"""Who is refused counselling and referred elsewhere (W23, W26, W28). Unknown facts refuse nobody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from shared.contracts.events import Service
from shared.policy.model import Eligibility


class Admission(Protocol):
    """What admission is decided on. What was not said is None."""

    @property
    def age(self) -> int | None: ...
    @property
    def employment(self) -> str | None: ...
    @property
    def acute_crisis(self) -> bool: ...
    @property
    def severe_illness(self) -> bool: ...
    @property
    def agreements_signed(self) -> bool | None: ...


@dataclass(frozen=True)
class Refusal:
    """One ground on which a client is refused."""

    gate: str
    """The row of the policy."""
    ground: str
    clause: str


def refusals(
    service: Service, enterprise_id: str | None, said: Admission, rules: Eligibility
) -> tuple[Refusal, ...]:
    """Every ground on which the rules refuse what was agreed; none for the services that refuse nobody."""
    return tuple(_refusals(enterprise_id, said, rules)) if service in rules.services else ()


def _refusals(enterprise_id: str | None, said: Admission, rules: Eligibility) -> Iterator[Refusal]:
    health, individuals, enterprises = rules.health, rules.individuals, rules.enterprises
    for ground in health.refused:  # W26
        if getattr(said, ground):
            yield Refusal(health.name, ground.replace("_", "-"), health.clause)
    if enterprise_id is None:  # W23: who comes on their own account
        if said.age is not None and not individuals.youngest <= said.age <= individuals.oldest:
            yield Refusal(individuals.name, "age", individuals.clause)
        if said.employment is not None and said.employment not in individuals.employment:
            yield Refusal(individuals.name, "employment", individuals.clause)
    elif enterprises.agreements and said.agreements_signed is False:  # W28
        yield Refusal(enterprises.name, "agreements", enterprises.clause)
