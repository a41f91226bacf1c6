"""Consultation event -> fact in the ledger -> `case-classified`, when the case has changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.intake import domain
from services.intake.domain import Case, Client
from services.intake.store import Store
from shared.contracts.envelope import Event, derive
from shared.contracts.events import ClientErased, ConsentChanged
from shared.mongo.client import Session
from shared.mongo.documents import Changes, View
from shared.mongo.erasure import Erasure

SOURCE = "/aftercare/intake"


class IntakeReactions:
    """What intake does about each consultation event."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def read(self, session: Session, events: Sequence[Event]) -> View:
        return await self._store.concerning(session, events)

    def decide(self, view: View, event: Event, now: datetime) -> Changes:
        match event.data:
            case ClientErased(client_id=client_id):
                return _erase(view, client_id)
            case _ if (known := view.get(Client, _client_of(event))) and known.erased:
                return Changes()  # too late: the client has been forgotten
            case ConsentChanged() as data:
                return _consent(view, event, data, now)
            case data if getattr(data, "case_id", None):
                return _fact(view, event, now)
            case _:
                return Changes()


def _client_of(event: Event) -> str:
    return str(event.data.client_id)  # type: ignore[attr-defined]


def _fact(view: View, event: Event, now: datetime) -> Changes:
    case_id = str(event.data.case_id)  # type: ignore[attr-defined]
    client_id = _client_of(event)
    before = view.get(Case, case_id) or Case(id=case_id, client_id=client_id)
    client = _client(view, client_id)
    after = domain.record(before, event)
    return _said_anew(before, after, client, client, event, now)


def _consent(view: View, event: Event, data: ConsentChanged, now: datetime) -> Changes:
    before = _client(view, data.client_id)
    after = domain.grant(before, event, data)
    changes = Changes(puts=[after])
    for case in view.having(Case, "client_id", data.client_id):
        changes += _said_anew(case, case, before, after, event, now)
    return changes


def _said_anew(
    before: Case, after: Case, client_before: Client, client: Client, event: Event, now: datetime
) -> Changes:
    """The case stored, and told to everyone if it stands otherwise than before."""
    stands = domain.standing(after, client)
    if before.revision and domain.standing(before, client_before) == stands:
        return Changes(puts=[after])
    told = after.model_copy(
        update={"revision": before.revision + 1, "classified_at": now, "cause": event.topic}
    )
    classified = domain.classified(told, stands)
    return Changes(
        puts=[told], events=[derive(event.unique, SOURCE, classified, time=now, topic="case-classified")]
    )


def _erase(view: View, client_id: str) -> Changes:
    """Nothing about the client stays but the mark that keeps late events out."""
    cases = view.having(Case, "client_id", client_id)
    return Changes(puts=[Client(id=client_id, erased=True), Erasure(id=client_id)], removals=cases)


def _client(view: View, client_id: str) -> Client:
    return view.get(Client, client_id) or Client(id=client_id)
