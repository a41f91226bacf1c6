"""An incident from its first flag to its end, and who must be paged when. Pure: time is an argument.

An incident is the fold of its timeline. Every line of a timeline has an id that says what it stands for, so that
two versions of one incident (two replicas, memory and database) are merged by the union of their lines, and doing
something twice writes it down once.

Three clocks run, none of which a storage can hold up:

- the chain (F59): person on call, second, head, everyone, and again, until a person acknowledges;
- the head of the psychological department is told within 10 minutes in any case, acknowledged or not (F59);
- acknowledged, but no intervention within 30 minutes of the flag: the chain starts again (A30).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from services.crisis.record import Head
from shared.contracts.envelope import Event
from shared.contracts.events import CrisisFlagged, EscalationRequired, IncidentChanged
from shared.mongo.documents import Document
from shared.policy.model import CrisisChain, CrisisStep

State = Literal["opened", "acknowledged", "intervening", "resolved"]
Level = Literal["watch", "high", "imminent", "drill", "unknown"]
"""As flagged; `unknown` for a flag that could not be read, which is taken as seriously as the worst."""
Kind = Literal[
    "flagged",
    "escalated",  # the chain went on to a later step, or a worse flag came
    "paged",
    "page-failed",
    "repeated",  # a page that somebody may have got before
    "delivered",  # a provider says that a text has arrived
    "undelivered",  # or that it, or a call, has not
    "answered",  # or that a call was taken
    "key-pressed",  # or which key was pressed on it
    "unanswered",  # the whole chain brought nobody
    "lapsed",  # acknowledged, but nobody intervened in time (A30)
    "acknowledged",
    "joined",  # a further person helps
    "intervening",
    "assessed",  # a step of the assessment was done (A29)
    "referred",  # to a hospital or an agency (A31)
    "responded",  # which answered
    "resolved",
    "reopened",
]
AssessmentStep = Literal["first-assessment", "in-depth-interview", "risk-assessment"]
"""A29: the three steps of an assessment."""
Doubt = Literal[
    "sent-before",  # a replica had begun to send it and has not said how that ended
    "no-answer",  # a provider did not answer the attempt before, and may have taken it
    "unclaimed",  # the database was away: other replicas could not be asked, and sent it as well
]
"""Why a page may have come twice."""
Agency = Literal["hospital", "social-agency"]

Change = Literal[
    "opened", "paged", "page-failed", "acknowledged", "intervening", "escalated", "resolved", "reopened"
]

UNKNOWN = "unknown"
"""Stands for the client of a flag that could not be read."""
ERASED = "erased"
"""Stands for a client whose data had to go."""
NOBODY = {"client_id": ERASED, "case_id": None, "follow_up_id": None, "digest": ""}
"""What remains of whom a flag was about. Its digest is a hash of all it said: the client could be tried out on it."""

RANK: dict[Level, int] = {"drill": 0, "watch": 1, "high": 2, "imminent": 3, "unknown": 3}

HEAD_MARGIN = timedelta(minutes=1)
"""F59 says *told* within 10 minutes: the page leaves this much earlier, so that retries still fit."""
GRACE = timedelta(minutes=10)
"""Who acknowledges only after A30's time is up gets this long before the chain starts again."""
HEAD_RETRIES_ONCE_RESOLVED = 5
SHORTEST_STAGE, LONGEST_STAGE = 5.0, 45.0
"""Seconds that a page over the later channels of a step may take."""

MANY_FLAGS = 100
"""An incident with more flags than this (a sender that runs wild) keeps of those that changed nothing the newest."""
NEWEST_FLAGS = 20


class Value(BaseModel):
    """A frozen part of a document."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Flag(Value):
    """What a crisis flag said, or where the one came from that could not be read."""

    unique: str
    digest: str
    client_id: str
    level: Level
    flagged_at: datetime
    received_at: datetime
    case_id: str | None = None
    follow_up_id: str | None = None
    source: str | None = None
    signals: tuple[str, ...] = ()
    origin: str | None = None
    """Of an unreadable flag: `topic[partition]@offset`, or `http`."""
    trace: str | None = None
    """The W3C `traceparent` of the flag, carried on by pages and events."""

    @property
    def name(self) -> str:
        return _hash(self.unique)


class Contact(Value):
    """One person for whom a provider took a page."""

    person: str
    channel: str
    """The channel's kind, with its provider where it has several: `wecom`, `voice-aliyun`."""
    after: float = 0.0
    """The stage that reached them, by the seconds after which it is used."""
    later: tuple[float, ...] = ()
    """The stages that they have not been tried over, in the same way."""
    reference: str | None = None
    """The provider's id for it, by which its receipts come."""


