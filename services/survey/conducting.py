"""What staff do about a follow-up: prepare, call, book, record. Each command is one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.survey.answering import Answers
from services.survey.domain import follow_ups, records, staff
from services.survey.domain.clients import Client
from services.survey.domain.follow_ups import FollowUp
from services.survey.domain.plans import MonthPlan
from services.survey.domain.questionnaire import Answer, Response
from services.survey.domain.records import RecordSheet, Sheet
from services.survey.domain.staff import StaffMember
from services.survey.ending import Committing, ended, known, written
from services.survey.store import Store
from shared.clock import Clock
from shared.contracts.envelope import Event, derive
from shared.contracts.events import MilestoneReached
from shared.mongo.access_log import AccessLog
from shared.mongo.client import Session
from shared.mongo.documents import Changes
from shared.mongo.encryption import Vault
from shared.mongo.journal import Outcome
from shared.policy.counting import month_of
from shared.policy.versions import Policies
from shared.web.problems import Problem

_MISSING = {
    "certificate": "no certificate of level 3 or an approved equivalent (F28)",
    "experience": "less online experience than required (F29)",
    "exam": "this year's exam is not passed (F32)",
}


@dataclass(frozen=True)
class Opened:
    """A record sheet with what is otherwise sealed."""

    sheet: Sheet
    notes: str | None
    answers: dict[str, Answer]


class Conducting:
    """The commands of staff."""

    def __init__(
        self,
        store: Store,
        committing: Committing,
        vault: Vault,
        access_log: AccessLog,
        clock: Clock,
        policies: Policies,
    ) -> None:
        self._store = store
        self._access_log = access_log
        self._committing = committing
        self._vault = vault
        self._answers = Answers(vault)
        self._clock = clock
        self._policies = policies

    async def record(self, follow_up_id: str, sheet: RecordSheet, subject: str) -> Sheet:
        """Take a record sheet. Raises Problem; a crisis on it is flagged even then (F58)."""
        now = self._clock.now()
        by = sheet.conducted_by or staff.staff_id(subject)
        member = await self._store.one(StaffMember, by)
        problems: list[Problem] = []
        taken: list[Sheet] = []
        flags: list[Event] = []

        async def work(session: Session) -> Outcome:
            problems[:], taken[:], flags[:] = [], [], []
            view = await self._store.about(session, follow_up_id)
            follow_up = known(view, follow_up_id)
            before = view.get(Sheet, follow_up_id)
            if before and before.digest == sheet.digest():
                taken[:] = [before]
                return Outcome()
            if sheet.is_crisis:
                flags[:] = [records.crisis(follow_up, "follow-up", sheet.crisis_signals, now, by)]
            client = view.get(Client, follow_up.client_id)
            if problem := self._objection(sheet, follow_up, client, member, now) or await self._unapproved(
                follow_up, sheet
            ):
                problems[:] = [problem]
                name = f"flagged {follow_up_id} {sheet.digest()}"
                if await self._committing.journal.seen(session, [f"out {name}"]):
                    flags.clear()
                return written(view, Changes(), name, flags)
            how = records.conducted(sheet, by, now)
            notes = await self._vault.seal(follow_up.client_id, sheet.notes) if sheet.notes else None
            kept = records.sheet_of(follow_up, how, sheet.digest(), notes, now)
            kept = kept.model_copy(update={"remarks": self._remarks(member, client, sheet)})
            taken[:] = [kept]
            return ended(view, follow_up, how, Changes(puts=[kept]), flags, now)

        await self._committing.commit_crisis(work, flags)
        if problems:
            raise problems[0]
        if not taken:  # the database is away: the crisis service was told, the sheet is not stored
            raise Problem(
                503, "not-stored", "the crisis was flagged; the sheet was not stored, send it again"
            )
        return taken[0]

    def _objection(
        self,
        sheet: RecordSheet,
        follow_up: FollowUp,
        client: Client | None,
        member: StaffMember | None,
        now: datetime,
    ) -> Problem | None:
        told = " (the crisis was flagged all the same)" if sheet.is_crisis else ""
        if follow_up.outcome:
            return Problem(409, "already-recorded", f"this follow-up was recorded with other contents{told}")
        if found := records.objection(sheet, follow_up, client, now):
            return Problem(found.status, found.reason, found.detail + told, field=found.field)
        if member is None or sheet.is_crisis:
            return None
        missing = self._missing(member, sheet)
        if not missing:
            return None
        return Problem(403, "not-qualified", f"this person may not conduct follow-ups: {', '.join(missing)}")

    async def _unapproved(self, follow_up: FollowUp, sheet: RecordSheet | None = None) -> Problem | None:
        """F45: what is in a month's plan is carried out once it is approved, and where the policy says so (collision 1)
        what amends it once that is signed. Nothing about a crisis waits for either."""
        policy = self._policies.by(self._clock.now())
        if policy.is_care_after_a_crisis(follow_up.rule) or (sheet and sheet.is_crisis):
            return None
        month = month_of(follow_up.scheduled_for, policy.switches.zone)
        plan = await self._store.one(MonthPlan, month)
        if plan and plan.waits:
            told = f"F45: the plan of {month} waits for the department manager's approval"
            return Problem(409, "plan-not-approved", told)
        if plan and policy.switches.after_the_plan == "signed-first" and plan.is_unsigned(follow_up):
            told = f"F45: this amends the plan of {month}, and waits for the department manager's signature"
            return Problem(409, "plan-not-approved", told)
        return None

    def _missing(self, member: StaffMember, sheet: RecordSheet) -> list[str]:
        staffing = self._policies.by(sheet.conducted_at).staffing
        found = staff.objections(member, staffing, sheet.conducted_at)
        return [_MISSING[one] for one in found]

    def _remarks(
        self, member: StaffMember | None, client: Client | None, sheet: RecordSheet
    ) -> tuple[str, ...]:
        found: tuple[str, ...] = ()
        if member is None:
            found = ("no staff-updated has been seen for this person: the qualification was not checked",)
        elif self._missing(member, sheet):
            found = ("taken because of the crisis, though this person may not conduct follow-ups",)
        if records.recorded_without_consent(sheet, client):  # taken because of the crisis
            found = (*found, records.NO_CONSENT)
        return found + records.length_remarks(sheet, self._policies.by(sheet.conducted_at))

    async def prepared(self, follow_up_id: str, subject: str) -> FollowUp:
        """F52: all preparation is done. Saying it again changes nothing."""
        now = self._clock.now()
        by = staff.staff_id(subject)
        found: list[FollowUp] = []

        async def work(session: Session) -> Outcome:
            view = await self._store.about(session, follow_up_id)
            follow_up = known(view, follow_up_id)
            found[:] = [follow_up]
            if follow_up.prepared_at:
                return Outcome()
            _still_to_do(follow_up)
            found[:] = [follow_up.model_copy(update={"prepared_at": now, "prepared_by": by})]
            event = _prepared(follow_up, by, now)
            return written(view, Changes(puts=found), f"follow-up-prepared {follow_up_id}", [event])

        await self._committing.commit(work)
        return found[0]

    async def attempted(self, follow_up_id: str, at: datetime | None, result: str, subject: str) -> FollowUp:
        """Count a call that reached nobody. A fifth is refused: nobody is called five times."""
        now = self._clock.now()
        when = at or now
        if when > now + records.TOLERANCE:
            raise Problem(422, "in-the-future", "attempted_at lies in the future", field="attempted_at")

        async def call(follow_up: FollowUp) -> FollowUp:
            if problem := await self._unapproved(follow_up):
                raise problem
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

        return await self._change(follow_up_id, call)

    async def video_booked(self, follow_up_id: str, starts_at: datetime) -> FollowUp:
        """F23, F24: a video call is for key attention, and booked a day ahead."""
        now = self._clock.now()
        ahead = self._policies.by(now).bound("video-booking").at_least or timedelta()

        async def book(follow_up: FollowUp) -> FollowUp:
            if follow_up.case_class != "key-attention":
                raise Problem(422, "video-not-allowed", "F23: video is for key attention only")
            if starts_at < now + ahead:
                hours = int(ahead.total_seconds() // 3600)
                told = f"F24: a video call is booked at least {hours} hours ahead"
                raise Problem(422, "booked-too-late", told, field="starts_at")
            return follow_up.model_copy(update={"video_booked_for": starts_at, "video_booked_at": now})

        return await self._change(follow_up_id, book)

    async def _change(self, follow_up_id: str, change: Callable[[FollowUp], Awaitable[FollowUp]]) -> FollowUp:
        found: list[FollowUp] = []

        async def work(session: Session) -> Outcome:
            view = await self._store.about(session, follow_up_id)
            follow_up = known(view, follow_up_id)
            _still_to_do(follow_up)
            found[:] = [await change(follow_up)]
            view.apply(Changes(puts=found))
            return Outcome(view=view)

        await self._committing.commit(work)
        return found[0]

    async def read_record(
        self, follow_up_id: str, subject: str, role: str, what: str = "record-sheet"
    ) -> Opened | None:
        """The record sheet with its free text and answers; the reading is logged before anything is opened (F6)."""
        sheet = await self._store.one(Sheet, follow_up_id)
        if sheet is None:
            return None
        await self._access_log.record(
            subject, role, what, self._clock.now(), follow_up_id=follow_up_id, client_id=sheet.client_id
        )
        notes = await self._vault.open(sheet.notes) if sheet.notes else None
        answers = await self._answers.open(await self._store.one(Response, follow_up_id))
        return Opened(sheet, notes, answers)


def _still_to_do(follow_up: FollowUp) -> None:
    if follow_up.over:
        detail = f"the follow-up is {follow_up.state}: nothing is left to do"
        raise Problem(409, f"follow-up-{follow_up.state}", detail)


def _prepared(follow_up: FollowUp, by: str, now: datetime) -> Event:
    milestone = MilestoneReached(
        milestone="follow-up-prepared",
        subject=follow_up.id,
        case_id=follow_up.case_id,
        reached_at=now,
        by=by,
    )
    return derive(f"prepared {follow_up.id}", records.SOURCE, milestone, time=now, topic="milestone-reached")
