"""How an incident opens: a flag as it arrived, which incident it joins, an escalated deadline."""

from __future__ import annotations

from datetime import datetime

from services.crisis.domain.fold import extend, next_line
from services.crisis.domain.incident import UNKNOWN, Deadline, Flag, Incident, short_hash
from shared.contracts.envelope import Event
from shared.contracts.events import CrisisFlagged, EscalationRequired


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
    name = f"unreadable {short_hash(identity)}"
    return Flag(
        unique=name, digest=name, client_id=UNKNOWN, level="unknown",
        flagged_at=now, received_at=now, origin=origin,
    )  # fmt: skip


def open_incident(flag: Flag) -> Incident:
    """A new incident. Its id follows from the flag: the same flag by bus and by HTTP is one incident. It does not
    follow from the client, who may be erased and must not be found by trying out ids."""
    drill = flag.level == "drill"
    key = short_hash(f"incident {flag.unique}")
    return join(Incident(id=key, client_id=flag.client_id, drill=drill, awaiting=False), flag)


def join(incident: Incident, flag: Flag) -> Incident:
    """The incident with one more flag; one that it has already changes nothing."""
    return extend(
        incident, [next_line(incident, f"flagged {flag.name}", "flagged", flag.received_at, flag=flag)]
    )


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
    return short_hash(f"deadline {data.escalation_id}")
