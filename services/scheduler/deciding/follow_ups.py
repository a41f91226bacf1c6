"""Follow-ups: planned as the case or incident asks for them, and what becomes of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from services.scheduler.deciding.rules import Rules
from services.scheduler.domain import consent, duties, plans, reminders
from services.scheduler.domain.agenda import Duty, FollowUp, KnownClient, Reminder, Resolved
from services.scheduler.domain.duties import Happening
from services.scheduler.domain.planning import (
    Change,
    Owner,
    Wanted,
    reconcile,
    wanted_after_incident,
    wanted_for_case,
)
from services.scheduler.domain.plans import Plan
from shared.contracts.envelope import Event
from shared.contracts.events import (
    CaseClassified,
    FollowUpDue,
    FollowUpPlanned,
    FollowUpRecorded,
    MilestoneReached,
)
from shared.policy.counting import month_of


class FollowUps(Rules):
    """The part of a decision that plans follow-ups, and tells what hangs on them."""

    def _plan_case(self, data: CaseClassified, cause: str) -> None:
        client = self._client(data.client_id)
        stop = self._stop(client, data.consents.follow_up)
        owner = Owner(
            client_id=data.client_id,
            case_id=data.case_id,
            case_class=data.case_class,
            cause=cause,
            stop=stop or ("case-referred" if data.status == "referred" else None),
            not_before=consent.regained_at(client.words),
        )
        self._reconcile(owner, data.case_id, wanted_for_case(data, self.regime))

    def _plan_care(self, client: KnownClient, resolved: Resolved, cause: str) -> None:
        """Continued care after a resolved incident (A32)."""
        owner = Owner(
            client_id=client.id,
            case_id=resolved.case_id,
            case_class="key-attention",
            cause=cause,
            stop=self._stop(client),
            not_before=consent.regained_at(client.words),
        )
        wanted = wanted_after_incident(resolved.incident_id, resolved.at, self.regime)
        self._reconcile(owner, resolved.incident_id, wanted)

    def _reconcile(self, owner: Owner, of: str, wanted: Sequence[Wanted]) -> None:
        existing = self.view.having(FollowUp, "owner", of)
        for change in reconcile(owner, wanted, existing, self.regime, self.now):
            self._follow_up(change)

    @staticmethod
    def _stop(client: KnownClient, unless_said: bool = True) -> str | None:
        """Why nothing may be asked of a client; `unless_said` holds where we heard no word on consent ourselves."""
        if client.gone:
            return f"client-{client.gone}"
        said = consent.allowed(client.words)
        return None if (unless_said if said is None else said) else "consent-withdrawn"

    def _follow_up(self, change: Change) -> None:
        """Store a follow-up's change and tell it; what hung on a follow-up that ended goes with it."""
        item = change.follow_up
        self._put(item)
        if change.change is None:
            return
        plan = self.view.get(Plan, month_of(item.scheduled_for, self.regime.policy.switches.zone))
        planned = FollowUpPlanned.model_validate(
            {
                "follow_up_id": item.id,
                "case_id": item.case_id,
                "client_id": item.client_id,
                "rule": item.rule,
                "clause": item.clause,
                "class": item.case_class,
                "change": change.change,
                "reason": item.reason,
                "scheduled_for": item.scheduled_for,
                "complete_by": item.complete_by,
                "forms": item.forms,
                "provisional": item.provisional,
                "amends_plan": plans.amends(item, plan, self.now),
            }
        )
        self._publish("follow-up-planned", planned)
        if item.pending:
            self.happened("follow-up-planned", planned, self.now)
            if item.due_at:
                self._begun_anew(item.due())
        else:
            self._ended(item, duties_too=True)

    def _begun_anew(self, due: FollowUpDue) -> None:
        """A follow-up that is due already has moved, or is asked in another form first: its reminders and its
        preparation follow."""
        what = Happening.of("follow-up-due", due, self.now)
        opened = {rule.name: subject for rule, subject in reminders.opened_by(what, self.regime)}
        for rule in self.regime.reminders.get("follow-up-due", ()):
            held = self._reminder(reminders.reminder_id(rule, due.follow_up_id))
            if subject := opened.get(rule.name):
                self._remind(rule, subject, what)
            elif held:
                self._no_reminder(held)
        for said in duties.said_by(what, self.regime):
            self._settle(said.rule, said.subject, said.facts, due)

    def _ended(self, item: FollowUp, *, duties_too: bool) -> None:
        for reminder in self.view.having(Reminder, "subject", item.id):
            self._no_reminder(reminder)
        for duty in self.view.having(Duty, "subject", item.id) if duties_too else []:
            rule = self._duty_rule(duty.rule)
            if rule and rule.opened_by.event == "follow-up-due":
                self._settle(rule, item.id, [duties.cancellation(self.now)])

    def _conducted(self, data: MilestoneReached) -> None:
        """The client was asked; only the record is awaited (F60). What happens to the case changes nothing more."""
        follow_up = self.view.get(FollowUp, data.subject)
        if follow_up and follow_up.pending:
            self._put(follow_up.model_copy(update={"conducted_at": data.reached_at, "next_at": None}))
            self._ended(follow_up, duties_too=False)

    def _recorded(self, data: FollowUpRecorded) -> None:
        follow_up = self.view.get(FollowUp, data.follow_up_id)
        if follow_up is None:
            return
        update = {"state": data.outcome, "reason": "recorded", "next_at": None}
        self._put(follow_up.model_copy(update=update))
        self._ended(follow_up, duties_too=False)

    def _planned_month(self, data: MilestoneReached, event: Event) -> None:
        """The manager has approved or returned a month's plan, or signed what amends it (F45)."""
        plan = plans.told(self.view.get(Plan, data.subject), event, data)
        if plan is None:
            return
        self._put(plan)
        for follow_up in self.view.having(FollowUp, "held_for", data.subject):
            if follow_up.state == "planned" and not plans.waits(follow_up, plan):
                self._put(follow_up.model_copy(update={"held_for": None, "next_at": self.now}))
                self._release("subject", follow_up.id)

    def _release(self, of: Literal["client_id", "subject"], key: str) -> None:
        for reminder in self.view.having(Reminder, of, key):
            if reminder.state == "held":
                self._put(reminder.model_copy(update={"state": "waiting", "next_at": self.now}))

    def _waits(self, item: FollowUp) -> bool:
        """Collision 1, where the switch says so: an amendment of the month's plan waits until it is signed. Care after
        a crisis never does (A32)."""
        policy = self.regime.policy
        if policy.switches.after_the_plan == "amendment" or policy.is_care_after_a_crisis(item.rule):
            return False
        return plans.waits(item, self.view.get(Plan, month_of(item.scheduled_for, policy.switches.zone)))
