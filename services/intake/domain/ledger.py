"""The ledger of a case, and the class that follows from it.

The ledger keeps facts with the time they happened and derives everything from them, so the result does not depend
on the order in which events arrive: of two facts of one kind the one with the greater rank holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from shared.contracts.envelope import Event, Refused
from shared.contracts.events import (
    Attention,
    AttentionChanged,
    AttentionState,
    CaseClass,
    CaseClassified,
    CaseClosed,
    CaseOpened,
    CaseStatus,
    ClientDropped,
    ConsentChanged,
    Consents,
    Service,
    SessionCompleted,
)
from shared.contracts.facts import Fact, holding
from shared.contracts.types import EARLIEST
from shared.mongo.documents import Document

IN_COUNSELLING_FROM = 3
"""F12: in counselling from the third completed session on."""

COUNSELLOR = "counsellor"
"""Who decided where a counsellor's own mark or closing evaluation calls for key attention."""


class Opening(Fact):
    opened_at: datetime
    service: Service
    counsellor_id: str
    agreed_sessions: int
    enterprise_id: str | None = None


class Closing(Fact):
    closed_at: datetime
    below_expectation: bool


class Dropping(Fact):
    dropped_at: datetime


class Session(Fact):
    session_no: int
    ended_at: datetime
    marks: tuple[str, ...] = ()


class Said(Fact):
    """A statement on key attention."""

    reason: str
    state: AttentionState
    decided_by: str
    at: datetime


class Granted(Fact):
    """A client's word on one purpose."""

    allowed: bool


UNTIL_TOLD: dict[str, bool] = Consents().model_dump(by_alias=True)
"""What a client allows who has said nothing."""


class Client(Document):
    """What a client allows, purpose by purpose."""

    collection: ClassVar[str] = "clients"

    consents: Mapping[str, Granted] = {}
    erased: bool = False
    """The client was forgotten: what arrives late about the client is not taken."""

    def allows(self) -> dict[str, bool]:
        """The client's consents as they now stand, every purpose named."""
        return UNTIL_TOLD | {purpose: granted.allowed for purpose, granted in self.consents.items()}


class Case(Document):
    """The ledger of one case. `id` is the case id."""

    collection: ClassVar[str] = "cases"

    client_id: str
    revision: int = 0
    classified_at: datetime | None = None
    cause: str = ""
    opening: Opening | None = None
    closing: Closing | None = None
    dropping: Dropping | None = None
    attention: Said | None = None
    sessions: Mapping[str, Session] = {}

    def sessions_by_end(self) -> list[Session]:
        """The sessions in the order in which they ended, each once."""
        return sorted(self.sessions.values(), key=lambda session: (session.ended_at, session.session_no))


def record(case: Case, event: Event) -> Case:
    """The ledger with the event's fact in it; unchanged when a fact of a greater rank holds."""
    if case.client_id != event.data.client_id:  # type: ignore[attr-defined]
        raise Refused("client-mismatch", "data.client_id", "this case belongs to another client")
    match event.data:
        case CaseOpened() as data:
            fields = data.model_dump(
                include={"opened_at", "service", "counsellor_id", "agreed_sessions", "enterprise_id"}
            )
            return _holding(case, "opening", Opening.of(event, **fields))
        case CaseClosed() as data:
            below = data.outcome == "below-expectation"
            closing = Closing.of(event, closed_at=data.closed_at, below_expectation=below)
            return _holding(case, "closing", closing)
        case ClientDropped() as data:
            return _holding(case, "dropping", Dropping.of(event, dropped_at=data.dropped_at))
        case AttentionChanged() as data:
            fields = data.model_dump(include={"reason", "state", "decided_by", "at"})
            return _holding(case, "attention", Said.of(event, **fields))
        case SessionCompleted() as data:
            key = str(data.session_no)
            told = Session.of(event, session_no=data.session_no, ended_at=data.ended_at, marks=data.marks)
            session = holding(case.sessions.get(key), told)
            return case.model_copy(update={"sessions": {**case.sessions, key: session}})
        case _:
            return case


