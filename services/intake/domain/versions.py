"""By which version of the policy a case is decided upon."""

from __future__ import annotations

from datetime import datetime

from services.intake.domain.ledger import Case
from shared.policy.model import Policy
from shared.policy.versions import Policies


def policy_for(case: Case, at: datetime, policies: Policies) -> Policy:
    """The version in force at an instant. Who was admitted stays admitted: eligibility is that of the opening."""
    policy = policies.by(at)
    admitting = policies.by(case.opening.time) if case.opening else policy
    return policy if admitting is policy else policy.model_copy(update={"eligibility": admitting.eligibility})
