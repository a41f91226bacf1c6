"""Who conducts follow-ups in a time-lapse run: nobody, or staff who do everything on time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import httpx

from aftercare.stack import Stack
from aftercare.timelapse import Agenda
from shared.contracts.envelope import Event, derive
from shared.contracts.events import (
    DutyChanged,
    FollowUpDue,
    FollowUpPlanned,
    IncidentChanged,
    MilestoneReached,
)
from shared.contracts.types import write_time
from shared.messaging.bus import Outgoing, Publisher
from shared.policy.versions import Policies

SOURCE = "/simulation/staff"
STAFF = "staff-simulated"
SUPERVISOR = "supervisor-simulated"

RESOLVED_AFTER_MINUTES = 60
"""How long a diligent supervisor needs from a page to the resolved incident."""


LAST_HOURS = timedelta(hours=12)
"""How long before its limit something is done that repeats."""


class SimulationFailed(RuntimeError):
    """A service refused what simulated staff did; the message says which and why."""


class AbsentStaff:
    """Nobody does anything: so survey, too, only takes note."""

    observing = ("reporting", "survey")

    def note(self, event: Event) -> None:
        pass

    def next_at(self) -> datetime | None:
        return None

    async def act(self, now: datetime) -> bool:
        return False


class DiligentStaff:
    """Each follow-up is prepared, conducted and recorded at its time, every duty met, every page acknowledged.

    Records go through survey's API and acknowledgements through crisis's, as from the consoles; the other
    milestones are published as company systems do.
    """

    observing = ("reporting",)
    """The services that only take note of what happens."""

    def __init__(self, stack: Stack, publisher: Publisher, policies: Policies) -> None:
        self._agenda = Agenda()
        self._publisher = publisher
        self._policies = policies
        self._clock = stack.clock
        self._survey = stack.client("survey", "operations", subject=STAFF)
        self._crisis = stack.client("crisis", "supervisor", subject=SUPERVISOR)
        self._due: dict[str, FollowUpDue] = {}
        self._done = Agenda()
        self._heard_at = stack.clock.now()
        self._incidents: set[str] = set()

    # --- what staff hear of ---------------------------------------------------------------------------------

    def note(self, event: Event) -> None:
        self._heard_at = max(self._clock.now(), event.time)
        match event.data:
            case FollowUpDue() as due:
                self._due[due.follow_up_id] = due
                self.plan(due)
            case FollowUpPlanned() as planned:
                self._replanned(planned)
            case DutyChanged(change="opened") as duty:
                self._meet(duty)
            case IncidentChanged(change="paged") as incident if incident.incident_id not in self._incidents:
                self._incidents.add(incident.incident_id)
                self.answer_page(incident)
            case _:
                pass

    def plan(self, due: FollowUpDue) -> None:
        """Put the conducting of a follow-up on the agenda."""
        at = max(due.scheduled_for, self._heard_at)
        self._agenda.put(at, partial(self.conduct, due.follow_up_id, due.scheduled_for))

    def answer_page(self, incident: IncidentChanged) -> None:
        """Acknowledge and go to the client at once; the incident is resolved an hour later."""
        for verb, after in (("acknowledge", 0), ("intervene", 0), ("resolve", RESOLVED_AFTER_MINUTES)):
            at = self._heard_at + timedelta(minutes=after)
            self._agenda.put(at, partial(self.handle_incident, incident.incident_id, verb))

    def _replanned(self, planned: FollowUpPlanned) -> None:
        due = self._due.get(planned.follow_up_id)
        if due is None:
            return
        if planned.change in ("cancelled", "superseded"):
            del self._due[planned.follow_up_id]
        elif planned.scheduled_for != due.scheduled_for or planned.forms != due.forms:
            update = {"scheduled_for": planned.scheduled_for, "forms": planned.forms}
            self._due[planned.follow_up_id] = due.model_copy(update=update)
            self.plan(self._due[planned.follow_up_id])

    def _meet(self, duty: DutyChanged) -> None:
        rule = self._policies.by(duty.at).duty(duty.rule)
        milestone = rule.fulfilled_by.milestone
        if milestone:
            # What repeats opens again in the instant in which it is done: it is done on its last day.
            at = max(duty.due_at - LAST_HOURS, self._heard_at) if rule.repeats else self._heard_at
            self._report(milestone, duty.subject, duty.case_id, at)

    def _report(self, milestone: str, subject: str, case_id: str | None, at: datetime | None = None) -> None:
        """Something is done as soon as it is heard of, or at a time."""
        done = {"milestone": milestone, "subject": subject, "case_id": case_id}
        self._done.put(at or self._heard_at, done)

    # --- what staff do --------------------------------------------------------------------------------------

    def next_at(self) -> datetime | None:
        instants = (self._done.next_at(), self._agenda.next_at())
        return min((at for at in instants if at is not None), default=None)

    async def act(self, now: datetime) -> bool:
        done = [MilestoneReached(**body, reached_at=now, by=STAFF) for body in self._done.take(now)]
        steps: Sequence[Callable[[], Awaitable[None]]] = self._agenda.take(now)
        await self._publisher.publish([Outgoing.of(_event(milestone)) for milestone in done])
        await asyncio.gather(*[step() for step in steps])
        return bool(done or steps)

    async def conduct(self, follow_up_id: str, planned_for: datetime) -> None:
        """Conduct a follow-up by its first form and record it at once, unless it has moved or gone meanwhile."""
        due = self._due.get(follow_up_id)
        if due is None or due.scheduled_for != planned_for:
            return
        del self._due[follow_up_id]
        body = {
            "form": due.forms[0],
            "conducted_at": write_time(self._clock.now()),
            "outcome": "completed",
            "satisfaction": 5,
            "flags": [],
            **self.sheet(due),
        }
        await self.record(follow_up_id, body)

    def sheet(self, due: FollowUpDue) -> dict[str, Any]:
        """What stands on the record sheet otherwise than that all went well."""
        return {}

    async def record(self, follow_up_id: str, body: dict[str, Any]) -> None:
        answer = await self._survey.post(f"/v1/follow-ups/{follow_up_id}/record", json=body)
        _check("survey", answer)

    async def handle_incident(self, incident_id: str, verb: str) -> None:
        body = {"outcome": "safe"} if verb == "resolve" else None
        answer = await self._crisis.post(f"/v1/incidents/{incident_id}/{verb}", json=body)
        _check("crisis", answer)


def _event(milestone: MilestoneReached) -> Event:
    cause = f"{milestone.milestone} {milestone.subject} {write_time(milestone.reached_at)}"
    return derive(cause, SOURCE, milestone, time=milestone.reached_at, topic="milestone-reached")


def _check(service: str, answer: httpx.Response) -> None:
    if answer.is_error:
        raise SimulationFailed(
            f"{service} refused a step of simulated staff: {answer.status_code} {answer.text}"
        )
