"""Event -> what the survey knows of follow-ups, clients and staff, and which message goes out. No I/O in `decide`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from services.survey.domain import cases, clients, follow_ups, messages, plans, samples, staff
from services.survey.domain.cases import Case
from services.survey.domain.clients import Client
from services.survey.domain.follow_ups import FollowUp
from services.survey.domain.links import Links
from services.survey.domain.messages import Message, Notice
from services.survey.domain.plans import MonthPlan
from services.survey.domain.questionnaire import Response
from services.survey.domain.records import Sheet
from services.survey.domain.samples import Item, Recorded, Sample
from services.survey.domain.staff import StaffMember
from services.survey.store import Store
from shared.contracts.envelope import Event, Refused
from shared.contracts.events import (
    CalendarDue,
    CaseClassified,
    ClientErased,
    ClientStatusChanged,
    ConsentChanged,
    FollowUpDue,
    FollowUpPlanned,
    IncidentChanged,
    MilestoneReached,
    ReminderDue,
    StaffUpdated,
)
from shared.contracts.plans import MILESTONES
from shared.mongo.client import Session
from shared.mongo.documents import Changes, Document, View
from shared.mongo.erasure import Erasure
from shared.policy.counting import month_span
from shared.policy.versions import Policies


class SurveyReactions:
    """What the survey does about each event. It speaks when somebody acts; of events alone only about what it drew."""

    def __init__(self, store: Store, links: Links, policies: Policies) -> None:
        self._store = store
        self._links = links
        self._policies = policies
        self._sample_dates = samples.rules(policies)

    async def read(self, session: Session, events: Sequence[Event]) -> View:
        return await self._store.concerning(session, events)

    def decide(self, view: View, event: Event, now: datetime) -> Changes:
        client_id = getattr(event.data, "client_id", None)
        if client_id and view.get(Erasure, client_id):
            return Changes()  # too late: the client has been forgotten
        match event.data:
            case FollowUpPlanned() | FollowUpDue() as data:
                return self._follow_up(view, event, data, now)
            case ReminderDue() as data:
                return _reminder(view, data, now)
            case CaseClassified() as data:
                return Changes(puts=[cases.classified(view.get(Case, data.case_id), data)])
            case StaffUpdated() as data:
                return Changes(puts=[staff.updated(view.get(StaffMember, data.staff_id), event, data)])
            case ConsentChanged() as data:
                return with_client(view, clients.consent(_client(view, data.client_id), event, data), now)
            case ClientStatusChanged() as data:
                return with_client(view, clients.status(_client(view, data.client_id), data), now)
            case IncidentChanged() as data:
                return with_client(view, clients.incident(_client(view, data.client_id), data), now)
            case ClientErased() as data:
                return _erase(view, data.client_id)
            case CalendarDue() as data if self._asks_for_a_plan(data, event.time):
                return Changes(puts=[plans.drafted(view.get(MonthPlan, data.month), data.month)])
            case CalendarDue() as data if data.rule in self._sample_dates:
                return self._draw(view, event, data, now)
            case MilestoneReached() as data if data.milestone in MILESTONES:
                return Changes(puts=[plans.decided(view.get(MonthPlan, data.subject), event, data)])
            case _:
                return Changes()

    def _draw(self, view: View, event: Event, data: CalendarDue, now: datetime) -> Changes:
        """F71, F72: a month's sample is drawn once, of what its clients have not had erased."""
        kind, month = self._sample_dates[data.rule], data.month
        if view.get(Sample, samples.sample_id(month, kind)):
            return Changes()
        policy = self._policies.by(event.time)
        start, end = month_span(month, policy.switches.zone)
        sheets = [
            sheet
            for sheet in view.all(Recorded)
            if start <= sheet.recorded_at < end and not view.get(Erasure, sheet.client_id)
        ]
        known = {client.id: client for client in view.all(Client)}
        share = policy.sample(samples.SHARES[kind]).share
        among = samples.candidates(sheets, kind, known)
        sample, items = samples.draw(month, kind, among, share, now)
        return Changes(puts=[sample, *items], events=[samples.drawn(item, now) for item in items])

    def _follow_up(
        self, view: View, event: Event, data: FollowUpPlanned | FollowUpDue, now: datetime
    ) -> Changes:
        known = view.get(FollowUp, data.follow_up_id)
        if known and known.client_id != data.client_id:
            raise Refused("client-mismatch", "data.client_id", "this follow-up belongs to another client")
        invitation = self._links.invitation(data.follow_up_id)
        begins_before = self._policies.by(event.time).switches.work_begins_before
        if isinstance(data, FollowUpPlanned):
            told = follow_ups.planned(known, data, event.time, invitation, begins_before)
        else:
            told = follow_ups.due(known, data, event.time, invitation, begins_before)
        told = told.model_copy(update={"stopped": _client(view, data.client_id).stopped})
        changes = Changes(puts=[told])
        return changes + dropped_with(view, told, now) if told.over else changes

    def _asks_for_a_plan(self, data: CalendarDue, at: datetime) -> bool:
        rules = self._policies.by(at).calendar
        return any(rule.name == data.rule and rule.what == "plan" for rule in rules)


def _client(view: View, client_id: str) -> Client:
    return view.get(Client, client_id) or Client(id=client_id)


def _reminder(view: View, data: ReminderDue, now: datetime) -> Changes:
    """To a client: a message for the gateway. To staff: a notice in the worklist."""
    if data.to != "client":
        return Changes(puts=[messages.noticed(data)])
    if data.client_id is None:
        raise Refused("invalid-field", "data.client_id", "a reminder to a client must name the client")
    message = messages.taken(data, data.client_id, now)
    follow_up = view.get(FollowUp, data.subject)
    return Changes(puts=[messages.judged(message, view.get(Client, data.client_id), follow_up, now)])


def with_client(view: View, client: Client, now: datetime) -> Changes:
    """The client as now known, with what that means for open follow-ups and pending messages."""
    if client == view.get(Client, client.id):
        return Changes()
    puts: list[Document] = [client]
    for follow_up in view.having(FollowUp, "client_id", client.id):
        if follow_up.stopped != client.stopped:
            puts.append(follow_up.model_copy(update={"stopped": client.stopped}))
    for message in view.having(Message, "client_id", client.id):
        after = messages.judged(message, client, view.get(FollowUp, message.subject), now)
        puts += [after] if after != message else []
    return Changes(puts=puts)


def dropped_with(view: View, follow_up: FollowUp, now: datetime) -> Changes:
    """The pending messages about a follow-up that is over."""
    client = view.get(Client, follow_up.client_id)
    judged = [
        (message, messages.judged(message, client, follow_up, now))
        for message in view.having(Message, "subject", follow_up.id)
    ]
    return Changes(puts=[after for before, after in judged if after != before])


def _erase(view: View, client_id: str) -> Changes:
    """Nothing about the client stays but the mark that keeps late events out; the data key goes next."""
    found: list[Document] = []
    for kind in (Case, FollowUp, Message, Notice, Response, Sheet):
        found += view.having(kind, "client_id", client_id)
    drawn = view.having(Item, "client_id", client_id)
    found += drawn
    client = view.get(Client, client_id)
    puts: list[Document] = [Erasure(id=client_id)]
    for key, erased in Counter(item.sample for item in drawn if item.check is None).items():
        if sample := view.get(Sample, key):
            puts.append(sample.model_copy(update={"erased": sample.erased + erased}))
    return Changes(puts=puts, removals=[*found, *([client] if client else [])])