Received = Literal["delivered", "undelivered", "answered", "key-pressed"]
"""What a provider tells later about a page that it took."""
ACKNOWLEDGE_KEY = "1"
"""Pressed on a call, it acknowledges."""


class Moment(Value):
    """One line of a timeline."""

    id: str
    seq: int
    at: datetime
    kind: Kind
    by: str | None = None
    run: int = 0
    round: int = 0
    index: int = -1
    """Position in the chain; -1 for what lies outside it."""
    step: str | None = None
    role: str | None = None
    channel: str | None = None
    note: str | None = None
    reached: int = 0
    stage: float = 0.0
    """Of a page: seconds after the first of its step, for the later channels of those whom that reached."""
    contacts: tuple[Contact, ...] = ()
    """Whom a page reached, and how."""
    flag: Flag | None = None

    @property
    def order(self) -> tuple[datetime, int, str]:
        return (self.at, self.seq, self.id)


class Deadline(Value):
    """What an escalation of another service is about: paged like an incident, without a client."""

    rule: str
    clause: str
    role: str
    subject: str
    reason: str
    due_at: datetime
    case_id: str | None = None


class Incident(Document):
    """One crisis, drill or escalated deadline with everything that was done about it."""

    collection: ClassVar[str] = "incidents"

    client_id: str
    drill: bool = False
    deadline: Deadline | None = None
    aliases: tuple[str, ...] = ()
    """Ids under which other replicas opened it before they knew of each other; links to them stay good."""
    timeline: tuple[Moment, ...] = ()

    state: State = "opened"
    level: Level = "unknown"
    awaiting: bool = True
    """Somebody must (again) acknowledge: the chain runs."""
    opened_at: datetime | None = None
    since: datetime | None = None
    """When the flag was raised: F59 and A30 count from here."""
    run: int = 0
    run_at: datetime | None = None
    reopenings: int = 0
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    intervening_at: datetime | None = None
    resolved_at: datetime | None = None
    head_told_at: datetime | None = None
    head_tries: int = 0
    head_tried_at: datetime | None = None
    worse: str | None = None
    """A worse flag that those already paged have not been told of yet."""
    erase: bool = False
    """The client asked to be erased while the incident was open: done as soon as it is resolved."""
    next_at: datetime | None = None
    """The next step, as last written down."""
    flags_written: int = 0
    """How many flags stand in the record: of very many, the incident itself does not keep all (`pruned`)."""
    record: Head | None = None
    """Where the chain of what is written down ends (record.py); None before anything is."""

    @property
    def crisis(self) -> bool:
        """Neither a drill nor an escalated deadline: F59 and A30 hold, and others are told of it."""
        return not self.drill and self.deadline is None

    @property
    def open(self) -> bool:
        return self.state != "resolved"

    @property
    def sole(self) -> bool:
        """An open crisis, of which a client has one."""
        return self.open and self.crisis and self.client_id != ERASED

    @property
    def case_id(self) -> str | None:
        cases = [m.flag.case_id for m in self.timeline if m.flag and m.flag.case_id]
        return cases[-1] if cases else None

    @property
    def flags(self) -> tuple[Flag, ...]:
        return tuple(moment.flag for moment in self.timeline if moment.flag)

    def to_mongo(self) -> dict[str, Any]:
        """With the fields that are only there to be found by."""
        return super().to_mongo() | {"open": self.open, "sole": self.sole}


class NotPossible(Exception):
    """A command that the incident's state does not allow; the message says what to do instead."""


@dataclass(frozen=True)
class Page:
    """A page that must go out now, to everyone who has one of the roles."""

    key: str
    """Unique within the incident: sending it again writes nothing new."""
    roles: tuple[str, ...]
    step: str
    run: int = 0
    round: int = 0
    index: int = -1
    opens: bool = False
    """Whether it is the first of its round."""
    stage: float = 0.0
    """Seconds after the step's first page, for the later channels of those whom it reached."""
    people: tuple[str, ...] = ()
    """Of a later stage: who it goes to, whatever roles they have by now."""
    within: float | None = None
    """Of a later stage: so many seconds it has, so that it does not hold up the chain."""


# --- opening and joining --------------------------------------------------------------------------------------


def read_flag(event: Event, data: CrisisFlagged, now: datetime) -> Flag:
    """A flag as it arrived. One that claims the future counts from its arrival."""
    return Flag(
        unique=event.unique,
        digest=event.digest(),
        client_id=data.client_id,
        level=data.level,
        flagged_at=min(data.flagged_at, now),
        received_at=now,
        case_id=data.case_id,
        follow_up_id=data.follow_up_id,
        source=data.source,
        signals=data.signals,
        trace=event.traceparent,
    )


