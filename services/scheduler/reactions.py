"""Event or timer -> changes of the agenda and the events that tell of them. No I/O but `read`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from services.scheduler.domain import consent, dates, duties, plans, reminders
from services.scheduler.domain.agenda import (
    AnyItem,
    Date,
    Duty,
    FollowUp,
    KnownCase,
    KnownClient,
    Reminder,
    Resolved,
    name_of,
)
from services.scheduler.domain.consent import Word
from services.scheduler.domain.duties import Happening
from services.scheduler.domain.planning import (
    Change,
    Owner,
    Regime,
    Wanted,
    reconcile,
    wanted_after_incident,
    wanted_for_case,
)
from services.scheduler.domain.plans import Plan
from services.scheduler.store import Store
from shared.contracts.envelope import Event, derive
from shared.contracts.events import (
    CalendarDue,
    CaseClassified,
    ClientErased,
    ClientStatusChanged,
    ConsentChanged,
    DutyChanged,
    EscalationRequired,
    FollowUpDue,
    FollowUpPlanned,
    FollowUpRecorded,
    IncidentChanged,
    MilestoneReached,
    ReminderDue,
)
from shared.contracts.types import EventData, write_time
from shared.mongo.client import Session
from shared.mongo.documents import Changes, Document, View
from shared.policy.model import DutyRule

SOURCE = "/aftercare/scheduler"
MANAGER = "department-manager"
"""Who is told of a follow-up that was not conducted in time."""


class SchedulerReactions:
    """What the scheduler does about each event."""

    def __init__(self, store: Store, regime: Regime) -> None:
        self._store = store
        self._regime = regime

    async def read(self, session: Session, events: Sequence[Event]) -> View:
        subjects = {
            subject
            for event in events
            for subject in self._subjects(Happening.of(event.topic, event.data, event.time))
        }
        return await self._store.concerning(session, events, subjects)

    def _subjects(self, what: Happening) -> set[str]:
        found = {subject for _, subject in duties.touched_by(what, self._regime)}
        found |= {subject for _, subject in reminders.opened_by(what, self._regime)}
        follow_up = getattr(what.data, "follow_up_id", None)
        return found | ({follow_up} if follow_up else set())

    def decide(self, view: View, event: Event, now: datetime) -> Changes:
        decision = Decision(view, self._regime, event.unique, now)
        decision.react(event)
        return decision.changes()


@dataclass
class Decision:
    """One decision in the making: reads the view, collects documents and events."""

    view: View
    regime: Regime
    cause: str
    now: datetime

    def __post_init__(self) -> None:
        self._puts: dict[str, Document] = {}
        self._removals: list[Document] = []
        self._events: list[Event] = []

    def changes(self) -> Changes:
        return Changes(tuple(self._puts.values()), tuple(self._events), tuple(self._removals))

    # --- events ---------------------------------------------------------------------------------------------

    def react(self, event: Event) -> None:
        match event.data:
            case CaseClassified() as data:
                if not self._classified(data):
                    return  # older than what is known: nothing has happened
            case ClientStatusChanged() as data if data.status in ("deceased", "incapable"):
                self._gone(data.client_id, data.status)
            case ClientErased() as data:
                self._gone(data.client_id, "erased")
            case ConsentChanged() as data:
                self._consent(data, event)
            case IncidentChanged() as data:
                self._incident(data)
            case FollowUpRecorded() as data:
                self._recorded(data)
            case MilestoneReached(milestone="follow-up-conducted") as data:
                self._conducted(data)
            case MilestoneReached() as data:
                self._planned_month(data, event)
            case _:
                pass
        client_id = getattr(event.data, "client_id", None)
        if client_id is None or not self._gone_already(client_id):
            self.happened(event.topic, event.data, event.time)

    def _classified(self, data: CaseClassified) -> bool:
        known = self.view.get(KnownCase, data.case_id)
        if (known and known.revision >= data.revision) or self._gone_already(data.client_id) == "erased":
            return False
        self._put(
            KnownCase(id=data.case_id, revision=data.revision, client_id=data.client_id, body=data.to_json())
        )
        self._plan_case(data, data.cause)
        for duty in self.view.having(Duty, "case_id", data.case_id):
            held = self._duty(duty.id) or duty
            owed = self._as_owed(held, self.regime.policy.duty(duty.rule), data)
            if owed != held:
                self._settle(owed)
        return True

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

    def _consent(self, data: ConsentChanged, event: Event) -> None:
        client = self._client(data.client_id)
        if data.purposes.follow_up is None or client.gone:
            return
        word = Word.of(event, said_at=data.changed_at, allowed=data.purposes.follow_up)
        client = client.model_copy(update={"words": (*client.words, word)})
        self._put(client)
        for case in self.view.having(KnownCase, "client_id", data.client_id):
            self._plan_case(case.classified(), event.topic)
        for resolved in client.resolved:
            self._plan_care(client, resolved, event.topic)

    def _gone(self, client_id: str, why: Literal["deceased", "incapable", "erased"]) -> None:
        """Nothing is asked of this client again, and nothing remains to be done about it."""
        if self._client(client_id).gone != "erased":
            # What the client said and lived through is of no use any more; the mark alone keeps late events out.
            self._put(KnownClient(id=client_id, gone=why))
        mine = [
            item
            for kind in (FollowUp, Duty, Reminder)
            for item in self.view.having(kind, "client_id", client_id)
        ]
        for item in mine:
            match item:
                case FollowUp() if item.pending:
                    update = {"state": "cancelled", "reason": f"client-{why}", "next_at": None}
                    self._follow_up(Change(item.model_copy(update=update), "cancelled"))
                case Reminder():
                    self._no_reminder(item)
        for item in mine:
            if isinstance(item, Duty):
                self._settle(duties.cancelled(self._duty(item.id) or item, self.now))
        if why == "erased":
            self._removals += self.view.having(KnownCase, "client_id", client_id)
            self._removals += mine

    def _incident(self, data: IncidentChanged) -> None:
        """While a client has an open incident, ordinary messages wait; after it, care goes on (A32)."""
        client = self._client(data.client_id)
        if client.gone:
            return
        others = tuple(incident for incident in client.open_incidents if incident != data.incident_id)
        before = tuple(one for one in client.resolved if one.incident_id != data.incident_id)
        if data.change == "resolved":
            now_resolved = Resolved(incident_id=data.incident_id, case_id=data.case_id, at=data.at)
            client = client.model_copy(update={"open_incidents": others, "resolved": (*before, now_resolved)})
            self._plan_care(client, now_resolved, "incident-resolved")
        elif data.change in ("opened", "reopened"):
            still_open = (*others, data.incident_id)
            client = client.model_copy(update={"open_incidents": still_open, "resolved": before})
            if data.change == "reopened":
                owner = Owner(client.id, data.case_id, "key-attention", "incident-reopened")
                self._reconcile(owner, data.incident_id, [])
        else:
            return  # what is told of a step may come after the end: the head is paged in any case (F59)
        self._put(client)
        if not client.open_incidents:
            self._release(data.client_id)

    def _release(self, client_id: str) -> None:
        for reminder in self.view.having(Reminder, "client_id", client_id):
            if reminder.state == "held":
                self._put(reminder.model_copy(update={"state": "waiting", "next_at": self.now}))

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
        if plan:
            self._put(plan)

    # --- timers ---------------------------------------------------------------------------------------------

    def fire(self, item: AnyItem) -> None:
        """What comes of an item whose time has come."""
        item = item.model_copy(update={"fired": item.fired + 1})
        match item:
            case FollowUp():
                self._fire_follow_up(item)
            case Duty():
                self._fire_duty(item)
            case Reminder():
                self._fire_reminder(item)
            case Date():
                self._fire_date(item)

    def _fire_follow_up(self, item: FollowUp) -> None:
        if item.due_at is None:
            due = item.due()
            self._put(
                item.model_copy(
                    update={"state": "due", "due_at": self.now, "next_at": max(item.complete_by, self.now)}
                )
            )
            self._publish("follow-up-due", due)
            self.happened("follow-up-due", due, self.now)
            return
        self._put(item.model_copy(update={"state": "missed", "next_at": None}))
        self._escalate(item, MANAGER, item.complete_by, "follow-up-missed")

    def _fire_duty(self, item: Duty) -> None:
        rule = self.regime.policy.duty(item.rule)
        late = duties.late_from(item, self.regime)
        if self.now < late:
            told, _ = duties.news(item.model_copy(update={"warned": True}), rule, self.regime)
            self._put(told)
            self._escalate(item, item.role, late, "due-soon")
            return
        self.now = late
        self._put(item.model_copy(update={"published": (*item.published, "late"), "next_at": None}))
        self._publish_duty(item, "late", late)
        self._escalate(item, rule.escalate_to, late, "late", rule.urgency)

    def _fire_reminder(self, item: Reminder) -> None:
        if item.to == "client" and item.client_id and self._client(item.client_id).open_incidents:
            self._put(item.model_copy(update={"state": "held", "next_at": None}))
            return
        if item.pointless_from and item.pointless_from <= self.now:
            self._no_reminder(item)
            return
        self._put(item.model_copy(update={"state": "sent", "next_at": None}))
        self._publish(
            "reminder-due",
            ReminderDue(
                reminder_id=item.told_as,
                what=item.what,
                to=item.to,
                subject=item.subject,
                case_id=item.case_id,
                client_id=item.client_id,
                clause=item.clause,
                at=self.now,
            ),
        )

    def _fire_date(self, item: Date) -> None:
        rule = self.regime.policy.calendar_rule(item.rule)
        due = CalendarDue(rule=item.rule, clause=item.clause, month=item.month, due_at=item.due_at)
        self._put(dates.next_date(rule, item.due_at, self.regime))
        if rule.what == "plan":
            self._put(plans.drafted(self.view.get(Plan, item.month), item.month, self.now))
        self._publish("calendar-due", due)
        self.happened("calendar-due", due, self.now)

    # --- the rules' view of what happens --------------------------------------------------------------------

    def happened(self, topic: str, data: EventData, time: datetime) -> None:
        """Open, fulfil and cancel what the policy's rules say about an event, ours included."""
        what = Happening.of(topic, data, time)
        for rule, subject in duties.touched_by(what, self.regime):
            duty = duties.after(self._duty(duties.duty_id(rule, subject)), rule, subject, what, self.regime)
            known = self.view.get(KnownCase, duty.case_id or "")
            self._settle(self._as_owed(duty, rule, known.classified()) if known else duty)
        for gone in reminders.cancelled_by(what, self.regime):
            held = self._reminder(gone)
            if held:
                self._no_reminder(held)
        for reminder_rule, subject in reminders.opened_by(what, self.regime):
            key = reminders.reminder_id(reminder_rule, subject)
            reminder = reminders.remind(
                self._reminder(key), reminder_rule, subject, what, self.regime, self.now
            )
            if reminder:
                self._put(reminder)

    def _follow_up(self, change: Change) -> None:
        """Store a follow-up's change and tell it; what hung on a follow-up that ended goes with it."""
        item = change.follow_up
        self._put(item)
        if change.change is None:
            return
        plan = self.view.get(Plan, plans.month_of(item.scheduled_for, self.regime.policy))
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
                self._remind_anew(item.due())
        else:
            self._ended(item, duties_too=True)

    def _remind_anew(self, due: FollowUpDue) -> None:
        """A follow-up that is due already has moved, or is asked in another form first: its reminders follow."""
        what = Happening.of("follow-up-due", due, self.now)
        opened = {rule.name: subject for rule, subject in reminders.opened_by(what, self.regime)}
        for rule in self.regime.reminders["follow-up-due"]:
            held = self._reminder(reminders.reminder_id(rule, due.follow_up_id))
            if subject := opened.get(rule.name):
                reminder = reminders.remind(held, rule, subject, what, self.regime, self.now)
                if reminder:
                    self._put(reminder)
            elif held:
                self._no_reminder(held)

    def _ended(self, item: FollowUp, *, duties_too: bool) -> None:
        for reminder in self.view.having(Reminder, "subject", item.id):
            self._no_reminder(reminder)
        for duty in self.view.having(Duty, "subject", item.id) if duties_too else []:
            if self.regime.policy.duty(duty.rule).opened_by.event == "follow-up-due":
                self._settle(duties.cancelled(self._duty(duty.id) or duty, self.now))

    def _settle(self, duty: Duty) -> None:
        told, fresh = duties.news(duty, self.regime.policy.duty(duty.rule), self.regime)
        self._put(told)
        for change, at in fresh:
            self._publish_duty(told, change, at)

    def _no_reminder(self, reminder: Reminder) -> None:
        if reminder.state in ("waiting", "held"):
            self._put(reminder.model_copy(update={"state": "cancelled", "next_at": None}))

    # --- small parts ----------------------------------------------------------------------------------------

    def _publish_duty(self, duty: Duty, change: str, at: datetime) -> None:
        body = {
            "duty_id": duty.id,
            "rule": duty.rule,
            "clause": duty.clause,
            "role": duty.role,
            "subject": duty.subject,
            "case_id": duty.case_id,
            "change": change,
            "due_at": duty.due_at,
            "at": at,
        }
        self._publish("duty-changed", DutyChanged.model_validate(body))

    def _escalate(
        self, item: FollowUp | Duty, role: str, due_at: datetime, reason: str, urgency: str = "notify"
    ) -> None:
        body = {
            "escalation_id": name_of("escalation", item.id, reason, write_time(due_at)),
            "rule": item.rule,
            "clause": item.clause,
            "subject": item.subject,
            "case_id": item.case_id,
            "role": role,
            "urgency": urgency,
            "due_at": due_at,
            "reason": reason,
        }
        self._publish("escalation-required", EscalationRequired.model_validate(body))

    def _publish(self, topic: str, data: EventData) -> None:
        self._events.append(
            derive(self.cause, SOURCE, data, time=self.now, topic=topic, nth=len(self._events))
        )

    def _put(self, document: Document) -> None:
        self._puts[f"{document.collection} {document.id}"] = document

    def _as_owed(self, duty: Duty, rule: DutyRule, case: CaseClassified) -> Duty:
        """The duty, held back while its case is referred (W26)."""
        return duties.referral(duty, rule, self.now if case.status == "referred" else None)

    def _client(self, client_id: str) -> KnownClient:
        return self._known_client(client_id) or KnownClient(id=client_id)

    def _known_client(self, client_id: str) -> KnownClient | None:
        put = self._puts.get(f"clients {client_id}")
        return put if isinstance(put, KnownClient) else self.view.get(KnownClient, client_id)

    def _gone_already(self, client_id: str) -> str | None:
        known = self._known_client(client_id)
        return known.gone if known else None

    def _duty(self, key: str) -> Duty | None:
        put = self._puts.get(f"agenda {key}")
        return put if isinstance(put, Duty) else self.view.get(Duty, key)

    def _reminder(self, key: str) -> Reminder | None:
        put = self._puts.get(f"agenda {key}")
        return put if isinstance(put, Reminder) else self.view.get(Reminder, key)
