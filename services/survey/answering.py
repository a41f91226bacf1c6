"""What a client does with the questionnaire: looks in, answers, sends, refuses, withdraws."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from services.survey.domain import links, questionnaire, records
from services.survey.domain.clients import Client, consent
from services.survey.domain.follow_ups import FollowUp
from services.survey.domain.links import Opening
from services.survey.domain.questionnaire import Answer, Forms, Question, Response
from services.survey.domain.records import Conducted
from services.survey.ending import Committing, ended, known, written
from services.survey.reactions import with_client
from services.survey.store import Store
from shared.clock import Clock
from shared.contracts.envelope import Event, derive
from shared.contracts.events import ConsentChanged, Outcome, Purposes
from shared.mongo.client import Session
from shared.mongo.documents import Changes, View
from shared.mongo.encryption import Vault
from shared.mongo.journal import Outcome as Written

NOTICE_VERSION = "follow-up-questionnaire-1"
"""The version of the words in which the questionnaire offers to withdraw."""

SIGNALS = ("suicidal-thoughts",)
"""What the risk item asks about (F58)."""


@dataclass(frozen=True)
class Visit:
    """What an opened link shows: the follow-up, what becomes of the link, and the answers so far."""

    follow_up: FollowUp
    opening: Opening
    asked: tuple[Question, ...]
    answers: dict[str, Answer]

    def question(self, key: str) -> Question | None:
        return next((question for question in self.asked if question.id == key), None)


class Answers:
    """Answers as they are kept: sealed, one JSON object for each response."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def open(self, response: Response | None) -> dict[str, Answer]:
        """Raises `Sealed` when the client was erased."""
        if response is None or response.sealed is None:
            return {}
        opened = json.loads(await self._vault.open(response.sealed))
        return {key: tuple(value) if isinstance(value, list) else value for key, value in opened.items()}

    async def seal(
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


class Answering:
    """The commands behind an invitation link."""

    def __init__(
        self, store: Store, committing: Committing, answers: Answers, clock: Clock, forms: Forms
    ) -> None:
        self._store = store
        self._committing = committing
        self._answers = answers
        self._clock = clock
        self._forms = forms

    async def visit(self, invitation: str) -> Visit | None:
        """What an opened link shows. Opening changes nothing: robots that preview links open them too."""
        follow_up = await self._store.invited(invitation)
        if follow_up is None:
            return None
        client = await self._store.one(Client, follow_up.client_id)
        opening = links.opening(follow_up, client, self._clock.now())
        response = await self._store.one(Response, follow_up.id) if opening == "open" else None
        return Visit(follow_up, opening, self._asked(follow_up), await self._answers.open(response))

    async def answered(self, follow_up: FollowUp, question: Question, answer: Answer) -> Opening:
        """Save an answer. A sign of danger stops the form at once and flags a crisis (F58)."""
        now = self._clock.now()
        in_danger = questionnaire.is_crisis(question, answer)
        flags: list[Event] = []
        found: list[Opening] = []

        async def work(session: Session) -> Written:
            flags.clear()
            view, current, opening = await self._opened(session, follow_up.id, now)
            found[:] = [opening]
            if opening != "open":
                return Written()
            before = view.get(Response, follow_up.id)
            answers = {**await self._answers.open(before), question.id: answer}
            saved = await self._answers.seal(current, before, answers, now)
            if in_danger:
                found[:] = ["stopped-for-crisis"]
                flags.append(records.crisis(current, "questionnaire", SIGNALS, now))
                saved = saved.model_copy(update={"state": "stopped-for-crisis"})
                return _ended(view, current, _by_client("stopped-for-crisis", now), saved, flags, now)
            # The follow-up is written too, so that an erasure at the same moment conflicts instead of crossing.
            view.apply(Changes(puts=[saved, current]))
            return Written(view=view)

        if in_danger:
            flag = records.crisis(follow_up, "questionnaire", SIGNALS, now)
            await self._committing.commit_crisis(work, flags, otherwise=flag)
            return found[0] if found else "stopped-for-crisis"
        await self._committing.commit(work)
        return found[0]

    async def finished(self, follow_up_id: str) -> Opening:
        """The response is sent: the link is spent, the follow-up recorded."""
        now = self._clock.now()
        found: list[Opening] = []

        async def work(session: Session) -> Written:
            view, follow_up, opening = await self._opened(session, follow_up_id, now)
            found[:] = [opening]
            before = view.get(Response, follow_up_id)
            answers = await self._answers.open(before)
            if opening != "open" or before is None:
                return Written()
            if questionnaire.next_question(self._asked(follow_up), answers):
                return Written()
            found[:] = ["finished"]
            saved = before.model_copy(update={"state": "finished", "saved_at": now})
            how = _by_client("completed", now, questionnaire.result(answers))
            return _ended(view, follow_up, how, saved, [], now)

        await self._committing.commit(work)
        return found[0]

    async def refused(self, follow_up_id: str, *, withdraw: bool) -> Opening:
        """F10: the client wants no more of this follow-up, or (`withdraw`) of any."""
        now = self._clock.now()
        found: list[Opening] = []

        async def work(session: Session) -> Written:
            view, follow_up, opening = await self._opened(session, follow_up_id, now)
            client = view.get(Client, follow_up.client_id) or Client(id=follow_up.client_id)
            found[:] = ["refused" if opening == "open" else opening]
            said: list[Event] = []
            if withdraw and not client.stopped:
                data, event = _withdrawal(follow_up, now)
                said = [event]
                view.apply(with_client(view, consent(client, event, data), now))
            if opening != "open":
                return written(view, Changes(), f"withdrawn {follow_up_id} {now.isoformat()}", said)
            current = known(view, follow_up_id)
            before = view.get(Response, follow_up_id)
            saved = before.model_copy(update={"state": "refused", "saved_at": now}) if before else None
            return _ended(view, current, _by_client("refused", now), saved, said, now)

        await self._committing.commit(work)
        return found[0]

    async def _opened(
        self, session: Session, follow_up_id: str, now: datetime
    ) -> tuple[View, FollowUp, Opening]:
        view = await self._store.about(session, follow_up_id)
        follow_up = known(view, follow_up_id)
        return view, follow_up, links.opening(follow_up, view.get(Client, follow_up.client_id), now)

    def _asked(self, follow_up: FollowUp) -> tuple[Question, ...]:
        return self._forms.asked(follow_up.template, follow_up.case_class)


def _by_client(outcome: Outcome, now: datetime, result: questionnaire.Result | None = None) -> Conducted:
    if result is None:
        return Conducted("questionnaire", now, records.BY_QUESTIONNAIRE, outcome)
    return Conducted(
        "questionnaire",
        now,
        records.BY_QUESTIONNAIRE,
        outcome,
        satisfaction=result.satisfaction,
        flags=result.flags,
        bands=dict(result.bands),
        dropped_reason=result.dropped_reason,
    )


def _ended(
    view: View,
    follow_up: FollowUp,
    how: Conducted,
    response: Response | None,
    said: list[Event],
    now: datetime,
) -> Written:
    sheet = records.sheet_of(follow_up, how, "", None, now)
    kept = Changes(puts=[sheet, *([response] if response else [])])
    return ended(view, follow_up, how, kept, said, now)


def _withdrawal(follow_up: FollowUp, now: datetime) -> tuple[ConsentChanged, Event]:
    data = ConsentChanged(
        client_id=follow_up.client_id,
        changed_at=now,
        notice_version=NOTICE_VERSION,
        purposes=Purposes(follow_up=False),
    )
    cause = f"withdrawn {follow_up.id} {now.isoformat()}"
    return data, derive(cause, records.SOURCE, data, time=now, topic="consent-changed")