def unreadable_flag(identity: str, origin: str, now: datetime) -> Flag:
    """Stands for a flag that could not be read: it pages like the worst."""
    name = f"unreadable {_hash(identity)}"
    return Flag(
        unique=name, digest=name, client_id=UNKNOWN, level="unknown",
        flagged_at=now, received_at=now, origin=origin,
    )  # fmt: skip


def open_incident(flag: Flag) -> Incident:
    """A new incident. Its id follows from the flag: the same flag by bus and by HTTP is one incident. It does not
    follow from the client, who may be erased and must not be found by trying out ids."""
    drill = flag.level == "drill"
    key = _hash(f"incident {flag.unique}")
    return join(Incident(id=key, client_id=flag.client_id, drill=drill, awaiting=False), flag)


def join(incident: Incident, flag: Flag) -> Incident:
    """The incident with one more flag; one that it has already changes nothing."""
    return extend(incident, [_line(incident, f"flagged {flag.name}", "flagged", flag.received_at, flag=flag)])


def joins(incident: Incident, flag: Flag) -> bool:
    """Whether a flag belongs to this incident: same client, still open, and drills among themselves."""
    return (
        incident.open
        and incident.deadline is None
        and incident.client_id == flag.client_id
        and incident.drill == (flag.level == "drill")
    )


def open_deadline(event: Event, data: EscalationRequired, now: datetime) -> Incident:
    """A missed deadline that must page: it has a chain and an acknowledgement, and no client."""
    deadline = Deadline(
        rule=data.rule, clause=data.clause, role=data.role, subject=data.subject,
        reason=data.reason, due_at=data.due_at, case_id=data.case_id,
    )  # fmt: skip
    flag = Flag(
        unique=f"escalation {data.escalation_id}", digest=event.digest(), client_id="", level="high",
        flagged_at=now, received_at=now,
    )  # fmt: skip
    return join(Incident(id=deadline_id(data), client_id="", deadline=deadline, awaiting=False), flag)


def deadline_id(data: EscalationRequired) -> str:
    """The id under which an escalated deadline is kept."""
    return _hash(f"deadline {data.escalation_id}")


# --- the fold -------------------------------------------------------------------------------------------------


def extend(incident: Incident, moments: Iterable[Moment]) -> Incident:
    """The incident with further lines in its timeline; known ones change nothing, order does not matter."""
    known = {moment.id for moment in incident.timeline}
    fresh = sorted((m for m in moments if m.id not in known), key=lambda moment: moment.order)
    if not fresh:
        return incident
    if incident.timeline and fresh[0].order < incident.timeline[-1].order:
        fresh = sorted((*incident.timeline, *fresh), key=lambda moment: moment.order)
        incident = _blank(incident)
    timeline = (*incident.timeline, *fresh)
    for moment in fresh:
        incident = _evolve(incident, moment)
    return incident.model_copy(update={"timeline": timeline})


def merge(stored: Incident, other: Incident) -> Incident:
    """Two versions of one incident: the stored one's id and marks, the lines of both."""
    merged = extend(stored, other.timeline)
    aliases = dict.fromkeys((*stored.aliases, other.id, *other.aliases))
    return merged.model_copy(
        update={
            "aliases": tuple(alias for alias in aliases if alias != stored.id),
            "erase": stored.erase or other.erase,
        }
    )


def retold(incident: Incident, lines: Iterable[Moment]) -> Incident:
    """The incident as these lines tell it, whatever it says of itself: to prove the one by the other."""
    return extend(_blank(incident), lines)


def _blank(incident: Incident) -> Incident:
    return Incident(
        id=incident.id, client_id=incident.client_id, drill=incident.drill, deadline=incident.deadline,
        aliases=incident.aliases, erase=incident.erase, awaiting=False, record=incident.record,
        flags_written=incident.flags_written,
    )  # fmt: skip


def _evolve(incident: Incident, moment: Moment) -> Incident:
    """The state after one more line; the timeline itself is left to the caller, who has many to add."""
    change = _effect(incident, moment)
    return incident.model_copy(update=change) if change else incident


def _effect(incident: Incident, moment: Moment) -> dict[str, Any]:
    change: dict[str, Any] = {}
    match moment.kind:
        case "flagged":
            change |= _flagged(incident, moment)
        case "paged" | "page-failed":
            change |= _paged(incident, moment)
        case "lapsed":
            change |= _start(incident, moment.at)
        case "acknowledged":
            change |= {"awaiting": False, "acknowledged_at": moment.at, "worse": None}
            change["acknowledged_by"] = moment.by
            if incident.state == "opened":
                change["state"] = "acknowledged" if incident.crisis else "resolved"
                change["resolved_at"] = None if incident.crisis else moment.at
        case "intervening":
            change |= {"state": "intervening", "awaiting": False, "worse": None}
            change["intervening_at"] = moment.at
        case "resolved":
            change |= {"state": "resolved", "awaiting": False, "resolved_at": moment.at, "worse": None}
        case "reopened":
            change |= _reopened(incident, moment.at)
        case "escalated" | "repeated" | "unanswered" | "assessed" | "referred" | "responded" | "joined":
            pass  # told to others; it moves nothing
        case "delivered" | "undelivered" | "answered" | "key-pressed":
            pass  # only noted: a key that acknowledges has a line of its own for that
    return change


