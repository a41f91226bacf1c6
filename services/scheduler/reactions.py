"""Event or timer -> changes of the agenda and the events that tell of them. No I/O but `read`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from services.scheduler.domain import consent, dates, duties, plans, reminders
from services.scheduler.domain.agenda import (
    AnyItem,
    CaseEvents,
    Date,
    Duty,
    DutyFact,
    FollowUp,
    KnownCase,
    KnownClient,
    Reminder,
    Resolved,
    Told,
    name_of,
)
from services.scheduler.domain.consent import Word
from services.scheduler.domain.duties import Happening, Said
from services.scheduler.domain.planning import (
    POLICY_CHANGED,
    Change,
    Owner,
    Regime,
    Wanted,
    reconcile,
    wanted_after_incident,
    wanted_for_case,
    when_calendar_is_known,
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
from shared.contracts.topics import COMPANY_TOPICS, TOPICS
from shared.contracts.types import EventData, write_time
from shared.mongo.client import Session
from shared.mongo.documents import Changes, Document, View
from shared.policy.counting import month_of
from shared.policy.model import DutyRule, ReminderRule

SOURCE = "/aftercare/scheduler"
LOOK_AGAIN = timedelta(days=1)
"""So often it is looked whether a follow-up still waits for a signature; the signature itself releases it at once."""
MANAGER = "department-manager"
"""Who is told of a follow-up that was not conducted in time."""
CASE_TOPICS = frozenset(
    name for name, topic in TOPICS.items() if {"case_id", "client_id"} <= set(topic.model.model_fields)
) - {"case-classified"}
"""What is said of a case, each a fact by itself."""
SAYS_WHOSE = (CASE_TOPICS & COMPANY_TOPICS) | {"follow-up-recorded"}
"""What comes from the bus and says whose case it is about."""


class SchedulerReactions:
    """What the scheduler does about each event."""

    def __init__(self, store: Store, regime: Regime) -> None:
        """`regime`: the newest version; a decision goes by the one in force."""
        self._store = store
        self._regime = regime

    async def read(self, session: Session, events: Sequence[Event]) -> View:
        happenings = [Happening.of(event.topic, event.data, event.time) for event in events]
        cases = {case for what in happenings for case in cases_of(what)}
        view = await self._store.of_cases(session, events, {*cases, *map(forgotten, cases)})
        subjects = {subject for what in happenings for subject in self._subjects(what)}
        services = {
            (event.data.case_id, event.data.service)
            for event in events
            if isinstance(event.data, CaseClassified) and event.data.service
        }
        for case_id, service in services:
            subjects |= self._waiting(view.get(CaseEvents, case_id), service)
        whole = {
            case for what in happenings for case in reminders.cases_ended_by(what, self._regime.at(what.at))
        }
        # The first that is heard of a case may be that its client is gone, after a milestone that named it.
        heard_of = {getattr(event.data, "case_id", None) for event in events if event.topic in CASE_TOPICS}
        whole |= {case for case in heard_of if case and not view.get(CaseEvents, case)}
        await self._store.concerning(session, view, events, subjects, whole)
        return view

    def _subjects(self, what: Happening) -> set[str]:
        rules = self._regime.at(what.at).subjects.get(what.topic, ())
        named = {rule.subject_of(what.topic, what.data) for rule in rules}
        return {subject for subject in (*named, getattr(what.data, "follow_up_id", None)) if subject}

    def _waiting(self, known: CaseEvents | None, service: str) -> set[str]:
        """The subjects of what waited for the service that a case now turns out to be of."""
        if known is None or service == known.service:
            return set()
        waited = happened_before(known, self._regime.topics_of_service.get(service, frozenset()))
        return {subject for what in waited for subject in self._subjects(what)}

    def decide(self, view: View, event: Event, now: datetime) -> Changes:
        decision = Decision(view, self._regime.at(now), event.unique, now)
        decision.react(event)
        return decision.changes()


def cases_of(what: Happening) -> set[str]:
    """The case that a happening is about. A milestone may name it as its subject alone, or with a session's number."""
    case_id = getattr(what.data, "case_id", None)
    found = {case_id} if case_id else set()
    if isinstance(what.data, MilestoneReached):
        found |= {what.data.subject, what.data.subject.rsplit(":", 1)[0]}
    return found


def forgotten(case_id: str) -> str:
    """Under which id the mark of an erased client's case is kept: what arrives late opens nothing."""
    return name_of("forgotten", case_id)


