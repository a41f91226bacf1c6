"""By which version of the policy an incident is paged."""

from __future__ import annotations

from services.crisis.domain import Incident
from shared.policy.model import CrisisChain
from shared.policy.versions import Policies


class Chains:
    """The chain of each incident."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    def of(self, incident: Incident) -> CrisisChain:
        """That of the version in force when it was flagged, to its end: no new version begins in the middle of it."""
        newest = self._policies.versions[-1]
        return (self._policies.by(incident.since) if incident.since else newest).crisis
