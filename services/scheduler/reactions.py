"""Event or timer -> changes of the agenda and the events that tell of them. No I/O but `read`.

What a decision does about each subject lies in `deciding/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.scheduler.deciding.cases import Cases
from services.scheduler.deciding.firing import Firing
from services.scheduler.deciding.rules import CASE_TOPICS, cases_of, forgotten, happened_before
from services.scheduler.domain import dates, reminders
from services.scheduler.domain.agenda import AnyItem, CaseEvents, Date, Duty, FollowUp, KnownCase, KnownClient
from services.scheduler.domain.duties import Happening
from services.scheduler.domain.planning import POLICY_CHANGED, Regime, when_calendar_is_known
from services.scheduler.store import Store
from shared.contracts.envelope import Event
from shared.contracts.events import (
    CaseClassified,
    ClientErased,
    ClientStatusChanged,
    ConsentChanged,
    FollowUpRecorded,
    IncidentChanged,
    MilestoneReached,
)
from shared.mongo.client import Session
from shared.mongo.documents import Changes, Document, View


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


class Decision(Cases, Firing):
    """One decision in the making: an event, a timer, a calendar that is known, or a version that begins."""

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

    # --- the calendar, a new version of the policy ----------------------------------------------------------

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