def _flagged(incident: Incident, moment: Moment) -> dict[str, Any]:
    flag = moment.flag
    assert flag is not None
    if incident.opened_at is None:
        change = _start(incident, moment.at)
        return change | {"opened_at": moment.at, "since": flag.flagged_at, "level": flag.level}
    if not incident.open:
        return _reopened(incident, moment.at) | {"level": flag.level}
    worse = RANK[flag.level] > RANK[incident.level]
    # An unreadable flag may speak of another person than the one acknowledged.
    again = not incident.awaiting and (worse or flag.level == "unknown")
    change = {"level": flag.level} if worse else {}
    if again:
        return change | _start(incident, moment.at)
    return change | ({"worse": flag.name} if worse else {})


def _paged(incident: Incident, moment: Moment) -> dict[str, Any]:
    change: dict[str, Any] = {}
    if moment.note and moment.note.startswith("worse "):
        change["worse"] = None
    if moment.step == "head" and incident.head_told_at is None:
        if moment.kind == "paged":
            change["head_told_at"] = moment.at
        change |= {"head_tries": incident.head_tries + 1, "head_tried_at": moment.at}
    return change


def _start(incident: Incident, at: datetime) -> dict[str, Any]:
    return {"awaiting": True, "run": incident.run + 1, "run_at": at, "worse": None}


def _reopened(incident: Incident, at: datetime) -> dict[str, Any]:
    """A reopened incident has all its clocks anew."""
    return _start(incident, at) | {
        "state": "opened",
        "since": at,
        "reopenings": incident.reopenings + 1,
        "acknowledged_at": None,
        "acknowledged_by": None,
        "intervening_at": None,
        "resolved_at": None,
        "head_told_at": None,
        "head_tries": 0,
        "head_tried_at": None,
    }


# --- what people do -------------------------------------------------------------------------------------------


def acknowledge(incident: Incident, by: str, now: datetime) -> Incident:
    """Somebody takes it up: the chain stops, the clocks of F59 (head) and A30 go on. Repeating is harmless."""
    if not incident.awaiting:
        return incident
    return extend(incident, [_line(incident, f"acknowledged {incident.run}", "acknowledged", now, by=by)])


def intervene(incident: Incident, by: str, now: datetime) -> Incident:
    """Guidance or safety measures have begun (A30); acknowledges as well. Raises NotPossible once resolved."""
    if not incident.open:
        raise NotPossible("the incident is resolved: reopen it first")
    if incident.state == "intervening" and not incident.awaiting:
        return incident
    incident = acknowledge(incident, by, now)
    if not incident.open:  # a drill or a deadline ends with its acknowledgement
        return incident
    key = f"intervening {incident.run}"
    return extend(incident, [_line(incident, key, "intervening", now, by=by)])


def receive(incident: Incident, contact: Contact, what: Received, now: datetime, key: str = "") -> Incident:
    """What a provider tells about a page of an open incident; the right key acknowledges as that person.

    Repeating is harmless: a key counts once for each call, also when the chain has begun anew since.
    """
    line_key = f"{what} {contact.reference}"
    if not incident.open or any(moment.id == line_key for moment in incident.timeline):
        return incident
    line = _line(incident, line_key, what, now, by=contact.person, channel=contact.channel)
    incident = extend(incident, [line])
    if what == "key-pressed" and key.startswith(ACKNOWLEDGE_KEY):
        return acknowledge(incident, contact.person, now)
    return incident


def assess(incident: Incident, by: str, now: datetime, step: AssessmentStep) -> Incident:
    """A step of the assessment was done (A29)."""
    return _noted(incident, "assessed", step, by, now)


def refer(incident: Incident, by: str, now: datetime, to: Agency) -> Incident:
    """A hospital or an agency was asked to help (A31)."""
    return _noted(incident, "referred", f"referred-{to}", by, now)


def respond(incident: Incident, by: str, now: datetime, whose: Agency) -> Incident:
    """It answered (A31). Raises NotPossible as well where it was not asked."""
    if not any(moment.step == f"referred-{whose}" for moment in incident.timeline):
        raise NotPossible("nobody was referred there: tell the referral first")
    return _noted(incident, "responded", f"responded-{whose}", by, now)


