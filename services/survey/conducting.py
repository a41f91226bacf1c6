"""Conducting a follow-up: each command is one transaction that changes state and says so on the bus."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import structlog
from bson import ObjectId
from pymongo.errors import PyMongoError

from services.survey.domain import follow_ups, links, questionnaire, records, staff
from services.survey.domain.clients import Client, consent
from services.survey.domain.follow_ups import FollowUp
from services.survey.domain.links import Opening
from services.survey.domain.questionnaire import Answer, Forms, Question, Response
from services.survey.domain.records import Conducted, RecordSheet, Sheet
from services.survey.domain.staff import StaffMember
from services.survey.reactions import dropped_with, with_client
from services.survey.store import Store
from shared.clock import Clock
from shared.contracts.envelope import Event, derive
from shared.contracts.events import ConsentChanged, MilestoneReached, Purposes
from shared.messaging.bus import Outgoing
from shared.messaging.progress import Progress
from shared.mongo.client import Session
from shared.mongo.documents import Changes, View
from shared.mongo.encryption import Vault
from shared.mongo.erasure import Erasure
from shared.mongo.journal import Entry, Journal, Outcome
from shared.observability import tracing
from shared.policy.model import Policy
from shared.web.problems import Problem

log = structlog.get_logger(__name__)

NOTICE_VERSION = "follow-up-questionnaire-1"
"""The version of the words in which the questionnaire offers to withdraw."""

BY_QUESTIONNAIRE = "questionnaire"
"""Who conducted a follow-up that nobody conducted."""

MAX_TEXT = 20_000


class CrisisLine:
    """Tells the crisis service of a flag over HTTP, when bus or database do not take it within seconds."""

    def __init__(self, http: httpx.AsyncClient | None, patience: float, progress: Progress) -> None:
        self._http = http
        self._progress = progress
        self.patience = patience

    async def tell(self, flag: Event) -> bool:
        """Whether the crisis service took it. Telling it twice is harmless."""
        if self._http is None:
            log.error("a crisis waits for the bus and AFTERCARE_CRISIS_URL is not set")
            return False
        try:
            with self._progress.busy("survey"):
                answer = await self._http.post("/v1/crises", json=flag.structured())
                answer.raise_for_status()
        except httpx.HTTPError as error:
            log.error("the crisis service could not be told", error=type(error).__name__)
            return False
        return True


@dataclass(frozen=True)
class Visit:
    """What an opened link shows: the follow-up, what becomes of the link, and the answers so far."""

    follow_up: FollowUp
    opening: Opening
    asked: tuple[Question, ...]
    answers: dict[str, Answer]

    def question(self, key: str) -> Question | None:
        return next((question for question in self.asked if question.id == key), None)


class Conducting:
    """The commands of staff and clients."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        vault: Vault,
        clock: Clock,
        policy: Policy,
        forms: Forms,
        crisis_line: CrisisLine,
        changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._journal = journal
        self._vault = vault
        self._clock = clock
        self._policy = policy
        self._forms = forms
        self._crisis_line = crisis_line
        self._changed = changed

    # --- staff ------------------------------------------------------------------------------------------------

    async def record(self, follow_up_id: str, sheet: RecordSheet, subject: str) -> Sheet:
        """Take a record sheet. Raises Problem; a crisis on it is flagged even then (F58)."""
        now = self._clock.now()
        by = sheet.conducted_by or staff.staff_id(subject)
        member = await self._store.one(StaffMember, by)
        remarks = self._remarks(member, sheet, by)
        problems: list[Problem] = []
        taken: list[Sheet] = []
        flags: list[Event] = []

        async def work(session: Session) -> Outcome:
            for kept_from_last_try in (problems, taken, flags):
                kept_from_last_try.clear()
            view = await self._store.about(session, follow_up_id)
            follow_up = self._known(view, follow_up_id)
            known = view.get(Sheet, follow_up_id)
            if known and known.digest == sheet.digest():
                taken.append(known)
                return Outcome()
            found = self._objection(sheet, follow_up, member, now)
            if follow_up.outcome:
                found = Problem(409, "already-recorded", "this follow-up was recorded with other contents")
            if found:
                problems.append(found)
            if sheet.is_crisis:
                flags.append(records.crisis(follow_up, "follow-up", sheet.crisis_signals, now, by))
            if found:
                name = f"refused-crisis {follow_up_id} {sheet.digest()}"
                if await self._journal.seen(session, [f"out {name}"]):
                    flags.clear()
                return _outcome(view, Changes(), name, flags)
            how = records.conducted(sheet, by, now)
            notes = await self._vault.seal(follow_up.client_id, sheet.notes) if sheet.notes else None
            kept = records.sheet_of(follow_up, how, sheet.digest(), notes, now)
            kept = kept.model_copy(update={"remarks": tuple(remarks)})
            taken.append(kept)
            return self._ended(view, follow_up, how, Changes(puts=[kept]), flags, now)

        await self._carried_out(work, flags)
        if problems:
            raise problems[0]
        return taken[0]

    def _objection(
        self, sheet: RecordSheet, follow_up: FollowUp, member: StaffMember | None, now: datetime
    ) -> Problem | None:
        found = records.objection(sheet, follow_up, now)
        if found:
            told = " (the crisis was flagged all the same)" if sheet.is_crisis else ""
            return Problem(found.status, found.reason, found.detail + told, field=found.field)
        if member is None or sheet.is_crisis:
            return None
        missing = staff.objections(member, self._policy.staffing, sheet.conducted_at)
        if not missing:
            return None
        told = ", ".join(_MISSING[one] for one in missing)
        return Problem(403, "not-qualified", f"this person may not conduct follow-ups: {told}")

    def _remarks(self, member: StaffMember | None, sheet: RecordSheet, by: str) -> list[str]:
        if member is None:
            return ["no staff-updated has been seen for this person: the qualification was not checked"]
        missing = staff.objections(member, self._policy.staffing, sheet.conducted_at)
        if missing and sheet.is_crisis:
            return ["taken because of the crisis, though this person may not conduct follow-ups"]
        return []

    async def prepared(self, follow_up_id: str, subject: str) -> FollowUp:
        """F52: all preparation is done. Saying it again changes nothing."""
        now = self._clock.now()
        by = staff.staff_id(subject)
        found: list[FollowUp] = []

        async def work(session: Session) -> Outcome:
            found.clear()
            view = await self._store.about(session, follow_up_id)
            follow_up = self._known(view, follow_up_id)
            if follow_up.prepared_at:
                found.append(follow_up)
                return Outcome()
            self._still_to_do(follow_up)
            after = follow_up.model_copy(update={"prepared_at": now, "prepared_by": by})
            found.append(after)
            milestone = MilestoneReached(
                milestone="follow-up-prepared",
                subject=follow_up_id,
                case_id=follow_up.case_id,
                reached_at=now,
                by=by,
            )
            event = derive(
                f"prepared {follow_up_id}", records.SOURCE, milestone, time=now, topic="milestone-reached"
            )
            return _outcome(view, Changes(puts=[after]), f"follow-up-prepared {follow_up_id}", [event])

        await self._journal.transact(work)
        return found[0]

    async def attempted(self, follow_up_id: str, at: datetime | None, result: str, subject: str) -> FollowUp:
        """Count a call that reached nobody. A fifth is refused: nobody is called five times."""
        now = self._clock.now()
        when = at or now
        if when > now + records.TOLERANCE:
            raise Problem(422, "in-the-future", "attempted_at lies in the future", field="attempted_at")

        def call(follow_up: FollowUp) -> FollowUp:
            if follow_up.stopped:
                raise Problem(409, f"client-{follow_up.stopped}", "this client may not be called any more")
            after = follow_ups.attempt(follow_up, when, result, staff.staff_id(subject))
            if after is None:
                raise Problem(
                    409,
                    "called-often-enough",
                    f"{follow_ups.MOST_ATTEMPTS} calls were made: record it as unreachable, do not call again",
                )
            return after

        return await self._changed_follow_up(follow_up_id, call)

    async def video_booked(self, follow_up_id: str, starts_at: datetime) -> FollowUp:
        """F23, F24: a video call is for key attention, and booked a day ahead."""
        now = self._clock.now()
        ahead = self._policy.bound("video-booking").at_least or timedelta()

        def book(follow_up: FollowUp) -> FollowUp:
            if follow_up.case_class != "key-attention":
                raise Problem(422, "video-not-allowed", "F23: video is for key attention only")
            if starts_at < now + ahead:
                hours = int(ahead.total_seconds() // 3600)
                raise Problem(
                    422,
                    "booked-too-late",
                    f"F24: a video call is booked at least {hours} hours ahead",
                    field="starts_at",
                )
            return follow_up.model_copy(update={"video_booked_for": starts_at, "video_booked_at": now})

        return await self._changed_follow_up(follow_up_id, book)

    async def _changed_follow_up(self, follow_up_id: str, change: Callable[[FollowUp], FollowUp]) -> FollowUp:
        found: list[FollowUp] = []

        async def work(session: Session) -> Outcome:
            found.clear()
            view = await self._store.about(session, follow_up_id)
            follow_up = self._known(view, follow_up_id)
            self._still_to_do(follow_up)
            after = change(follow_up)
            found.append(after)
            if after != follow_up:
                view.apply(Changes(puts=[after]))
            return Outcome(view=view)

        await self._journal.transact(work)
        return found[0]

    # --- the client -------------------------------------------------------------------------------------------

    async def visit(self, invitation: str) -> Visit | None:
        """What an opened link shows. Opening changes nothing: robots that preview links open them too."""
        follow_up = await self._store.invited(invitation)
        if follow_up is None:
            return None
        client = await self._store.one(Client, follow_up.client_id)
        opening = links.opening(follow_up, client, self._clock.now())
        response = await self._store.one(Response, follow_up.id) if opening == "open" else None
        asked = self._forms.asked(follow_up.template, follow_up.case_class)
        return Visit(follow_up, opening, asked, await self._answers(response))

    async def answered(self, follow_up_id: str, question: Question, answer: Answer) -> Opening:
        """Save an answer. A sign of danger stops the form at once and flags a crisis (F58)."""
        now = self._clock.now()
        crisis = questionnaire.is_crisis(question, answer)
        flags: list[Event] = []
        found: list[Opening] = []

        async def work(session: Session) -> Outcome:
            flags.clear()
            found.clear()
            view = await self._store.about(session, follow_up_id)
            follow_up = self._known(view, follow_up_id)
            opening = links.opening(follow_up, view.get(Client, follow_up.client_id), now)
            found.append(opening)
            if opening != "open":
                return Outcome()
            before = view.get(Response, follow_up_id)
            answers = {**await self._answers(before), question.id: answer}
            saved = await self._response(follow_up, before, answers, now)
            if not crisis:
                # The follow-up is written too, so that an erasure at the same moment conflicts instead of crossing.
                view.apply(Changes(puts=[saved, follow_up]))
                return Outcome(view=view)
            found[-1] = "stopped-for-crisis"
            flags.append(records.crisis(follow_up, "questionnaire", ("suicidal-thoughts",), now))
            saved = saved.model_copy(update={"state": "stopped-for-crisis"})
            how = Conducted("questionnaire", now, BY_QUESTIONNAIRE, "stopped-for-crisis")
            return self._ended(view, follow_up, how, self._kept(follow_up, how, saved, now), flags, now)

        if crisis:
            flag = await self._flag_for(follow_up_id, now)
            await self._carried_out(work, flags, otherwise=flag)
            return found[-1] if found else "stopped-for-crisis"
        await self._journal.transact(work)
        return found[-1]

    async def finished(self, follow_up_id: str) -> Opening:
        """The response is sent: the link is spent, the follow-up recorded."""
        now = self._clock.now()
        found: list[Opening] = []

        async def work(session: Session) -> Outcome:
            found.clear()
            view = await self._store.about(session, follow_up_id)
            follow_up = self._known(view, follow_up_id)
            opening = links.opening(follow_up, view.get(Client, follow_up.client_id), now)
            found.append(opening)
            before = view.get(Response, follow_up_id)
            answers = await self._answers(before)
            asked = self._forms.asked(follow_up.template, follow_up.case_class)
            if opening != "open" or before is None or questionnaire.next_question(asked, answers):
                return Outcome()
            found[-1] = "finished"
            got = questionnaire.result(answers)
            how = Conducted(
                "questionnaire",
                now,
                BY_QUESTIONNAIRE,
                "completed",
                got.satisfaction,
                got.flags,
                dict(got.bands),
                got.dropped_reason,
            )
            saved = before.model_copy(update={"state": "finished", "saved_at": now})
            return self._ended(view, follow_up, how, self._kept(follow_up, how, saved, now), [], now)

        await self._journal.transact(work)
        self._changed()
        return found[-1]

    async def refused(self, follow_up_id: str, *, withdraw: bool) -> Opening:
        """F10: the client wants no more of this follow-up, or (`withdraw`) of any."""
        now = self._clock.now()
        found: list[Opening] = []

        async def work(session: Session) -> Outcome:
            found.clear()
            view = await self._store.about(session, follow_up_id)
            follow_up = self._known(view, follow_up_id)
            client = view.get(Client, follow_up.client_id)
            opening = links.opening(follow_up, client, now)
            found.append("refused" if opening == "open" else opening)
            changes, said = Changes(), []
            if withdraw and not (client and client.stopped):
                event = self._withdrawal(follow_up, now)
                known = client or Client(id=follow_up.client_id)
                assert isinstance(event.data, ConsentChanged)
                changes = with_client(view, consent(known, event, event.data), now)
                said = [event]
            if opening != "open":
                return _outcome(view, changes, f"withdrawn {follow_up_id} {now.isoformat()}", said)
            view.apply(changes)
            how = Conducted("questionnaire", now, BY_QUESTIONNAIRE, "refused")
            current = view.get(FollowUp, follow_up_id) or follow_up
            before = view.get(Response, follow_up_id)
            saved = before.model_copy(update={"state": "refused", "saved_at": now}) if before else None
            return self._ended(view, current, how, self._kept(follow_up, how, saved, now), said, now)

        await self._journal.transact(work)
        self._changed()
        return found[-1]

    # --- reading what is sealed -------------------------------------------------------------------------------

    async def read_record(self, follow_up_id: str, subject: str, role: str) -> dict[str, Any] | None:
        """The record sheet with its free text and answers; the reading is logged before anything is opened (F6)."""
        sheet = await self._store.one(Sheet, follow_up_id)
        if sheet is None:
            return None
        await self._store.log_access(
            {
                "_id": str(ObjectId()),
                "who": subject,
                "role": role,
                "what": "record-sheet",
                "follow_up_id": follow_up_id,
                "client_id": sheet.client_id,
                "at": self._clock.now(),
            }
        )
        notes = await self._vault.open(sheet.notes) if sheet.notes else None
        response = await self._store.one(Response, follow_up_id)
        return {"sheet": sheet, "notes": notes, "answers": await self._answers(response)}

    # --- within -----------------------------------------------------------------------------------------------

    @staticmethod
    def _known(view: View, follow_up_id: str) -> FollowUp:
        follow_up = view.get(FollowUp, follow_up_id)
        if follow_up is None or view.get(Erasure, follow_up.client_id):
            raise Problem(
                404,
                "unknown-follow-up",
                "no such follow-up; a crisis can be flagged at the crisis service: POST /v1/crises",
            )
        return follow_up

    @staticmethod
    def _still_to_do(follow_up: FollowUp) -> None:
        if follow_up.over:
            raise Problem(
                409,
                f"follow-up-{follow_up.state}",
                f"the follow-up is {follow_up.state}: nothing is left to do",
            )

    def _ended(
        self,
        view: View,
        follow_up: FollowUp,
        how: Conducted,
        kept: Changes,
        said: Sequence[Event],
        now: datetime,
    ) -> Outcome:
        """The end of a follow-up: state, messages dropped, everything said in one journal entry. The flag of a
        crisis goes first."""
        after = follow_ups.settled(follow_up.model_copy(update={"outcome": how.outcome, "recorded_at": now}))
        changes = kept + Changes(puts=[after]) + dropped_with(view, after, now)
        events = [*said, *records.said(follow_up, how, now)]
        return _outcome(view, changes, f"follow-up-recorded {follow_up.id}", events)

    @staticmethod
    def _kept(follow_up: FollowUp, how: Conducted, response: Response | None, now: datetime) -> Changes:
        sheet = records.sheet_of(follow_up, how, "", None, now)
        return Changes(puts=[sheet, *([response] if response else [])])

    async def _response(
        self, follow_up: FollowUp, before: Response | None, answers: dict[str, Answer], now: datetime
    ) -> Response:
        sealed = await self._vault.seal(follow_up.client_id, json.dumps(answers, ensure_ascii=False))
        return Response(
            id=follow_up.id,
            client_id=follow_up.client_id,
            answered=tuple(answers),
            sealed=sealed,
            begun_at=before.begun_at if before else now,
            saved_at=now,
        )

    async def _answers(self, response: Response | None) -> dict[str, Answer]:
        if response is None or response.sealed is None:
            return {}
        opened = json.loads(await self._vault.open(response.sealed))
        return {key: tuple(value) if isinstance(value, list) else value for key, value in opened.items()}

    @staticmethod
    def _withdrawal(follow_up: FollowUp, now: datetime) -> Event:
        data = ConsentChanged(
            client_id=follow_up.client_id,
            changed_at=now,
            notice_version=NOTICE_VERSION,
            purposes=Purposes(follow_up=False),
        )
        cause = f"withdrawn {follow_up.id} {now.isoformat()}"
        return derive(cause, records.SOURCE, data, time=now, topic="consent-changed")

    async def _flag_for(self, follow_up_id: str, now: datetime) -> Event | None:
        """The flag itself, in case the database goes away before it is stored."""
        try:
            follow_up = await self._store.one(FollowUp, follow_up_id)
        except PyMongoError:
            return None
        if follow_up is None:
            return None
        return records.crisis(follow_up, "questionnaire", ("suicidal-thoughts",), now)

    async def _carried_out(
        self,
        work: Callable[[Session], Any],
        flags: list[Event],
        otherwise: Event | None = None,
    ) -> None:
        """Commit and publish; a crisis that bus or database do not take within seconds goes over HTTP."""
        try:
            _, publishing = await self._journal.transact_then_publish(work)
        except PyMongoError:
            flag = flags[0] if flags else otherwise
            if flag is None or not await self._crisis_line.tell(flag):
                raise
            return
        self._changed()
        if not flags:
            await asyncio.shield(publishing)
            return
        done, _ = await asyncio.wait([publishing], timeout=self._crisis_line.patience)
        if not done:
            await self._crisis_line.tell(flags[0])


_MISSING = {
    "certificate": "no certificate of level 3 or an approved equivalent (F28)",
    "experience": "less online experience than required (F29)",
    "exam": "this year's exam is not passed (F32)",
}


def _outcome(view: View, changes: Changes, name: str, events: Sequence[Event]) -> Outcome:
    """What is written: the changes, and one journal entry with what is said about them."""
    view.apply(changes)
    trace = tracing.current()
    records_out = [Outgoing.of(replace(event, traceparent=trace)) for event in events]
    entries = [Entry(f"out {name}", records_out)] if events else []
    return Outcome(entries=entries, view=view)
