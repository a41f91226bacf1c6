"""Why a case stands as it does: the facts that hold, the clause of its class, the gates, the marks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from services.intake.domain import ledger
from services.intake.domain.agreements import Agreements
from services.intake.domain.eligibility import refusals
from services.intake.domain.forms import Sheet
from services.intake.domain.ledger import Case
from services.intake.domain.sessions import agreed_outside, outside_bounds, unconfirmed
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

UNCONFIRMED = "counselling-before-confirmation"
"""The gate of the policy that sessions before the plan's confirmation pass by (W43)."""


def why(
    case: Case, policy: Policy, agreed: Agreements | None = None, forms: Sequence[Sheet] = ()
) -> dict[str, Any]:
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
        "marks": list(_marks(case, policy, agreed or Agreements.none_of(case.id), forms)),
    }


def _marks(
    case: Case, policy: Policy, agreed: Agreements, forms: Sequence[Sheet]
) -> Iterator[dict[str, Any]]:
    """What was done otherwise than the regime asks, and could not be refused."""
    if outside := agreed_outside(case, policy):
        bound, how, clauses = outside
        yield {"mark": "agreed-outside-bounds", "bound": bound, "how": how, "clauses": list(clauses)}
    for mark in outside_bounds(case, agreed, policy):
        yield {
            "mark": "session-outside-bounds",
            "session_no": mark.session_no,
            "bound": mark.bound,
            "how": mark.how,
            "clauses": list(mark.clauses),
        }
    for session_no in unconfirmed(case, agreed):
        yield {"mark": UNCONFIRMED, "session_no": session_no, "clauses": ["W43"]}
    for sheet in forms:
        for one in sheet.marks:
            yield {
                "mark": "form-outside-bounds",
                "form": sheet.form,
                "field": one.field,
                "bound": one.bound,
                "how": one.how,
                "clauses": list(one.clauses),
            }
