"""What is told of a case or a client: how it stands, what the client allows, an incident, and who is gone."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal

from services.scheduler.deciding.follow_ups import FollowUps
from services.scheduler.deciding.rules import forgotten, happened_before
from services.scheduler.domain import duties
from services.scheduler.domain.agenda import (
    CaseEvents,
    Duty,
    FollowUp,
    KnownCase,
    KnownClient,
    Reminder,
    Resolved,
)
from services.scheduler.domain.consent import Word
from services.scheduler.domain.duties import Happening, Said
from services.scheduler.domain.planning import Change, Owner
from shared.contracts.envelope import Event
from shared.contracts.events import CaseClassified, ConsentChanged, IncidentChanged


class Cases(FollowUps):
    """The part of a decision that hears of cases and clients."""

    def _classified(self, data: CaseClassified) -> bool:
        known = self.view.get(KnownCase, data.case_id)
        if (known and known.revision >= data.revision) or self._gone_already(data.client_id) == "erased":
            return False
        self._put(
            KnownCase(id=data.case_id, revision=data.revision, client_id=data.client_id, body=data.to_json())
        )
        self._service_known(data)
        self._plan_case(data, data.cause)
        return True

    def _service_known(self, data: CaseClassified) -> None:
        """What waited for the case's service happens now; what was opened for another service is withdrawn, and so is
        what is of counselling where the client is referred (W26)."""
        known = self._case_events(data.case_id) or CaseEvents(id=data.case_id, client_id=data.client_id)
        before, referred = known, data.status == "referred"
        if (known.service, known.referred) == (data.service, referred) or known.gone:
            return
        known = known.model_copy(update={"service": data.service, "referred": referred})
        self._put(known)
        for duty in self.view.having(Duty, "case_id", data.case_id):
            rule = self._duty_rule(duty.rule)
            if rule and duties.is_for(rule, before) and not duties.is_for(rule, known):
                self._settle(rule, duty.subject, stands=False)
            elif rule and not rule.service and duties.is_for(rule, known) and not duty.stands:
                self._settle(rule, duty.subject, stands=True)
        topics = self.regime.topics_of_service.get(data.service or "", frozenset())
        waited: defaultdict[tuple[str, str], list[tuple[Said, Happening]]] = defaultdict(list)
        for what in happened_before(known, topics):
            for said in duties.said_by(what, self.regime):
                if said.rule.service and duties.is_for(said.rule, known):
                    waited[said.rule.name, said.subject].append((said, what))
        for heard in waited.values():
            self._heard(heard)

    def _consent(self, data: ConsentChanged, event: Event) -> None:
        client = self._client(data.client_id)
        if data.purposes.follow_up is None or client.gone:
            return
        word = Word.of(event, said_at=data.changed_at, allowed=data.purposes.follow_up)
        client = client.model_copy(update={"words": (*client.words, word)})
        self._put(client)
        for case in self.view.having(KnownCase, "client_id", data.client_id):
            self._plan_case(case.classified(), event.topic)
        for resolved in client.resolved:
            self._plan_care(client, resolved, event.topic)

    def _incident(self, data: IncidentChanged) -> None:
        """While a client has an open incident, ordinary messages wait; after it, care goes on (A32)."""
        client = self._client(data.client_id)
        if client.gone:
            return
        others = tuple(incident for incident in client.open_incidents if incident != data.incident_id)
        before = tuple(one for one in client.resolved if one.incident_id != data.incident_id)
        if data.change == "resolved":
            now_resolved = Resolved(incident_id=data.incident_id, case_id=data.case_id, at=data.at)
            client = client.model_copy(update={"open_incidents": others, "resolved": (*before, now_resolved)})
            self._plan_care(client, now_resolved, "incident-resolved")
        elif data.change in ("opened", "reopened"):
            still_open = (*others, data.incident_id)
            client = client.model_copy(update={"open_incidents": still_open, "resolved": before})
            if data.change == "reopened":
                owner = Owner(client.id, data.case_id, "key-attention", "incident-reopened")
                self._reconcile(owner, data.incident_id, [])
        else:
            return  # what is told of a step may come after the end: the head is paged in any case (F59)
        self._put(client)
        if not client.open_incidents:
            self._release("client_id", data.client_id)

    def _gone(self, client_id: str, why: Literal["deceased", "incapable", "erased"]) -> None:
        """Nothing is asked of this client again, and nothing remains to be done about it."""
        if self._client(client_id).gone != "erased":
            # What the client said and lived through is of no use any more; the mark alone keeps late events out.
            self._put(KnownClient(id=client_id, gone=why))
        mine = [
            item
            for kind in (FollowUp, Duty, Reminder)
            for item in self.view.having(kind, "client_id", client_id)
        ]
        for item in mine:
            match item:
                case FollowUp() if item.pending:
                    update = {"state": "cancelled", "reason": f"client-{why}", "next_at": None}
                    self._follow_up(Change(item.model_copy(update=update), "cancelled"))
                case Reminder():
                    self._no_reminder(item)
        for name, subject in sorted({(item.rule, item.subject) for item in mine if isinstance(item, Duty)}):
            if rule := self._duty_rule(name):
                self._settle(rule, subject, [duties.cancellation(self.now)])
        cases = {
            case.id: case
            for kind in (KnownCase, CaseEvents)
            for case in self.view.having(kind, "client_id", client_id)
        }
        if why == "erased":
            self._removals += mine
            for kind in (KnownCase, CaseEvents):
                self._removals += self.view.having(kind, "client_id", client_id)
        # A milestone may name a follow-up alone, as it may a case.
        for key in sorted({*cases, *(item.id for item in mine if isinstance(item, FollowUp))}):
            self._case_gone(key, client_id, why)

    def _case_gone(self, case_id: str, client_id: str, why: str) -> None:
        """The case of a client who is gone: what a milestone opened ends, which names the case alone, and nothing
        opens again."""
        known = self._case_events(forgotten(case_id)) or self._case_events(case_id)
        if known and known.gone and (why != "erased" or known.id != case_id):
            return
        theirs = [duty for duty in self.view.having(Duty, "case_id", case_id) if duty.client_id is None]
        for name, subject in sorted({(duty.rule, duty.subject) for duty in theirs}):
            if rule := self._duty_rule(name):
                self._settle(rule, subject, [duties.cancellation(self.now)])
        erased = why == "erased"
        if erased:
            self._removals += theirs
        key = forgotten(case_id) if erased else case_id
        self._put(CaseEvents(id=key, client_id="" if erased else client_id, gone=True))
