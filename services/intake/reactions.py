"""Event -> fact in the ledger -> `case-classified`, when the case has changed; and what else follows at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.intake.domain import SOURCE, agreements, ledger, snapshots
from services.intake.domain.agreements import Agreements
from services.intake.domain.eligibility import flag_of
from services.intake.domain.forms import Sheet
from services.intake.domain.ledger import Case, Client
from services.intake.domain.sessions import outside_bounds
from services.intake.domain.snapshots import Line, Snapshot
from services.intake.domain.versions import policy_for
from services.intake.store import Store
from shared.contracts.envelope import Event, derive
from shared.contracts.events import (
    AttentionChanged,
    CalendarDue,
    CaseOpened,
    ClientErased,
    ConsentChanged,
    FollowUpRecorded,
    MilestoneReached,
)
from shared.mongo.client import Session
from shared.mongo.documents import Changes, View
from shared.mongo.erasure import Erasure
from shared.observability import metrics
from shared.policy.versions import Policies


class IntakeReactions:
    """What intake does about each event."""

    def __init__(self, store: Store, policies: Policies) -> None:
        self._store = store
        self._policies = policies

    async def read(self, session: Session, events: Sequence[Event]) -> View:
        return await self._store.concerning(session, events)

    def decide(self, view: View, event: Event, now: datetime) -> Changes:
        match event.data:
            case ClientErased(client_id=client_id):
                return _erase(view, client_id)
            case CalendarDue(rule=snapshots.RULE, month=month):
                # F15: once asked for it is taken, however often the date is told.
                return Changes() if view.get(Snapshot, month) else Changes(puts=[snapshots.wanted(month)])
            case MilestoneReached() as data:
                return _agreed(view, data)
            case AttentionChanged() if event.source == SOURCE:
                return Changes()  # our own proposal: the record that it follows from is in the ledger
            case _ if (known := view.get(Client, _client_of(event))) and known.erased:
                return Changes()  # too late: the client has been forgotten
            case ConsentChanged() as data:
                return self._consent(view, event, data, now)
            case data if getattr(data, "case_id", None):
                return self._fact(view, event, now)
            case _:
                return Changes()

    def _fact(self, view: View, event: Event, now: datetime) -> Changes:
        case_id = str(event.data.case_id)  # type: ignore[attr-defined]
        client_id = _client_of(event)
        before = view.get(Case, case_id) or Case(id=case_id, client_id=client_id)
        client = _client(view, client_id)
        after = ledger.record(before, event)
        changes = self._said_anew(before, after, client, client, event, now)
        policy, agreed = self._policies.by(now), _agreements(view, case_id)
        known = set(outside_bounds(before, agreed, policy))
        marks = set(outside_bounds(after, agreed, policy)) - known
        counted = [metrics.SESSIONS_OUTSIDE_BOUNDS.labels(mark.bound, mark.how).inc for mark in marks]
        match event.data:
            case CaseOpened():
                flag = flag_of(event, self._policies.by(event.time).eligibility)
                changes += Changes(events=[flag] if flag else [])
            case FollowUpRecorded() as data:
                changes += self._propose(before, after, data, event, now)
            case _:
                pass
        return changes + Changes(counted=counted)

    def _consent(self, view: View, event: Event, data: ConsentChanged, now: datetime) -> Changes:
        before = _client(view, data.client_id)
        after = ledger.grant(before, event, data)
        changes = Changes(puts=[after])
        for case in view.having(Case, "client_id", data.client_id):
            changes += self._said_anew(case, case, before, after, event, now)
        return changes

    def _said_anew(
        self, before: Case, after: Case, client_before: Client, client: Client, event: Event, now: datetime
    ) -> Changes:
        """The case stored, and told to everyone if it stands otherwise than before."""
        stands = ledger.standing(after, client, policy_for(after, now, self._policies))
        # A record alone makes no case: follow-ups are of cases that were told before.
        is_known = before.revision or isinstance(event.data, FollowUpRecorded)
        then = policy_for(before, before.classified_at or now, self._policies)  # by which it was told
        if is_known and ledger.standing(before, client_before, then) == stands:
            return Changes(puts=[after])
        told = after.model_copy(
            update={
                "revision": before.revision + 1,
                "known_at": before.known_at or now,
                "classified_at": now,
                "cause": event.topic,
                "told_class": stands["case_class"],
            }
        )
        classified = ledger.classified(told, stands)
        return Changes(
            puts=[told],
            events=[derive(event.unique, SOURCE, classified, time=now, topic="case-classified")],
        )

    def _propose(
        self, before: Case, after: Case, data: FollowUpRecorded, event: Event, now: datetime
    ) -> Changes:
        """Key attention proposed because of a score: once for a follow-up, and not where a person has decided."""
        policy = policy_for(after, now, self._policies)
        said = ledger.proposal(after, policy)
        if said is None or said.event_id != event.id or said.source != event.source:
            return Changes()
        known = (*before.records.values(), *before.earlier.records)
        if any(one.follow_up_id == data.follow_up_id and ledger.severe(one, policy) for one in known):
            return Changes()
        proposal = AttentionChanged(
            case_id=after.id,
            client_id=after.client_id,
            reason=said.reason,
            state=said.state,
            decided_by=said.decided_by,
            at=said.at,
        )
        cause = f"attention {data.follow_up_id}"
        return Changes(events=[derive(cause, SOURCE, proposal, time=now, topic="attention-changed")])


def _client_of(event: Event) -> str:
    return str(getattr(event.data, "client_id", ""))


def _erase(view: View, client_id: str) -> Changes:
    """Nothing about the client stays but the mark that keeps late events out."""
    cases = view.having(Case, "client_id", client_id)
    gone = [
        *cases,
        *view.having(Line, "client_id", client_id),
        *view.having(Sheet, "client_id", client_id),
    ]
    forgotten = [Agreements(id=agreements.key_of(case.id), erased=True) for case in cases]
    return Changes(puts=[Client(id=client_id, erased=True), Erasure(id=client_id), *forgotten], removals=gone)


def _agreed(view: View, told: MilestoneReached) -> Changes:
    """What a client agreed to is kept; every other milestone is for others."""
    case_id = agreements.case_of(told) if told.milestone in agreements.HEEDED else None
    if case_id is None:
        return Changes()
    return Changes(puts=[_agreements(view, case_id).with_told(told)])


def _agreements(view: View, case_id: str) -> Agreements:
    nothing = Agreements.none_of(case_id)
    return view.get(Agreements, nothing.id) or nothing


def _client(view: View, client_id: str) -> Client:
    return view.get(Client, client_id) or Client(id=client_id)