def take_part(incident: Incident, by: str, now: datetime) -> Incident:
    """A further person helps whoever has taken it up; with nobody there yet, that is who takes it up. Repeating is
    harmless. Raises NotPossible once resolved."""
    if incident.open and not incident.awaiting and incident.acknowledged_by == by:
        return incident
    before, incident = incident, _taken_up(incident, by, now)
    if before.awaiting or not incident.open:
        return incident
    key = f"joined {incident.reopenings} {by}"
    return extend(incident, [_line(incident, key, "joined", now, by=by, step="joined")])


def _noted(incident: Incident, kind: Kind, step: str, by: str, now: datetime) -> Incident:
    """Something done while a crisis is open, once for each time that it opened; whoever does it has taken it up.
    Repeating is harmless. Raises NotPossible once resolved."""
    incident = _taken_up(incident, by, now)
    if not incident.open:  # a drill or a deadline ends with its acknowledgement
        return incident
    key = f"{kind} {incident.reopenings} {step}"
    return extend(incident, [_line(incident, key, kind, now, by=by, step=step)])


def _taken_up(incident: Incident, by: str, now: datetime) -> Incident:
    if not incident.open:
        raise NotPossible("the incident is resolved: reopen it first")
    return acknowledge(incident, by, now)


def resolve(incident: Incident, by: str, now: datetime, outcome: str | None = None) -> Incident:
    """The person is safe; `outcome` is a code. Repeating is harmless."""
    if not incident.open:
        return incident
    key = f"resolved {incident.reopenings}"
    return extend(incident, [_line(incident, key, "resolved", now, by=by, note=outcome)])


def reopen(incident: Incident, by: str, now: datetime) -> Incident:
    """It was not over: everything starts again, F59 and A30 included. Repeating is harmless."""
    if incident.open:
        return incident
    key = f"reopened {incident.reopenings}"
    return extend(incident, [_line(incident, key, "reopened", now, by=by)])


# --- what time does -------------------------------------------------------------------------------------------


def settled(incident: Incident, chain: CrisisChain) -> bool:
    """Nothing will happen any more unless a person does something."""
    return not incident.open and _head_at(incident, chain) is None


def next_at(incident: Incident, chain: CrisisChain) -> datetime | None:
    """When something must happen next; never None while somebody must acknowledge."""
    instants = [_lapses_at(incident, chain), _head_at(incident, chain)]
    if incident.worse:
        instants.append(incident.timeline[-1].at)
    if incident.awaiting:
        instants.append(_position(incident, chain).at)
        instants += [at for at, _ in _later_stages(incident)]
    return min((instant for instant in instants if instant is not None), default=None)


def elapse(incident: Incident, chain: CrisisChain, now: datetime) -> Incident:
    """What became of the incident by time alone: A30 has lapsed, the chain stayed unanswered, a drill is over."""
    lapses_at = _lapses_at(incident, chain)
    if lapses_at is not None and lapses_at <= now:
        key = f"lapsed {incident.run}"
        incident = extend(incident, [_line(incident, key, "lapsed", now, step="no-intervention")])
    if not incident.awaiting:
        return incident
    place = _position(incident, chain)
    if place.round != 1 or not place.opens or place.at > now:
        return incident
    if incident.drill:
        # A forgotten drill must not page for ever: one round measures the whole path.
        return extend(
            incident, [_line(incident, f"resolved {incident.reopenings}", "resolved", now, step="drill-over")]
        )
    key = f"unanswered {incident.run}"
    line = _line(incident, key, "unanswered", now, run=incident.run)
    return extend(incident, [line])


def due(incident: Incident, chain: CrisisChain, now: datetime) -> tuple[Page, ...]:
    """The pages that must go out now. Call `elapse` first."""
    pages: list[Page] = []
    if incident.awaiting:
        place = _position(incident, chain)
        if place.at <= now:
            step = steps(incident, chain)[place.index]
            key = f"{incident.run}.{place.round}.{place.index}"
            pages.append(
                Page(key, (step.role,), step.name, incident.run, place.round, place.index, place.opens)
            )
    if incident.worse:
        roles = tuple(
            step.role
            for index, step in enumerate(steps(incident, chain))
            if _attempt(incident, incident.run, 0, index)
        )
        pages.append(Page(f"worse {incident.worse}", roles or (steps(incident, chain)[0].role,), "worse"))
    head = _head_at(incident, chain)
    if head is not None and head <= now and not pages:  # else the chain may be about to reach the head
        key = f"head {incident.reopenings}.{_tries_outside_chain(incident)}"
        pages.append(Page(key, (chain.head_role,), "head"))
    if incident.awaiting:
        within = _seconds_left(incident, chain, now)
        stages = (page for at, page in _later_stages(incident) if at <= now)
        pages += [dataclasses.replace(page, within=within) for page in stages]
    return tuple(pages)


