"""What the policy's rules say about what happens: duties open, are fulfilled and end, reminders start and stop."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from datetime import datetime

from services.scheduler.deciding.draft import Draft
from services.scheduler.domain import duties, reminders
from services.scheduler.domain.agenda import CaseEvents, DutyFact, FollowUp, Reminder, Told, name_of
from services.scheduler.domain.duties import Happening, Said
from shared.contracts.events import MilestoneReached
from shared.contracts.topics import COMPANY_TOPICS, TOPICS
from shared.contracts.types import EventData
from shared.policy.model import DutyRule, ReminderRule

CASE_TOPICS = frozenset(
    name for name, topic in TOPICS.items() if {"case_id", "client_id"} <= set(topic.model.model_fields)
) - {"case-classified"}
"""What is said of a case, each a fact by itself."""
SAYS_WHOSE = (CASE_TOPICS & COMPANY_TOPICS) | {"follow-up-recorded"}
"""What comes from the bus and says whose case it is about."""


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


class Rules(Draft):
    """The part of a decision that listens to what happens, ours included."""

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

    def _heard(self, heard: Sequence[tuple[Said, Happening]]) -> None:
        """All that had waited about a subject, at once: what stood in between is told to nobody."""
        rule, subject, _ = heard[-1][0]
        told = [fact for said, _ in heard for fact in said.facts]
        if self._duties(rule, subject) or any(fact.kind == "opened" for fact in told):
            self._settle(rule, subject, told, heard[0][1].data, stands=True)

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
                    if gone_on := reminders.gone_on(reminder, what):
                        self._put(gone_on)

    def _remind(self, rule: ReminderRule, subject: str, what: Happening) -> None:
        held = self._reminder(reminders.reminder_id(rule, subject))
        if held and _later_said(held, what):
            return
        reminder = reminders.remind(held, rule, subject, what, self.regime, self.now)
        if reminder:
            self._put(reminder)

    def _no_reminder(self, reminder: Reminder) -> None:
        if reminder.state in ("waiting", "held"):
            self._put(reminder.model_copy(update={"state": "cancelled", "next_at": None}))

    def _of_gone_case(self, what: Happening) -> bool:
        return any(self._of_gone_case_id(case_id) for case_id in cases_of(what))

    def _of_gone_case_id(self, case_id: str) -> bool:
        known = self._case_events(forgotten(case_id)) or self._case_events(case_id)
        return known is not None and known.gone


def _case_in(rule: DutyRule, subject: str) -> str | None:
    """The case that a rule's subject names, alone or with a session's number."""
    if rule.subject.split(":")[0] != "case_id":
        return None
    return subject.rsplit(":", 1)[0] if ":" in rule.subject else subject


def _later_said(held: Reminder, what: Happening) -> bool:
    """Whether what company systems say now was overtaken by a later word of theirs. What we say comes in order."""
    return what.topic in COMPANY_TOPICS and held.said_at is not None and held.said_at > what.at
