"""An incident is paged to its end by the chain of the version in which it was flagged."""

from __future__ import annotations

from datetime import date, timedelta

from services.crisis import domain
from services.crisis.chains import Chains
from shared.policy.versions import Policies, load
from tests.unit.crisis.stories import CHAIN, FLAGGED, flag

SLOWER = CHAIN.model_copy(update={"intervention_within": timedelta(minutes=45)})
POLICY = load()
SECOND = {"version": "2026-2", "effective_from": date(2026, 4, 2), "crisis": SLOWER}
CHAINS = Chains(Policies((POLICY, POLICY.model_copy(update=SECOND))))


def test_the_version_of_its_flag_counts() -> None:
    before = domain.open_incident(flag(at=FLAGGED))
    after = domain.open_incident(flag(at=FLAGGED + timedelta(days=1)))
    assert CHAINS.of(before) == CHAIN
    assert CHAINS.of(after) == SLOWER
