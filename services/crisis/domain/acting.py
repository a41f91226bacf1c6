"""What people do about an incident, from taking it up to its end and back."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from services.crisis.domain.fold import extend, next_line
from services.crisis.domain.incident import Agency, AssessmentStep, Contact, Incident, Kind, NotPossible

Received = Literal["delivered", "undelivered", "answered", "key-pressed"]
"""What a provider tells later about a page that it took."""
ACKNOWLEDGE_KEY = "1"
"""Pressed on a call, it acknowledges."""


def acknowledge(incident: Incident, by: str, now: datetime) -> Incident:
    """Somebody takes it up: the chain stops, the clocks of F59 (head) and A30 go on. Repeating is harmless."""
    if not incident.awaiting:
        return incident
    return extend(incident, [next_line(incident, f"acknowledged {incident.run}", "acknowledged", now, by=by)])


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
    return extend(incident, [next_line(incident, key, "intervening", now, by=by)])


def receive(incident: Incident, contact: Contact, what: Received, now: datetime, key: str = "") -> Incident:
    """What a provider tells about a page of an open incident; the right key acknowledges as that person.

    Repeating is harmless: the right key counts once for each call, also when the chain has begun anew since, and also
    after a wrong one.
    """
    acknowledges = what == "key-pressed" and key.startswith(ACKNOWLEDGE_KEY)
    line_key = f"{what} {contact.reference}" + (f" {ACKNOWLEDGE_KEY}" if acknowledges else "")
    if not incident.open or any(moment.id == line_key for moment in incident.timeline):
        return incident
    line = next_line(incident, line_key, what, now, by=contact.person, channel=contact.channel)
    incident = extend(incident, [line])
    return acknowledge(incident, contact.person, now) if acknowledges else incident


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
    return extend(incident, [next_line(incident, key, "joined", now, by=by, step="joined")])


def resolve(incident: Incident, by: str, now: datetime, outcome: str | None = None) -> Incident:
    """The person is safe; `outcome` is a code. Repeating is harmless."""
    if not incident.open:
        return incident
    key = f"resolved {incident.reopenings}"
    return extend(incident, [next_line(incident, key, "resolved", now, by=by, note=outcome)])


def reopen(incident: Incident, by: str, now: datetime) -> Incident:
    """It was not over: everything starts again, F59 and A30 included. Repeating is harmless."""
    if incident.open:
        return incident
    key = f"reopened {incident.reopenings}"
    return extend(incident, [next_line(incident, key, "reopened", now, by=by)])


def _noted(incident: Incident, kind: Kind, step: str, by: str, now: datetime) -> Incident:
    """Something done while a crisis is open, once for each time that it opened; whoever does it has taken it up.
    Repeating is harmless. Raises NotPossible once resolved."""
    incident = _taken_up(incident, by, now)
    if not incident.open:  # a drill or a deadline ends with its acknowledgement
        return incident
    key = f"{kind} {incident.reopenings} {step}"
    return extend(incident, [next_line(incident, key, kind, now, by=by, step=step)])


def _taken_up(incident: Incident, by: str, now: datetime) -> Incident:
    if not incident.open:
        raise NotPossible("the incident is resolved: reopen it first")
    return acknowledge(incident, by, now)