def sent(
    incident: Incident,
    page: Page,
    now: datetime,
    channel: str,
    reached: int,
    contacts: tuple[Contact, ...] = (),
) -> Incident:
    """The page went out and a provider accepted it for `reached` people: the `contacts`, where they are known."""
    line = _page_line(incident, page, "paged", now)
    update = {"channel": channel, "reached": reached, "contacts": contacts}
    return extend(incident, [line.model_copy(update=update)])


def failed(incident: Incident, page: Page, now: datetime, reason: str) -> Incident:
    """The page reached nobody; `reason` is a code."""
    line = _page_line(incident, page, "page-failed", now)
    note = line.note or reason
    return extend(incident, [line.model_copy(update={"note": note, "channel": reason})])


def repeated(incident: Incident, page: Page, now: datetime, by: str, why: Doubt) -> Incident:
    """Somebody may have got this page before: the line that explains it, one for each replica `by` name."""
    line = _page_line(incident, page, "repeated", now)
    return extend(incident, [line.model_copy(update={"id": f"{line.id} {by}", "note": why})])


def escalate(incident: Incident, page: Page, now: datetime) -> Incident:
    """The chain goes on to a further step."""
    if page.index < 0 or page.opens or page.stage:
        return incident
    return extend(incident, [_page_line(incident, page, "escalated", now)])


def _page_line(incident: Incident, page: Page, kind: Kind, now: datetime) -> Moment:
    note = page.key if page.key.startswith("worse ") else None
    return _line(
        incident, f"{kind} {page.key}", kind, now, run=page.run, round=page.round, index=page.index,
        step=page.step, role=page.roles[0], note=note, stage=page.stage,
    )  # fmt: skip


def steps(incident: Incident, chain: CrisisChain) -> Sequence[CrisisStep]:
    """The chain of this incident. A deadline begins with the role that it names."""
    if incident.deadline is None:
        return chain.escalation
    first = chain.escalation[0].model_copy(update={"name": "role", "role": incident.deadline.role})
    later = [step for step in chain.escalation[1:] if step.role != incident.deadline.role]
    return [first, *later]


@dataclass(frozen=True)
class _Place:
    round: int
    index: int
    at: datetime
    opens: bool
    """Whether it is the first of its round."""


def _position(incident: Incident, chain: CrisisChain) -> _Place:
    """The next step of the running chain, and when it is due.

    A step is due at its time after the start of its round. Where one before reached nobody it comes at once, and
    those after it keep their distance: nobody is waited for who was not reached.
    """
    assert incident.run_at is not None
    attempts = {(m.round, m.index): m for m in incident.timeline if _is_attempt(m, incident.run)}
    # Only the last two rounds are kept with the incident: begin at the one before the newest, if it is whole.
    newest = max((number for number, _ in attempts), default=0)
    number = newest - 1 if (newest - 1, len(steps(incident, chain)) - 1) in attempts else newest
    begun = [moment.at for (round_, _), moment in attempts.items() if round_ == number]
    start = min(begun, default=incident.run_at) if number else incident.run_at
    while True:
        place = _within_round(incident, chain, attempts, number, start)
        if place is not None:
            return place
        start = _next_round_at(incident, chain, attempts, number)
        number += 1


def _within_round(
    incident: Incident,
    chain: CrisisChain,
    attempts: dict[tuple[int, int], Moment],
    number: int,
    start: datetime,
) -> _Place | None:
    chain_steps = steps(incident, chain)
    first = _first_index(incident, chain, number, start)
    due_at, before = start, _offset(chain_steps[first], chain)
    for index, step in enumerate(chain_steps[first:], first):
        offset = _offset(step, chain)
        if index > first:
            last = attempts[number, index - 1]
            distance = timedelta(0) if last.kind == "page-failed" else offset - before
            due_at = min(start + offset, last.at + distance)
        if (number, index) not in attempts:
            return _Place(number, index, due_at, opens=index == first)
        before = offset
    return None


def _first_index(incident: Incident, chain: CrisisChain, number: int, start: datetime) -> int:
    """The step at which a round begins that starts then: in the first round always the first."""
    assert incident.since is not None
    name = chain.repetition(max(start - incident.since, timedelta(0))).begin_at if number else None
    return next((index for index, step in enumerate(steps(incident, chain)) if step.name == name), 0)


