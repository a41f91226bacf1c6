"""The ledger of a case, and the class that follows from it.

The ledger keeps facts with the time they happened and derives everything from them, so the result does not depend
on the order in which events arrive: of two facts of one kind the one with the greater rank holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from services.intake.domain.eligibility import refusals
from services.intake.domain.facts import Closing, Dropping, Granted, Opening, Recorded, Said, Session
from shared.contracts.envelope import Event, Refused
from shared.contracts.events import (
    Attention,
    AttentionChanged,
    CaseClass,
    CaseClassified,
    CaseClosed,
    CaseOpened,
    CaseStatus,
    ClientDropped,
    ConsentChanged,
    Consents,
    FollowUpRecorded,
    SessionCompleted,
)
from shared.contracts.facts import F, Fact, holding
from shared.contracts.types import EARLIEST
from shared.mongo.documents import Document
from shared.policy.model import Policy

IN_COUNSELLING_FROM = 3
"""F12: in counselling from the third completed session on."""

COUNSELLOR = "counsellor"
"""Who decided where a counsellor's own mark or closing evaluation calls for key attention."""

MACHINE = "machine"
"""Who proposed where a follow-up's scores call for key attention: no person did (collision 6)."""


UNTIL_TOLD: dict[str, bool] = Consents().model_dump(by_alias=True)
"""What a client allows who has said nothing."""


class Client(Document):
    """What a client allows, purpose by purpose."""

    collection: ClassVar[str] = "clients"

    consents: Mapping[str, Granted] = {}
    earlier: Mapping[str, tuple[Granted, ...]] = Field(default_factory=dict)
    """Words that no longer hold, by purpose: what held at an instant can still be told."""
    erased: bool = False
    """The client was forgotten: what arrives late about the client is not taken."""

    def allows(self) -> dict[str, bool]:
        """The client's consents as they now stand, every purpose named."""
        return UNTIL_TOLD | {purpose: granted.allowed for purpose, granted in self.consents.items()}

    def as_of(self, end: datetime) -> Self:
        """What the client had allowed by the words before an instant, whenever they arrived."""
        then = {
            purpose: said
            for purpose, now in self.consents.items()
            if (said := _newest([now, *self.earlier.get(purpose, ())], end))
        }
        return self.model_copy(update={"consents": then})


class Earlier(BaseModel):
    """Facts of a case that another one of their kind outranks: what held at an instant can still be told."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    opening: tuple[Opening, ...] = ()
    closing: tuple[Closing, ...] = ()
    dropping: tuple[Dropping, ...] = ()
    attention: tuple[Said, ...] = ()
    sessions: tuple[Session, ...] = ()
    records: tuple[Recorded, ...] = ()


NOTHING_EARLIER = Earlier()


class Case(Document):
    """The ledger of one case. `id` is the case id."""

    collection: ClassVar[str] = "cases"

    client_id: str
    revision: int = 0
    known_at: datetime | None = None
    """When the case was told of for the first time."""
    classified_at: datetime | None = None
    cause: str = ""
    told_class: CaseClass | None = None
    """The class as it was last told, by which the ledger is filtered."""
    opening: Opening | None = None
    closing: Closing | None = None
    dropping: Dropping | None = None
    attention: Said | None = None
    sessions: Mapping[str, Session] = {}
    records: Mapping[str, Recorded] = Field(default_factory=dict)
    """Follow-up id to how it ended."""
    earlier: Earlier = Field(default_factory=lambda: NOTHING_EARLIER)

    def sessions_by_end(self) -> list[Session]:
        """The sessions in the order in which they ended, each once."""
        return sorted(self.sessions.values(), key=lambda session: (session.ended_at, session.session_no))

    def facts(self) -> Iterator[tuple[str, Fact]]:
        """The facts that hold, each with the topic that told it."""
        for kind, topic in _ONE_OF_A_KIND.items():
            fact = getattr(self, kind)
            if fact is not None:
                yield topic, fact
        yield from (("session-completed", session) for session in self.sessions.values())
        yield from (("follow-up-recorded", record) for record in self.records.values())

    def as_of(self, end: datetime) -> Self | None:
        """The case by the facts before an instant, whenever they arrived; None where there were none (F15)."""
        update: dict[str, Any] = {
            kind: _newest([getattr(self, kind), *getattr(self.earlier, kind)], end) for kind in _ONE_OF_A_KIND
        }
        for kind, key in (("sessions", "session_no"), ("records", "follow_up_id")):
            known = [*getattr(self, kind).values(), *getattr(self.earlier, kind)]
            told = sorted((fact for fact in known if fact.time < end), key=lambda fact: fact.rank)
            update[kind] = {str(getattr(fact, key)): fact for fact in told}
        then = self.model_copy(update=update)
        last = max(then.facts(), key=lambda told: told[1].rank, default=None)
        return then.model_copy(update={"cause": last[0]}) if last else None


_ONE_OF_A_KIND: Mapping[str, str] = {
    "opening": "case-opened",
    "closing": "case-closed",
    "dropping": "client-dropped",
    "attention": "attention-changed",
}
"""Kinds of fact of which a case has one that holds, and their topics."""


def _newest(facts: Iterable[Fact | None], end: datetime) -> Fact | None:
    known = [fact for fact in facts if fact is not None and fact.time < end]
    return max(known, key=lambda fact: fact.rank, default=None)


def record(case: Case, event: Event) -> Case:
    """The ledger with the event's fact in it; unchanged when a fact of a greater rank holds."""
    if case.client_id != event.data.client_id:  # type: ignore[attr-defined]
        raise Refused("client-mismatch", "data.client_id", "this case belongs to another client")
    match event.data:
        case CaseOpened() as data:
            fields = data.model_dump(
                include={"opened_at", "service", "counsellor_id", "agreed_sessions", "enterprise_id"}
            )
            return _holding(case, "opening", Opening.of(event, **fields, **data.eligibility.model_dump()))
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
            fields = data.model_dump(include={"session_no", "mode", "started_at", "ended_at", "marks"})
            return _holding(case, "sessions", Session.of(event, **fields), str(data.session_no))
        case FollowUpRecorded() as data:
            fields = data.model_dump(include={"follow_up_id", "conducted_at", "bands"})
            return _holding(case, "records", Recorded.of(event, **fields), data.follow_up_id)
        case _:
            return case


