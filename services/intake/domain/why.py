"""Why a case stands as it does: the facts that hold, the clause of its class, the gates, the marks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.intake.domain import ledger
from services.intake.domain.eligibility import refusals
from services.intake.domain.ledger import Case
from services.intake.domain.sessions import outside_bounds
from shared.contracts.events import CaseClass
from shared.contracts.types import write_time
from shared.policy.model import Policy

CLAUSES: Mapping[CaseClass, str] = {
    "new": "F12",  # fewer sessions than that clause asks for
    "in-counselling": "F12",
    "key-attention": "F13",
    "closed": "F11",
    "dropped": "F14",
}
"""The clause that makes each class."""


def why(case: Case, policy: Policy) -> dict[str, Any]:
    """In codes and times, ready for JSON. It names facts by the events that told them, and repeats nothing of them."""
    found = ledger.case_class(case, policy)
    waiting = ledger.proposal(case, policy)
    facts = sorted(case.facts(), key=lambda told: told[1].rank)
    return {
        "facts": [
            {"topic": topic, "time": write_time(fact.time), "source": fact.source, "id": fact.event_id}
            for topic, fact in facts
        ],
        "class": {"class": found, "clause": CLAUSES[found]},
        "gates": [
            {"gate": refusal.gate, "ground": refusal.ground, "clause": refusal.clause}
            for refusal in refusals(case.opening, policy.eligibility)
        ],
        "proposal": {
            "reason": waiting.reason,
            "decided_by": waiting.decided_by,
            "since": write_time(waiting.at),
        }
        if waiting
        else None,
        "marks": [
            {
                "mark": "session-outside-bounds",
                "session_no": mark.session_no,
                "bound": mark.bound,
                "how": mark.how,
                "clauses": list(mark.clauses),
            }
            for mark in outside_bounds(case, policy)
        ],
    }