def _next_round_at(
    incident: Incident, chain: CrisisChain, attempts: dict[tuple[int, int], Moment], number: int
) -> datetime:
    done = [moment for (round_, _), moment in attempts.items() if round_ == number]
    last = max(moment.at for moment in done)
    assert incident.since is not None
    widening = chain.repetition(max(last - incident.since, timedelta(0))).every
    ended_well = max(done, key=lambda moment: moment.index).kind == "paged"
    if ended_well or all(moment.channel == "no-channel" for moment in done):
        return last + widening
    return last + min(_retry_after(number), widening)


def _later_stages(incident: Incident) -> list[tuple[datetime, Page]]:
    """The later channels of those whom a step of the newest round reached, each with its time.

    Seen beside the chain: whether they reach anybody moves none of its steps. Who was reached over a later channel
    at once, because the first took nothing, is not tried over it again.
    """
    pages = [m for m in incident.timeline if _is_page(m, incident.run) and m.index >= 0]
    newest = max((moment.round for moment in pages), default=0)
    coming: list[tuple[datetime, Page]] = []
    for first in pages:
        if first.round != newest or first.stage:
            continue
        same = [m for m in pages if (m.round, m.index) == (first.round, first.index) and m.stage]
        done = {moment.stage for moment in same}
        for stage in sorted({later for contact in first.contacts for later in contact.later} - done):
            beyond = {c.person for moment in same for c in moment.contacts if c.after >= stage}
            people = tuple(c.person for c in first.contacts if stage in c.later and c.person not in beyond)
            if people:
                coming.append((first.at + timedelta(seconds=stage), _stage_of(first, stage, people)))
    return coming


def _stage_of(first: Moment, stage: float, people: tuple[str, ...]) -> Page:
    key = f"{first.run}.{first.round}.{first.index}+{stage:g}"
    roles = (first.role,) if first.role else ()
    return Page(key, roles, first.step or "", first.run, first.round, first.index, stage=stage, people=people)


def _seconds_left(incident: Incident, chain: CrisisChain, now: datetime) -> float:
    """How long a later stage may take: until the chain or F59 goes on, but long enough for one answer."""
    coming = (_position(incident, chain).at, _head_at(incident, chain))
    following = min((at for at in coming if at is not None and at > now), default=None)
    left = (following - now).total_seconds() if following else LONGEST_STAGE
    return min(max(left, SHORTEST_STAGE), LONGEST_STAGE)


def _offset(step: CrisisStep, chain: CrisisChain) -> timedelta:
    if step.role == chain.head_role:  # F59: told, not just sent, within the limit
        return min(step.after, chain.head_within - HEAD_MARGIN)
    return step.after


def _retry_after(tries: int) -> timedelta:
    """How long to wait after nobody could be reached: providers are down, and come back soon or late."""
    if tries < 20:
        return timedelta(seconds=30)
    return timedelta(minutes=1 if tries < 80 else 5)


def _head_at(incident: Incident, chain: CrisisChain) -> datetime | None:
    """F59: when the head must be paged outside the chain; None once told. An early end does not lift it."""
    if not incident.crisis or incident.head_told_at or incident.since is None:
        return None
    first = incident.resolved_at or incident.since + chain.head_within - HEAD_MARGIN
    if incident.head_tried_at is None:
        return max(first, incident.opened_at or first)
    if not incident.open and incident.head_tries >= HEAD_RETRIES_ONCE_RESOLVED:
        return None
    return max(first, incident.head_tried_at + _retry_after(incident.head_tries))


def _lapses_at(incident: Incident, chain: CrisisChain) -> datetime | None:
    """A30: when an acknowledged incident without intervention pages again."""
    if not incident.crisis or incident.awaiting or incident.state != "acknowledged":
        return None
    assert incident.since is not None
    assert incident.acknowledged_at is not None
    limit = incident.since + chain.intervention_within
    return limit if incident.acknowledged_at < limit else incident.acknowledged_at + GRACE


def scrubbed(incident: Incident) -> Incident:
    """Without any reference to its client, who asked to be erased. Only for what is over."""
    lines = tuple(
        line.model_copy(update={"flag": line.flag.model_copy(update=NOBODY)}) if line.flag else line
        for line in incident.timeline
    )
    return incident.model_copy(update={"client_id": ERASED, "timeline": lines, "erase": False})


# --- the timeline ---------------------------------------------------------------------------------------------


def pruned(incident: Incident) -> Incident:
    """Without the pages of rounds long past, and without flags that changed nothing where there are very many: the
    whole timeline lies in its own collection."""
    numbers = [m.round for m in incident.timeline if _is_attempt(m, incident.run)]
    newest = max(numbers, default=0)
    dropped = _quiet_flags(incident)
    kept = tuple(m for m in incident.timeline if m.id not in dropped and _is_kept(m, incident.run, newest))
    return incident if len(kept) == len(incident.timeline) else incident.model_copy(update={"timeline": kept})


