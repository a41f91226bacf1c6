"""What a client agreed to in the course of a case: the plan (W43), and sessions that take longer (W47).

It is told as milestones, which name no client. So it lies beside the ledger, under a hash of the case's id, and may
come before anything else about the case.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, Self

from pydantic import Field

from shared.contracts.events import MilestoneReached
from shared.mongo.documents import Document
from shared.policy.model import joined

PLAN_CONFIRMED = "plan-confirmed"
"""Its subject is the case."""

LONGER_AGREED = "longer-session-agreed"
"""Its subject is the session: the case, a colon, the number."""

HEEDED = frozenset({PLAN_CONFIRMED, LONGER_AGREED})


class Agreements(Document):
    """What was agreed in one case. `id` is a hash of the case id."""

    collection: ClassVar[str] = "agreements"

    plan_confirmed_at: datetime | None = None
    """The first time."""
    longer: Mapping[str, datetime] = Field(default_factory=dict)
    """Hash of a session's subject to when it was first agreed that it takes longer."""
    erased: bool = False
    """The client was forgotten: what arrives late about the case is not taken."""

    @classmethod
    def none_of(cls, case_id: str) -> Self:
        return cls(id=key_of(case_id))

    def with_told(self, told: MilestoneReached) -> Self:
        """With what a milestone says; of two that say the same the earlier holds, whichever came first."""
        if self.erased:
            return self
        if told.milestone == PLAN_CONFIRMED:
            first = min(self.plan_confirmed_at or told.reached_at, told.reached_at)
            return self.model_copy(update={"plan_confirmed_at": first})
        key = key_of(told.subject)
        first = min(self.longer.get(key, told.reached_at), told.reached_at)
        return self.model_copy(update={"longer": {**self.longer, key: first}})

    def confirmed_by(self, instant: datetime) -> bool:
        """Whether the plan was confirmed by then."""
        return self.plan_confirmed_at is not None and self.plan_confirmed_at <= instant

    def longer_agreed_by(self, case_id: str, session_no: int, instant: datetime) -> bool:
        """Whether it was agreed by then that a session takes longer."""
        agreed = self.longer.get(key_of(joined(case_id, session_no)))
        return agreed is not None and agreed <= instant


def key_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def case_of(told: MilestoneReached) -> str | None:
    """The case that a milestone is about; None where it does not say."""
    if told.case_id or told.milestone == PLAN_CONFIRMED:
        return told.case_id or told.subject
    return told.subject.rpartition(":")[0] or None
