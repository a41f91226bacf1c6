"""Intake without engines: what it hears, and what it publishes of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.intake.domain.ledger import Case
from services.intake.reactions import IntakeReactions
from shared.contracts.envelope import Event
from shared.contracts.events import CaseClassified
from shared.mongo.documents import View
from shared.policy.model import Policy
from shared.policy.versions import Policies
from tests.builders import When, at
from tests.unit.policy.regime import POLICY

_NO_STORE: Any = None  # decisions are pure: what they may read is in the view


class Desk:
    def __init__(self, policy: Policy = POLICY, *later: Policy) -> None:
        self.view = View()
        self.published: list[Event] = []
        self.counted = 0
        self._reactions = IntakeReactions(_NO_STORE, Policies((policy, *later)))

    def hears(self, *told: Event, now: When | None = None) -> Desk:
        """Events arrive: each when it happened, or all of them at `now`."""
        for event in told:
            changes = self._reactions.decide(self.view, event, self._moment(event, now))
            self.view.apply(changes)
            self.published += changes.events
            self.counted += len(changes.counted)
        return self

    def told(self, topic: str) -> list[Any]:
        """The bodies of what was published on a topic."""
        return [one.data for one in self.published if one.topic == topic]

    def classified(self, case_id: str = "case-1") -> CaseClassified:
        """The case as it was last told."""
        told: list[CaseClassified] = self.told("case-classified")
        return [one for one in told if one.case_id == case_id][-1]

    def case(self, case_id: str = "case-1") -> Case:
        case = self.view.get(Case, case_id)
        assert case
        return case

    @staticmethod
    def _moment(event: Event, now: When | None) -> datetime:
        return max(at(now), event.time) if now else event.time
