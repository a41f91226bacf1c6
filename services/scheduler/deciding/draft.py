"""A decision in the making: what it was asked to look at, and the documents and events that it has collected so far."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.scheduler.domain.agenda import CaseEvents, Duty, FollowUp, KnownClient, Reminder, name_of
from services.scheduler.domain.planning import Regime
from shared.contracts.envelope import Event, derive
from shared.contracts.events import DutyChanged, EscalationRequired
from shared.contracts.types import EventData, write_time
from shared.mongo.documents import Changes, Document, View
from shared.policy.model import DutyRule

SOURCE = "/aftercare/scheduler"


@dataclass
class Draft:
    """Reads the view; a document that was put in this decision stands before the view's."""

    view: View
    regime: Regime
    cause: str
    now: datetime

    def __post_init__(self) -> None:
        self._puts: dict[str, Document] = {}
        self._removals: list[Document] = []
        self._events: list[Event] = []

    def changes(self) -> Changes:
        return Changes(tuple(self._puts.values()), tuple(self._events), tuple(self._removals))

    def _put(self, document: Document) -> None:
        self._puts[f"{document.collection} {document.id}"] = document

    def _publish(self, topic: str, data: EventData) -> None:
        self._events.append(
            derive(self.cause, SOURCE, data, time=self.now, topic=topic, nth=len(self._events))
        )

    def _publish_duty(self, duty: Duty, change: str, at: datetime) -> None:
        body = {
            "duty_id": duty.id,
            "rule": duty.rule,
            "clause": duty.clause,
            "role": duty.role,
            "subject": duty.subject,
            "case_id": duty.case_id,
            "change": change,
            "due_at": duty.due_at,
            "at": at,
        }
        self._publish("duty-changed", DutyChanged.model_validate(body))

    def _escalate(
        self, item: FollowUp | Duty, role: str, due_at: datetime, reason: str, urgency: str = "notify"
    ) -> None:
        body = {
            "escalation_id": name_of("escalation", item.id, reason, write_time(due_at)),
            "rule": item.rule,
            "clause": item.clause,
            "subject": item.subject,
            "case_id": item.case_id,
            "role": role,
            "urgency": urgency,
            "due_at": due_at,
            "reason": reason,
        }
        self._publish("escalation-required", EscalationRequired.model_validate(body))

    def _client(self, client_id: str) -> KnownClient:
        return self._known_client(client_id) or KnownClient(id=client_id)

    def _known_client(self, client_id: str) -> KnownClient | None:
        put = self._puts.get(f"clients {client_id}")
        return put if isinstance(put, KnownClient) else self.view.get(KnownClient, client_id)

    def _gone_already(self, client_id: str) -> str | None:
        known = self._known_client(client_id)
        return known.gone if known else None

    def _duties(self, rule: DutyRule, subject: str) -> dict[str, Duty]:
        """The duties of a rule about one subject, by id, as they stand in this decision."""
        known = {
            duty.id: duty for duty in self.view.having(Duty, "subject", subject) if duty.rule == rule.name
        }
        put = {
            one.id: one
            for one in self._puts.values()
            if isinstance(one, Duty) and (one.rule, one.subject) == (rule.name, subject)
        }
        return known | put

    def _duty_rule(self, name: str) -> DutyRule | None:
        """The rule of a duty, as it last stood; None where no version has it."""
        return self.regime.duty_rules_ever.get(name)

    def _case_events(self, case_id: str) -> CaseEvents | None:
        put = self._puts.get(f"{CaseEvents.collection} {case_id}")
        return put if isinstance(put, CaseEvents) else self.view.get(CaseEvents, case_id)

    def _reminder(self, key: str) -> Reminder | None:
        put = self._puts.get(f"agenda {key}")
        return put if isinstance(put, Reminder) else self.view.get(Reminder, key)