def _holding(case: Case, kind: str, fact: Fact) -> Case:
    return case.model_copy(update={kind: holding(getattr(case, kind), fact)})


def grant(client: Client, event: Event, data: ConsentChanged) -> Client:
    """The client with the purposes that the event names; one that it does not name keeps its last value."""
    consents = dict(client.consents)
    for purpose, allowed in data.purposes.model_dump(by_alias=True, exclude_none=True).items():
        consents[purpose] = holding(consents.get(purpose), Granted.of(event, allowed=allowed))
    return client.model_copy(update={"consents": consents})


def status(case: Case) -> CaseStatus:
    """Open, closed or dropped, by the ending that still holds.

    A later opening undoes an ending; a session after `dropped_at` means that the client returned, while one after
    `closed_at` reopens nothing. Where both endings hold, the later one does.
    """
    opened = case.opening.opened_at if case.opening else None
    closed = case.closing.closed_at if case.closing else None
    dropped = case.dropping.dropped_at if case.dropping else None
    if closed and opened and opened > closed:
        closed = None
    if dropped and opened and opened > dropped:
        dropped = None
    if dropped and any(session.ended_at > dropped for session in case.sessions.values()):
        dropped = None
    if closed and dropped:
        return "dropped" if dropped > closed else "closed"
    return "closed" if closed else "dropped" if dropped else "open"


def attention(case: Case) -> Attention | None:
    """Key attention (F13) by the statement that holds: said outright, marked in a session, or seen at closing.

    A counsellor's own mark or closing evaluation is a decision, not a proposal (collision 6).
    """
    said = max(_statements(case), key=lambda statement: statement.rank, default=None)
    if said is None:
        return None
    return Attention(reason=said.reason, state=said.state, decided_by=said.decided_by, since=said.at)


def _statements(case: Case) -> Iterable[Said]:
    if case.attention:
        yield case.attention
    for session in case.sessions.values():
        if session.marks:
            yield _decided(session, session.marks[0], session.ended_at)
    if case.closing and case.closing.below_expectation:
        yield _decided(case.closing, "below-expectation", case.closing.closed_at)


def _decided(fact: Fact, reason: str, at: datetime) -> Said:
    return Said(
        time=fact.time,
        source=fact.source,
        event_id=fact.event_id,
        reason=reason,
        state="decided",
        decided_by=COUNSELLOR,
        at=at,
    )


def case_class(case: Case) -> CaseClass:
    """F11-F14. Key attention comes before closed and in counselling (collision 3), dropped before everything."""
    now_status = status(case)
    if now_status == "dropped":
        return "dropped"
    said = attention(case)
    if said and said.state != "lifted":
        return "key-attention"
    if now_status == "closed":
        return "closed"
    return "in-counselling" if len(case.sessions) >= IN_COUNSELLING_FROM else "new"


def standing(case: Case, client: Client) -> dict[str, Any]:
    """How the case stands, whole: all that is said of it but when and why. An ending that was undone stays told: it is
    still a fact."""
    opening = case.opening
    return {
        "case_class": case_class(case),
        "status": status(case),
        "session_ends": tuple(
            {"session_no": session.session_no, "ended_at": session.ended_at}
            for session in case.sessions_by_end()
        ),
        "attention": attention(case),
        "service": opening.service if opening else None,
        "counsellor_id": opening.counsellor_id if opening else None,
        "enterprise_id": opening.enterprise_id if opening else None,
        "agreed_sessions": opening.agreed_sessions if opening else None,
        "opened_at": opening.opened_at if opening else None,
        "closed_at": case.closing.closed_at if case.closing else None,
        "dropped_at": case.dropping.dropped_at if case.dropping else None,
        "consents": client.allows(),
    }


def classified(case: Case, stands: Mapping[str, Any]) -> CaseClassified:
    """What is told of a case that stands so."""
    return CaseClassified(
        case_id=case.id,
        client_id=case.client_id,
        revision=max(case.revision, 1),
        as_of=case.classified_at or EARLIEST,
        cause=case.cause or "case-opened",
        **stands,
    )
