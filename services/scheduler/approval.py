"""What operations and the department manager do about a month's plan: lay before, approve, return, sign (F45)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from services.scheduler.deciding.draft import SOURCE
from services.scheduler.domain import plans
from services.scheduler.domain.plans import Plan
from services.scheduler.store import Store
from shared.clock import Clock
from shared.contracts.envelope import Event, derive
from shared.contracts.events import MilestoneReached
from shared.contracts.plans import DECISIONS, SIGNED
from shared.contracts.types import write_time
from shared.messaging.bus import Outgoing
from shared.mongo.client import Session
from shared.mongo.documents import Changes
from shared.mongo.journal import Entry, Journal, Outcome
from shared.web.problems import Problem

Step = Callable[[Plan | None, datetime], "tuple[Plan, MilestoneReached | None]"]
"""The plan afterwards, and what is told of the step; nothing where it changes nothing."""


class Approval:
    """The steps of a plan. Each is told as a milestone, so that the duties of F35 and F45 are fulfilled by it."""

    def __init__(self, store: Store, journal: Journal, clock: Clock) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock

    async def submit(self, month: str) -> Plan:
        """Lay what is now planned for the month before the manager: early, or again after it was returned."""

        def step(plan: Plan | None, now: datetime) -> tuple[Plan, MilestoneReached | None]:
            if plan and plan.approved_at:
                raise Problem(409, "already-approved", "an approved plan is amended, not drafted anew")
            return plans.drafted(plan, month, now), None

        return await self._take(month, step)

    async def decide(self, month: str, milestone: str, by: str) -> Plan:
        """Approve or return it. Saying the same again changes nothing."""

        def step(plan: Plan | None, now: datetime) -> tuple[Plan, MilestoneReached | None]:
            if plan is None or plan.state is None:
                raise _no_plan()
            if plan.state == DECISIONS[milestone]:
                return plan, None
            if plan.state != "drafted":
                raise Problem(409, f"already-{plan.state}", f"this plan is {plan.state}")
            return plan, MilestoneReached(milestone=milestone, subject=month, reached_at=now, by=by)

        return await self._take(month, step)

    async def sign(self, month: str, until: datetime | None, by: str) -> Plan:
        """Sign the amendments that had arisen until an instant: that of the list which was read."""

        def step(plan: Plan | None, now: datetime) -> tuple[Plan, MilestoneReached | None]:
            if plan is None or plan.approved_at is None:
                raise Problem(409, "not-approved", "only an approved plan has amendments")
            at = until or now
            if at > now:
                raise Problem(422, "in-the-future", "it must not lie in the future", field="until")
            if plan.signed_until and at <= plan.signed_until:
                return plan, None
            return plan, MilestoneReached(milestone=SIGNED, subject=month, reached_at=at, by=by)

        return await self._take(month, step)

    async def _take(self, month: str, step: Step) -> Plan:
        taken: list[Plan] = []

        async def work(session: Session) -> Outcome:
            outcome = Outcome()
            now = self._clock.now()
            before = await self._store.plan(month, session)
            plan, milestone = step(before, now)
            if milestone:
                event = _event(milestone)
                plan = plans.told(plan, event, milestone) or plan
                outcome.entries.append(Entry(f"out plan {event.id}", [Outgoing.of(event)]))
            if plan != before:
                outcome.view.apply(Changes(puts=[plan]))
            taken[:] = [plan]
            return outcome

        await self._journal.transact(work)
        return taken[0]


def _event(milestone: MilestoneReached) -> Event:
    name = f"plan {milestone.milestone} {milestone.subject} {write_time(milestone.reached_at)}"
    return derive(name, SOURCE, milestone, time=milestone.reached_at, topic="milestone-reached")


def _no_plan() -> Problem:
    return Problem(404, "no-plan", "this month has no plan yet")