def happened_before(known: CaseEvents, topics: Container[str] | None = None) -> Iterator[Happening]:
    """What was kept of a case, as it was told; `topics`: on these alone."""
    return (as_told(told) for told in known.told if topics is None or told.topic in topics)


def as_told(told: Told) -> Happening:
    return Happening(told.topic, TOPICS[told.topic].model.from_json(told.body), told.at)


def _case_in(rule: DutyRule, subject: str) -> str | None:
    """The case that a rule's subject names, alone or with a session's number."""
    if rule.subject.split(":")[0] != "case_id":
        return None
    return subject.rsplit(":", 1)[0] if ":" in rule.subject else subject


def _later_said(held: Reminder, what: Happening) -> bool:
    """Whether what company systems say now was overtaken by a later word of theirs. What we say comes in order."""
    return what.topic in COMPANY_TOPICS and held.said_at is not None and held.said_at > what.at


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
        gone = self._gone_already(client_id) if client_id else None
        what = Happening.of(event.topic, event.data, event.time)
        if gone and (case_id := getattr(event.data, "case_id", None)):
            self._case_gone(case_id, str(client_id), gone)  # whose case this is was not known before
        if not gone and not self._of_gone_case(what):
            self.happened(event.topic, event.data, event.time)

    def _classified(self, data: CaseClassified) -> bool:
        known = self.view.get(KnownCase, data.case_id)
        if (known and known.revision >= data.revision) or self._gone_already(data.client_id) == "erased":
            return False
        self._put(
            KnownCase(id=data.case_id, revision=data.revision, client_id=data.client_id, body=data.to_json())
        )
        self._service_known(data)
        self._plan_case(data, data.cause)
        return True

    def _service_known(self, data: CaseClassified) -> None:
        """What waited for the case's service happens now; what was opened for another service is withdrawn, and so is
        what is of counselling where the client is referred (W26)."""
        known = self._case_events(data.case_id) or CaseEvents(id=data.case_id, client_id=data.client_id)
        before, referred = known, data.status == "referred"
        if (known.service, known.referred) == (data.service, referred) or known.gone:
            return
        known = known.model_copy(update={"service": data.service, "referred": referred})
        self._put(known)
        for duty in self.view.having(Duty, "case_id", data.case_id):
            rule = self._duty_rule(duty.rule)
            if rule and duties.is_for(rule, before) and not duties.is_for(rule, known):
                self._settle(rule, duty.subject, stands=False)
            elif rule and not rule.service and duties.is_for(rule, known) and not duty.stands:
                self._settle(rule, duty.subject, stands=True)
        topics = self.regime.topics_of_service.get(data.service or "", frozenset())
        waited: defaultdict[tuple[str, str], list[tuple[Said, Happening]]] = defaultdict(list)
        for what in happened_before(known, topics):
            for said in duties.said_by(what, self.regime):
                if said.rule.service and duties.is_for(said.rule, known):
                    waited[said.rule.name, said.subject].append((said, what))
        for heard in waited.values():
            self._heard(heard)

    def _heard(self, heard: Sequence[tuple[Said, Happening]]) -> None:
        """All that had waited about a subject, at once: what stood in between is told to nobody."""
        rule, subject, _ = heard[-1][0]
        told = [fact for said, _ in heard for fact in said.facts]
        if self._duties(rule, subject) or any(fact.kind == "opened" for fact in told):
            self._settle(rule, subject, told, heard[0][1].data, stands=True)

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
        for name, subject in sorted({(item.rule, item.subject) for item in mine if isinstance(item, Duty)}):
            if rule := self._duty_rule(name):
                self._settle(rule, subject, [duties.cancellation(self.now)])
        cases = {
            case.id: case
            for kind in (KnownCase, CaseEvents)
            for case in self.view.having(kind, "client_id", client_id)
        }
        if why == "erased":
            self._removals += mine
            for kind in (KnownCase, CaseEvents):
                self._removals += self.view.having(kind, "client_id", client_id)
        # A milestone may name a follow-up alone, as it may a case.
        for key in sorted({*cases, *(item.id for item in mine if isinstance(item, FollowUp))}):
            self._case_gone(key, client_id, why)

    def _case_gone(self, case_id: str, client_id: str, why: str) -> None:
        """The case of a client who is gone: what a milestone opened ends, which names the case alone, and nothing
        opens again."""
        known = self._case_events(forgotten(case_id)) or self._case_events(case_id)
        if known and known.gone and (why != "erased" or known.id != case_id):
            return
        theirs = [duty for duty in self.view.having(Duty, "case_id", case_id) if duty.client_id is None]
        for name, subject in sorted({(duty.rule, duty.subject) for duty in theirs}):
            if rule := self._duty_rule(name):
                self._settle(rule, subject, [duties.cancellation(self.now)])
        erased = why == "erased"
        if erased:
            self._removals += theirs
        key = forgotten(case_id) if erased else case_id
        self._put(CaseEvents(id=key, client_id="" if erased else client_id, gone=True))

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
            self._release("client_id", data.client_id)

    def _release(self, of: Literal["client_id", "subject"], key: str) -> None:
        for reminder in self.view.having(Reminder, of, key):
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
        if plan is None:
            return
        self._put(plan)
        for follow_up in self.view.having(FollowUp, "held_for", data.subject):
            if follow_up.state == "planned" and not plans.waits(follow_up, plan):
                self._put(follow_up.model_copy(update={"held_for": None, "next_at": self.now}))
                self._release("subject", follow_up.id)

    def _waits(self, item: FollowUp) -> bool:
        """Collision 1, where the switch says so: an amendment of the month's plan waits until it is signed. Care after
        a crisis never does (A32)."""
        policy = self.regime.policy
        if policy.switches.after_the_plan == "amendment" or policy.is_care_after_a_crisis(item.rule):
            return False
        return plans.waits(item, self.view.get(Plan, month_of(item.scheduled_for, policy.switches.zone)))

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
        waits = item.due_at is None and self._waits(item)
        if waits and self.now < item.complete_by:
            month = month_of(item.scheduled_for, self.regime.policy.switches.zone)
            again = min(self.now + LOOK_AGAIN, item.complete_by)
            self._put(item.model_copy(update={"held_for": month, "next_at": again}))
            return
        if item.due_at is None and not waits:
            due = item.due()
            update = {"state": "due", "due_at": self.now, "next_at": max(item.complete_by, self.now)}
            self._put(item.model_copy(update={**update, "held_for": None}))
            self._publish("follow-up-due", due)
            self.happened("follow-up-due", due, self.now)
            return
        self._put(item.model_copy(update={"state": "missed", "next_at": None}))
        self._escalate(item, MANAGER, item.complete_by, "follow-up-missed")

    def _fire_duty(self, item: Duty) -> None:
        rule = self.regime.duty_rules_ever[item.rule]
        late = duties.late_from(item, self.regime)
        if self.now < late:
            self._put(duties.warned(item, rule, self.regime))
            self._escalate(item, item.role, late, "due-soon")
            return
        self.now = late
        self._put(item.model_copy(update={"published": (*item.published, "late"), "next_at": None}))
        self._publish_duty(item, "late", late)
        self._escalate(item, rule.escalate_to, late, "late", rule.urgency)

    def _fire_reminder(self, item: Reminder) -> None:
        in_crisis = item.to == "client" and item.client_id and self._client(item.client_id).open_incidents
        follow_up = self.view.get(FollowUp, item.subject)
        if in_crisis or (follow_up and follow_up.due_at is None and self._waits(follow_up)):
            self._put(item.model_copy(update={"state": "held", "next_at": None}))
            return
        if (
            item.pointless_from and item.pointless_from <= self.now
        ) or item.rule not in self.regime.reminding:
            self._no_reminder(item)
            return
        told_of = {"told_of": item.pointless_from or item.told_of}
        self._put(item.model_copy(update={"state": "sent", "next_at": None, **told_of}))
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
        rule = self.regime.date_rules_ever[item.rule]
        due = CalendarDue(rule=item.rule, clause=item.clause, month=item.month, due_at=item.due_at)
        if item.rule in self.regime.date_rules:
            self._date(dates.next_date(rule, item.due_at, self.regime, beyond=item.month))
        else:
            self._removals.append(item)
        if rule.what == "plan":
            self._put(plans.drafted(self.view.get(Plan, item.month), item.month, self.now))
        self._publish("calendar-due", due)
        self.happened("calendar-due", due, self.now)

    # --- the calendar ---------------------------------------------------------------------------------------

    def calendar_known(self, item: AnyItem) -> None:
        """Compute a provisional item again that is not yet due, by the calendar as it now is (collision 8)."""
        match item:
            case FollowUp():
                change = when_calendar_is_known(item, self.regime, self.now)
                if change:
                    self._follow_up(change)
            case Duty() if rule := self._duty_rule(item.rule):
                self._settle(rule, item.subject)
            case Date():
                self._date_again(item)
            case _:
                pass

    # --- a new version of the policy ------------------------------------------------------------------------

    def new_version(self, known: Document) -> None:
        """Look again at what may not be due yet: the version in force now applies to it."""
        match known:
            case KnownCase():
                self._plan_case(known.classified(), POLICY_CHANGED)
            case KnownClient():
                for resolved in known.resolved:
                    self._plan_care(known, resolved, POLICY_CHANGED)
            case Duty() if rule := self._duty_rule(known.rule):
                self._settle(rule, known.subject)
            case Date():
                self._date_again(known)
            case _:
                pass

    def _date_again(self, item: Date) -> None:
        again = dates.again(item, self.regime)
        rule = self.regime.date_rules.get(item.rule)
        if again is None and rule:  # it comes in other months now
            again = dates.next_date(rule, self.now, self.regime, beyond=item.month)
        if again is None:
            self._removals.append(item)
        elif again != item:
            self._date(again)

    # --- the rules' view of what happens --------------------------------------------------------------------

    def happened(self, topic: str, data: EventData, time: datetime) -> None:
        """Open, fulfil and cancel what the policy's rules say about an event, ours included."""
        what = Happening.of(topic, data, time)
        regime = self.regime.at(what.at)
        told = duties.said_by(what, self.regime)
        known = self._keep(what, told)
        for said in told:
            self._hear(said, what, known)
        self._cancel_reminders(what)
        for reminder_rule, subject in reminders.opened_by(what, regime):
            if not (known and self._ended_since(known, reminder_rule, what)):
                self._remind(reminder_rule, subject, what)

    def _hear(self, said: Said, what: Happening, known: CaseEvents | None) -> None:
        """Tell a duty rule what happened about a subject; `known`: what is kept of the case."""
        rule, subject, told = said
        waits = rule.service is not None and not duties.is_for(rule, known)
        if waits:
            # Nothing is opened before the service is known; what was done is a fact all the same.
            told = tuple(fact for fact in told if fact.kind == "fulfilled")
        if not self._duties(rule, subject):
            if not any(fact.kind in ("opened", "fulfilled") for fact in told):
                return  # an ending of what may never be opened: the case keeps it
            if known and not waits:
                told += tuple(self._facts_kept(known, rule, subject))
        if told:
            stands = duties.is_for(rule, known) if rule.service is None or not waits else None
            self._settle(rule, subject, told, what.data, stands=stands)

    def _facts_kept(self, known: CaseEvents, rule: DutyRule, subject: str) -> Iterator[DutyFact]:
        for what in happened_before(known):
            if rule.subject_of(what.topic, what.data) == subject:
                yield from duties.facts(rule, what, self.regime)

    def _keep(self, what: Happening, told: Sequence[Said]) -> CaseEvents | None:
        """The case that a happening is about, with this happening in it where rules may need it again."""
        found = [known for case_id in sorted(cases_of(what)) if (known := self._case_events(case_id))]
        known = found[0] if found else None
        client_id = getattr(what.data, "client_id", None)
        needed = self._is_needed_again(what, told)
        if not (client_id and (needed or what.topic in SAYS_WHOSE)):
            return known
        if known is None:
            # A milestone does not say whose case it is about: it is found when the client is gone.
            known = CaseEvents(id=str(getattr(what.data, "case_id", None)), client_id=client_id)
            self._put(known)
        if not needed:
            return known
        kept = Told(topic=what.topic, at=what.at, body=what.data.to_json())
        if kept not in known.told:
            known = known.model_copy(update={"told": (*known.told, kept)})
            self._put(known)
        return known

    def _is_needed_again(self, what: Happening, told: Sequence[Said]) -> bool:
        if what.topic not in CASE_TOPICS:
            return False
        if what.topic not in COMPANY_TOPICS:  # what we say ourselves overtakes nothing
            return any(said.rule.service for said in told)
        opens_or_ends = any(fact.kind != "fulfilled" for said in told for fact in said.facts)
        return opens_or_ends or bool(reminders.cancelled_by(what, self.regime))

    def _ended_since(self, known: CaseEvents, rule: ReminderRule, what: Happening) -> bool:
        """Whether that of which is to be reminded had ended already when this was heard of."""
        topics = {ending.event for ending in rule.cancelled_by}
        later = (told for told in known.told if told.at > what.at and told.topic in topics)
        return any(duties.matches(ending, as_told(told)) for told in later for ending in rule.cancelled_by)

    def _cancel_reminders(self, what: Happening) -> None:
        for rule, subject in reminders.cancelled_by(what, self.regime):
            if subject:
                named = self._reminder(reminders.reminder_id(rule, subject))
                held = [named] if named else []
            else:
                case_id = getattr(what.data, "case_id", None)
                of_case = self.view.having(Reminder, "case_id", case_id) if case_id else []
                held = [reminder for reminder in of_case if reminder.rule == rule.name]
            for reminder in held:
                if not _later_said(reminder, what):
                    self._no_reminder(reminder)

    def _remind(self, rule: ReminderRule, subject: str, what: Happening) -> None:
        held = self._reminder(reminders.reminder_id(rule, subject))
        if held and _later_said(held, what):
            return
        reminder = reminders.remind(held, rule, subject, what, self.regime, self.now)
        if reminder:
            self._put(reminder)

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

    def _settle(
        self,
        rule: DutyRule,
        subject: str,
        told: Iterable[DutyFact] = (),
        data: EventData | None = None,
        *,
        stands: bool | None = None,
    ) -> None:
        """Bring the duties of a rule about one subject to what the facts make of them, and tell what is new."""
        held = self._duties(rule, subject)
        keeper = duties.keeper_of(rule, subject, held)
        follow_up = self.view.get(FollowUp, subject)  # a milestone may name it alone
        about = getattr(data, "case_id", None) or _case_in(rule, subject)
        keeper = keeper.model_copy(
            update={
                "facts": duties.together(keeper.facts, told),
                "stands": keeper.stands if stands is None else stands,
                "case_id": keeper.case_id or about or (follow_up and follow_up.case_id),
                "client_id": keeper.client_id
                or getattr(data, "client_id", None)
                or (follow_up and follow_up.client_id),
            }
        )
        for settled in duties.settle(rule, subject, keeper, held, self.regime, self.now):
            self._put(settled.duty)
            for change, at in settled.fresh:
                self._publish_duty(settled.duty, change, at)

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

    def _client(self, client_id: str) -> KnownClient:
        return self._known_client(client_id) or KnownClient(id=client_id)

    def _known_client(self, client_id: str) -> KnownClient | None:
        put = self._puts.get(f"clients {client_id}")
        return put if isinstance(put, KnownClient) else self.view.get(KnownClient, client_id)

    def _gone_already(self, client_id: str) -> str | None:
        known = self._known_client(client_id)
        return known.gone if known else None

    def _duties(self, rule: DutyRule, subject: str) -> dict[str, Duty]:
        """The duties of a rule about one subject, by id, as they stand in this decision."""
        known = {
            duty.id: duty for duty in self.view.having(Duty, "subject", subject) if duty.rule == rule.name
        }
        put = {
            one.id: one
            for one in self._puts.values()
            if isinstance(one, Duty) and (one.rule, one.subject) == (rule.name, subject)
        }
        return known | put

    def _duty_rule(self, name: str) -> DutyRule | None:
        """The rule of a duty, as it last stood; None where no version has it."""
        return self.regime.duty_rules_ever.get(name)

    def _case_events(self, case_id: str) -> CaseEvents | None:
        put = self._puts.get(f"{CaseEvents.collection} {case_id}")
        return put if isinstance(put, CaseEvents) else self.view.get(CaseEvents, case_id)

    def _of_gone_case(self, what: Happening) -> bool:
        return any(self._of_gone_case_id(case_id) for case_id in cases_of(what))

    def _of_gone_case_id(self, case_id: str) -> bool:
        known = self._case_events(forgotten(case_id)) or self._case_events(case_id)
        return known is not None and known.gone

    def _date(self, date: Date) -> None:
        """Put the next coming of a date on the agenda, and what reminds of it."""
        self._put(date)
        reminder = dates.ahead(date, self.regime)
        held = self._reminder(reminder.id) if reminder else None
        if reminder and not (held and held.state == "sent"):
            self._put(reminder)

    def _reminder(self, key: str) -> Reminder | None:
        put = self._puts.get(f"agenda {key}")
        return put if isinstance(put, Reminder) else self.view.get(Reminder, key)
