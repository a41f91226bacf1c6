"""Every topic, declared once: what it says, who publishes and who reads it, how long it is kept, its versions.

Topics are created, AsyncAPI and JSON Schema are generated, publishers are checked, and `docs/events.md` is
written from this list. An example payload of each version lies in `examples/<topic>.v<version>.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.contracts import events
from shared.contracts.types import EventData

COMPANY = "company-systems"
"""The name under which every publisher outside Aftercare goes."""

SERVICES = ("intake", "scheduler", "survey", "crisis", "reporting")


@dataclass(frozen=True)
class Topic:
    """One topic of the bus."""

    name: str
    says: str
    """What an event on it means, in one line."""
    publishers: tuple[str, ...]
    consumers: tuple[str, ...]
    subject: str
    """The field of the body that is the event's subject and the record's key: one subject stays in order."""
    versions: Mapping[int, type[EventData]]
    partitions: int = 12
    retention_days: int = 30
    or_subject: tuple[str, ...] = ()
    """Fields that a publisher may name as the subject instead: a milestone of a case may be told as the case's."""

    def event_type(self, version: int | None = None) -> str:
        """The CloudEvents `type`, `aftercare.case-closed.v1`; the newest version unless one is named."""
        return f"aftercare.{self.name}.v{version or max(self.versions)}"

    @property
    def model(self) -> type[EventData]:
        """The body of the newest version."""
        return self.versions[max(self.versions)]


def _topic(
    name: str,
    says: str,
    publishers: tuple[str, ...],
    consumers: tuple[str, ...],
    subject: str,
    model: type[EventData],
    partitions: int = 12,
    or_subject: tuple[str, ...] = (),
) -> Topic:
    readers = (*consumers, "reporting")
    return Topic(name, says, publishers, readers, subject, {1: model}, partitions, or_subject=or_subject)


_ALL = (
    _topic("case-opened", "Counselling was agreed: kind, agreed sessions, counsellor, eligibility.",
           (COMPANY,), ("intake", "scheduler"), "case_id", events.CaseOpened),
    _topic("booking-requested", "A client asks for counselling.",
           (COMPANY,), ("scheduler",), "booking_id", events.BookingRequested),
    _topic("session-scheduled", "A session will start at a time.",
           (COMPANY,), ("scheduler",), "case_id", events.SessionScheduled),
    _topic("session-completed", "A session was held: its number, times, and marks that call for key attention.",
           (COMPANY,), ("intake", "scheduler"), "case_id", events.SessionCompleted),
    _topic("case-closed", "A case was formally closed: state against expectation, advice given.",
           (COMPANY,), ("intake", "scheduler"), "case_id", events.CaseClosed),
    _topic("client-dropped", "The client stopped before the agreed sessions, and why if known.",
           (COMPANY,), ("intake", "scheduler"), "case_id", events.ClientDropped),
    _topic("crisis-flagged", "Someone may be in danger. Every level pages; a drill is marked and plans nothing.",
           (COMPANY, "survey", "intake"), ("crisis", "intake"), "client_id", events.CrisisFlagged),
    _topic("attention-changed", "Key attention was proposed, decided or lifted.",
           (COMPANY, "intake"), ("intake",), "case_id", events.AttentionChanged),
    _topic("consent-changed", "What the client allows: follow-up, scales, recording, sharing with the employer.",
           (COMPANY, "survey"), ("intake", "scheduler", "survey"), "client_id", events.ConsentChanged),
    _topic("client-status-changed", "The client died, is incapable or unreachable, or is active again.",
           (COMPANY,), ("intake", "scheduler", "survey"), "client_id", events.ClientStatusChanged),
    _topic("client-erased", "Everything about the client must go.",
           (COMPANY,), ("intake", "scheduler", "survey", "crisis"), "client_id", events.ClientErased),
    _topic("milestone-reached", "Something was done that a duty asks for: what, for which thing, by whom.",
           (COMPANY, "survey", "scheduler", "intake"), ("scheduler", "survey", "intake"), "subject",
           events.MilestoneReached, or_subject=("case_id",)),
    _topic("staff-updated", "A follow-up person's certificate, experience, exam, training or availability.",
           (COMPANY,), ("survey", "scheduler"), "staff_id", events.StaffUpdated),
    _topic("case-classified", "The case as it now stands, whole, with a revision that counts up.",
           ("intake",), ("scheduler", "survey"), "case_id", events.CaseClassified),
    _topic("follow-up-planned", "A follow-up was planned, moved, cancelled or superseded, by which rule and clause.",
           ("scheduler",), ("survey",), "follow_up_id", events.FollowUpPlanned),
    _topic("follow-up-due", "The time has come to prepare and conduct a follow-up.",
           ("scheduler",), ("survey",), "follow_up_id", events.FollowUpDue),
    _topic("reminder-due", "Someone must be told something now: the only event that makes a message go out.",
           ("scheduler",), ("survey",), "reminder_id", events.ReminderDue),
    _topic("follow-up-recorded", "How a follow-up ended: outcome, satisfaction, flags, bands; never answers.",
           ("survey",), ("scheduler", "intake"), "follow_up_id", events.FollowUpRecorded),
    _topic("duty-changed", "A duty opened, was fulfilled, ran late or was cancelled.",
           ("scheduler",), (), "duty_id", events.DutyChanged),
    _topic("calendar-due", "A date of the regime has come: classification, plan, report, sample.",
           ("scheduler",), ("intake", "survey"), "month", events.CalendarDue, 1),
    _topic("escalation-required", "A deadline is missed or about to be: which clause, how urgent, which role.",
           ("scheduler", "crisis"), ("crisis",), "escalation_id", events.EscalationRequired),
    _topic("incident-changed", "An incident was opened, paged, acknowledged, taken up, resolved.",
           ("crisis",), ("scheduler", "survey"), "client_id", events.IncidentChanged),
    _topic("report-published", "A month's report is out, with its figures.",
           ("reporting",), ("scheduler",), "month", events.ReportPublished, 1),
)  # fmt: skip

TOPICS: Mapping[str, Topic] = {topic.name: topic for topic in _ALL}

COMPANY_TOPICS = frozenset(name for name, topic in TOPICS.items() if COMPANY in topic.publishers)
"""What systems outside Aftercare may publish."""


def dead_letter_topic(service: str) -> str:
    """Where a service puts word of the records it could not take."""
    return f"{service}.dead-letter"


def consumed_by(service: str) -> tuple[str, ...]:
    """The topics that a service reads, in the order of their declaration."""
    return tuple(name for name, topic in TOPICS.items() if service in topic.consumers)
