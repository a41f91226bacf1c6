"""What others are told of an incident by the bus, and what is escalated to them."""

from __future__ import annotations

from typing import Literal

from services.crisis.domain.fold import blank, evolve
from services.crisis.domain.incident import RANK, Incident, Moment, short_hash
from shared.contracts.events import EscalationRequired, IncidentChanged
from shared.policy.model import CrisisChain

Change = Literal[
    "opened", "paged", "page-failed", "acknowledged", "intervening", "escalated", "resolved", "reopened"
]


def announced(incident: Incident) -> dict[str, IncidentChanged]:
    """What the bus is told of each line, by the line's id; nothing of drills and deadlines.

    Others plan aftercare and hold messages back by these events, and they cannot tell a drill from a crisis:
    hence a drill is silent on the bus, and measured by the metrics and its own timeline.
    """
    if not incident.crisis:
        return {}
    told: dict[str, IncidentChanged] = {}
    before = blank(incident)
    case_id: str | None = None
    for moment in incident.timeline:
        change, step = _announcement(before, moment)
        before = evolve(before, moment)
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
        case "page-failed" if moment.stage:  # the step itself reached somebody
            return None, None
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
        escalation_id=short_hash(f"{incident.id} {moment.id}"),
        rule="crisis-intervention" if lapsed else "crisis-page",
        clause="A30" if lapsed else "F59",
        subject=incident.id,
        case_id=incident.case_id,
        role=chain.head_role,
        urgency="page",
        due_at=incident.since + limit,
        reason="no-intervention" if lapsed else "unanswered",
    )