def _quiet_flags(incident: Incident) -> set[str]:
    """The lines of flags that changed nothing, the newest apart; none where there are not many flags."""
    flagged = [moment.id for moment in incident.timeline if moment.kind == "flagged"]
    if len(flagged) <= MANY_FLAGS:
        return set()
    quiet: set[str] = set()
    before = _blank(incident)
    for moment in incident.timeline:
        after = _evolve(before, moment)
        if moment.kind == "flagged" and after is before:
            quiet.add(moment.id)
        before = after
    with_case = [m.id for m in incident.timeline if m.flag and m.flag.case_id]
    return quiet.difference(flagged[-NEWEST_FLAGS:], with_case[-1:])


def _is_kept(moment: Moment, run: int, newest: int) -> bool:
    if moment.kind not in ("paged", "page-failed", "repeated", "escalated", "unanswered") or moment.run == 0:
        return True
    return moment.round < 2 or (moment.run == run and moment.round >= newest - 1)


def _tries_outside_chain(incident: Incident) -> int:
    told = (m for m in incident.timeline if m.kind in ("paged", "page-failed"))
    return sum(1 for m in told if m.step == "head" and m.index < 0)


def _is_page(moment: Moment, run: int) -> bool:
    return moment.kind in ("paged", "page-failed") and moment.run == run


def _is_attempt(moment: Moment, run: int) -> bool:
    """Whether the line is a step of the chain; its later stages are not, and move nothing."""
    return _is_page(moment, run) and moment.index >= 0 and not moment.stage


def _attempt(incident: Incident, run: int, number: int, index: int) -> Moment | None:
    wanted = (number, index)
    found = (m for m in incident.timeline if _is_attempt(m, run) and (m.round, m.index) == wanted)
    return next(found, None)


def announced(incident: Incident) -> dict[str, IncidentChanged]:
    """What the bus is told of each line, by the line's id; nothing of drills and deadlines.

    Others plan aftercare and hold messages back by these events, and they cannot tell a drill from a crisis:
    hence a drill is silent on the bus, and measured by the metrics and its own timeline.
    """
    if not incident.crisis:
        return {}
    told: dict[str, IncidentChanged] = {}
    before = _blank(incident)
    case_id: str | None = None
    for moment in incident.timeline:
        change, step = _announcement(before, moment)
        before = _evolve(before, moment)
        if moment.flag and moment.flag.case_id:
            case_id = moment.flag.case_id
        if change is not None:
            told[moment.id] = IncidentChanged(
                incident_id=incident.id,
                client_id=incident.client_id,
                case_id=case_id,
                change=change,
                at=moment.at,
                by=moment.by,
                step=step,
                channel=moment.channel,
            )
    return told


def _announcement(before: Incident, moment: Moment) -> tuple[Change | None, str | None]:
    match moment.kind:
        case "flagged":
            if before.opened_at is None:
                return "opened", None
            if not before.open:
                return "reopened", None
            flag = moment.flag
            worse = flag is not None and RANK[flag.level] > RANK[before.level]
            return ("escalated", "worse-level") if worse else (None, None)
        case "lapsed":
            return "escalated", "no-intervention"
        case "unanswered" | "repeated" | "delivered" | "undelivered" | "answered" | "key-pressed":
            return None, None
        case (
            "assessed" | "referred" | "responded" | "joined"
        ):  # the bus knows no change for them: what they are is the step
            return "intervening" if before.state == "intervening" else "acknowledged", moment.step
        case _:
            return moment.kind, moment.step


def unanswered(incident: Incident, moment: Moment, chain: CrisisChain) -> EscalationRequired | None:
    """What is escalated to everyone who watches deadlines: nobody answered (F59), or nobody intervened (A30)."""
    if not incident.crisis or moment.kind not in ("unanswered", "lapsed") or incident.since is None:
        return None
    lapsed = moment.kind == "lapsed"
    limit = chain.intervention_within if lapsed else chain.head_within
    return EscalationRequired(
        escalation_id=_hash(f"{incident.id} {moment.id}"),
        rule="crisis-intervention" if lapsed else "crisis-page",
        clause="A30" if lapsed else "F59",
        subject=incident.id,
        case_id=incident.case_id,
        role=chain.head_role,
        urgency="page",
        due_at=incident.since + limit,
        reason="no-intervention" if lapsed else "unanswered",
    )


def _line(incident: Incident, key: str, kind: Kind, at: datetime, **more: Any) -> Moment:
    seq = incident.timeline[-1].seq + 1 if incident.timeline else 0
    last = incident.timeline[-1].at if incident.timeline else at
    # A machine's clock may step back; a timeline does not.
    return Moment(id=key, seq=seq, at=max(at, last), kind=kind, **more)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
