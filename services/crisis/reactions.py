"""What the crisis service does about events that may wait for the database: escalated deadlines and erasures."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.crisis import domain
from services.crisis.chains import Chains
from services.crisis.domain import Incident
from services.crisis.keeper import SOURCE
from services.crisis.store import Erasure, Notice, Store
from shared.contracts.envelope import Event
from shared.contracts.events import ClientErased, EscalationRequired
from shared.mongo.client import Session
from shared.mongo.documents import Changes, Document, View

TOPICS = ("escalation-required", "client-erased")


class CrisisReactions:
    """Read and decide (shared.messaging.loop)."""

    def __init__(self, store: Store, chains: Chains) -> None:
        self._store = store
        self._chains = chains

    async def read(self, session: Session, events: Sequence[Event]) -> View:
        escalations = [event.data for event in events if isinstance(event.data, EscalationRequired)]
        clients = [event.data.client_id for event in events if isinstance(event.data, ClientErased)]
        keys: dict[type[Document], list[str]] = {
            Notice: [escalation.escalation_id for escalation in escalations],
            Incident: [domain.deadline_id(escalation) for escalation in escalations],
        }
        view = View()
        view.load(await self._store.documents(session, keys))
        if clients:
            view.load(await self._store.incidents_of(session, clients))
        return view

    def decide(self, view: View, event: Event, now: datetime) -> Changes:
        if isinstance(event.data, EscalationRequired):
            return self._escalated(view, event, event.data, now)
        if isinstance(event.data, ClientErased):
            return self._erased(view, event.data)
        return Changes()

    def _escalated(self, view: View, event: Event, data: EscalationRequired, now: datetime) -> Changes:
        if event.source == SOURCE:  # F59 and A30 run here already
            return Changes()
        if data.urgency == "page":
            if view.get(Incident, domain.deadline_id(data)):
                return Changes()
            incident = domain.open_deadline(event, data, now)
            return Changes(
                [incident.model_copy(update={"next_at": domain.next_at(incident, self._chains.of(incident))})]
            )
        if view.get(Notice, data.escalation_id):
            return Changes()
        notice = Notice(
            id=data.escalation_id, role=data.role, rule=data.rule, clause=data.clause,
            subject=data.subject, case_id=data.case_id, due_at=data.due_at, at=now,
        )  # fmt: skip
        return Changes([notice])

    def _erased(self, view: View, data: ClientErased) -> Changes:
        puts: list[Document] = [Erasure(id=data.client_id, requested_at=data.requested_at)]
        for incident in view.having(Incident, "client_id", data.client_id):
            if domain.settled(incident, self._chains.of(incident)):
                puts.append(domain.scrubbed(incident))
            else:  # somebody in danger cannot be looked for without an id
                puts.append(incident.model_copy(update={"erase": True}))
        return Changes(puts)