def _holding(case: Case, kind: str, told: Fact, key: str | None = None) -> Case:
    """The case with a fact in its place (under `key`, where the kind has several); the outranked one is kept."""
    known = getattr(case, kind) if key is None else getattr(case, kind).get(key)
    held = holding(known, told)
    update: dict[str, Any] = {kind: held if key is None else {**getattr(case, kind), key: held}}
    if known is not None:
        outranked = _by_rank(*getattr(case.earlier, kind), known if held is told else told)
        update["earlier"] = case.earlier.model_copy(update={kind: outranked})
    return case.model_copy(update=update)


def _by_rank(*facts: F) -> tuple[F, ...]:
    """In one order, whichever came first."""
    return tuple(sorted(facts, key=lambda fact: fact.rank))


def grant(client: Client, event: Event, data: ConsentChanged) -> Client:
    """The client with the purposes that the event names; one that it does not name keeps its last value."""
    consents, earlier = dict(client.consents), dict(client.earlier)
    for purpose, allowed in data.purposes.model_dump(by_alias=True, exclude_none=True).items():
        known, told = consents.get(purpose), Granted.of(event, allowed=allowed)
        consents[purpose] = held = holding(known, told)
        if known is not None:
            earlier[purpose] = _by_rank(*earlier.get(purpose, ()), known if held is told else told)
    return client.model_copy(update={"consents": consents, "earlier": earlier})


def status(case: Case, policy: Policy) -> CaseStatus:
    """Referred where a gate refuses the opening that holds (W23, W26, W28), whatever its ending; else the ending."""
    return "referred" if refusals(case.opening, policy.eligibility) else ending(case)


def ending(case: Case) -> CaseStatus:
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


def attention(case: Case, policy: Policy) -> Attention | None:
    """Key attention (F13) by the statement that holds: said outright, marked in a session, seen at closing, or
    proposed by a machine.

    A counsellor's own mark or closing evaluation is a decision, not a proposal. Until a person decides on a proposal
    the stricter plan applies, unless the policy has proposals wait (collision 6).
    """
    said = _holding_statement(case, policy, proposals=policy.switches.proposed_attention == "counts")
    if said is None:
        return None
    return Attention(reason=said.reason, state=said.state, decided_by=said.decided_by, since=said.at)


def proposal(case: Case, policy: Policy) -> Said | None:
    """What a person still has to decide on; None where nothing is proposed, or a person has decided since."""
    said = _holding_statement(case, policy, proposals=True)
    return said if said and said.state == "proposed" else None


def _holding_statement(case: Case, policy: Policy, *, proposals: bool) -> Said | None:
    said = max(
        (one for one in _statements(case) if proposals or one.state != "proposed"),
        key=lambda statement: statement.rank,
        default=None,
    )
    if not proposals or (said and said.state == "decided"):
        return said  # what a person decided stays decided: a score has nothing to add
    found = _inferred(case, policy) if case.records else None
    return found if found and (said is None or found.rank > said.rank) else said


def _inferred(case: Case, policy: Policy) -> Said | None:
    """The newest follow-up at which the client was severely affected, as a proposal of that moment (collision 6).

    Its rank is the time of the follow-up: whoever lifts attention after it has decided on it, though its record may
    come later.
    """
    return max(
        (
            Said(
                time=record.conducted_at,
                source=record.source,
                event_id=record.event_id,
                reason=reason,
                state="proposed",
                decided_by=MACHINE,
                at=record.conducted_at,
            )
            for record in case.records.values()
            if (reason := severe(record, policy))
        ),
        key=lambda said: said.rank,
        default=None,
    )


def severe(record: Recorded, policy: Policy) -> str | None:
    """Which scale is in a band that the policy calls severe (F13), `phq-9-severe`; None where none is."""
    found = (
        f"{row.scale}-{record.bands[row.scale]}"
        for row in policy.attention.severe
        if record.bands.get(row.scale) in row.bands
    )
    return next(found, None)


def _statements(case: Case) -> Iterable[Said]:
    if case.attention:
        yield case.attention
    yield from case.earlier.attention  # where proposals wait, what was decided before one still holds
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


def case_class(case: Case, policy: Policy) -> CaseClass:
    """F11-F14. Key attention comes before closed and in counselling (collision 3), dropped before everything."""
    return _class(case, attention(case, policy))


def _class(case: Case, said: Attention | None) -> CaseClass:
    ended = ending(case)
    if ended == "dropped":
        return "dropped"
    if said and said.state != "lifted":
        return "key-attention"
    if ended == "closed":
        return "closed"
    return "in-counselling" if len(case.sessions) >= IN_COUNSELLING_FROM else "new"


def standing(case: Case, client: Client, policy: Policy) -> dict[str, Any]:
    """How the case stands, whole: all that is said of it but when and why. An ending that was undone stays told: it is
    still a fact."""
    opening, said = case.opening, attention(case, policy)
    return {
        "case_class": _class(case, said),
        "status": status(case, policy),
        "session_ends": tuple(
            {"session_no": session.session_no, "ended_at": session.ended_at}
            for session in case.sessions_by_end()
        ),
        "attention": said,
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
