"""Every event -> the read model it is a fact of; `calendar-due` of the report's date -> the month's report."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.reporting.domain import counting
from services.reporting.domain.counting import Facts
from services.reporting.domain.months import policy_of
from services.reporting.domain.read_models import (
    Case,
    Duty,
    Escalation,
    FollowUp,
    Incident,
    IntakeData,
    Report,
    Sampled,
    StaffMember,
)
from services.reporting.store import Store
from shared.contracts.envelope import Event, derive
from shared.contracts.events import (
    CalendarDue,
    CaseClassified,
    DutyChanged,
    EscalationRequired,
    FollowUpDue,
    FollowUpPlanned,
    FollowUpRecorded,
    IncidentChanged,
    MilestoneReached,
    ReportPublished,
    StaffUpdated,
)
from shared.contracts.sampling import Said
from shared.contracts.sampling import said as said_of_sample
from shared.mongo.client import Session
from shared.mongo.documents import Changes, View
from shared.policy.versions import Policies

SOURCE = "/aftercare/reporting"
REPORT_RULE = "report-5th"
"""The row of the policy's calendar that asks for the report (F64)."""
REPORT = "follow-up-analysis"


class ReportingReactions:
    """What reporting does about events: it keeps their facts, and publishes a report once a month."""

    def __init__(self, store: Store, policies: Policies) -> None:
        self._store = store
        self._policies = policies
        self._zone = policies.versions[-1].switches.zone

    async def read(self, session: Session, events: Sequence[Event]) -> View:
        bodies = [event.data for event in events]
        follow_ups = [
            one.follow_up_id
            for one in bodies
            if isinstance(one, FollowUpPlanned | FollowUpDue | FollowUpRecorded)
        ]
        cases = [one.case_id for one in bodies if isinstance(one, CaseClassified)]
        months = [one.month for one in bodies if isinstance(one, CalendarDue) and one.rule == REPORT_RULE]
        view = View()
        for month in months:
            facts = await self._store.of_month(month, session, follow_ups, cases)
            for documents in (
                facts.follow_ups,
                facts.duties,
                facts.escalations,
                facts.incidents,
                facts.cases,
                facts.intake_data,
                facts.sampled,
                facts.staff,
                facts.earlier,
                facts.budgets,
                facts.served,
            ):
                view.load(documents)
        view.load(await self._store.by_id(FollowUp, follow_ups, session))
        view.load(
            await self._store.by_id(
                Duty, [one.duty_id for one in bodies if isinstance(one, DutyChanged)], session
            )
        )
        view.load(
            await self._store.by_id(
                Incident, [one.incident_id for one in bodies if isinstance(one, IncidentChanged)], session
            )
        )
        view.load(await self._store.by_id(Case, cases, session))
        drawn = [one.subject for one in bodies if isinstance(one, MilestoneReached) and _of_sample(one)]
        view.load(await self._store.by_id(Sampled, drawn, session))
        view.load(
            await self._store.by_id(
                StaffMember, [one.staff_id for one in bodies if isinstance(one, StaffUpdated)], session
            )
        )
        view.load(await self._store.by_id(Report, months, session))
        return view

    def decide(self, view: View, event: Event, now: datetime) -> Changes:
        match event.data:
            case FollowUpPlanned(follow_up_id=key) | FollowUpDue(follow_up_id=key) as data:
                follow_up = view.get(FollowUp, key) or FollowUp(id=key)
                return Changes(puts=[follow_up.planned(event, data, self._zone)])
            case FollowUpRecorded(follow_up_id=key) as data:
                follow_up = view.get(FollowUp, key) or FollowUp(id=key)
                return Changes(puts=[follow_up.recorded(event, data)])
            case DutyChanged(duty_id=key) as data:
                return Changes(puts=[Duty.changed(view.get(Duty, key), event, data, self._zone)])
            case EscalationRequired() as data:
                return Changes(puts=[Escalation.required(data, self._zone)])
            case IncidentChanged(incident_id=key) as data:
                return Changes(puts=[Incident.changed(view.get(Incident, key), data, self._zone)])
            case CaseClassified(case_id=key) as data:
                return Changes(puts=[Case.classified(view.get(Case, key), data, self._zone)])
            case MilestoneReached(milestone="intake-complete") as data:
                return Changes(puts=[IntakeData(id=data.case_id or data.subject)])
            case StaffUpdated(staff_id=key) as data:
                return Changes(puts=[StaffMember.updated(view.get(StaffMember, key), event, data)])
            case MilestoneReached(subject=key) as data if said := _of_sample(data):
                return Changes(puts=[Sampled.told(view.get(Sampled, key), key, said)])
            case CalendarDue(rule=rule, month=month) if rule == REPORT_RULE:
                return self._publish(view, event, month, now)
            case _:
                return Changes()

    def _publish(self, view: View, event: Event, month: str, now: datetime) -> Changes:
        """F64: a month is reported once; what is told later changes the live figures alone."""
        if view.get(Report, month):
            return Changes()
        figures = counting.figures(month, Facts.of(view), policy_of(month, self._policies, now), now)
        said = ReportPublished(month=month, report=REPORT, published_at=now, figures=counting.flat(figures))
        return Changes(
            puts=[Report(id=month, published_at=now, figures=figures)],
            events=[derive(event.unique, SOURCE, said, time=now, topic="report-published")],
        )


def _of_sample(data: MilestoneReached) -> Said | None:
    return said_of_sample(data.milestone, data.subject)
