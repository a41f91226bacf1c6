"""Forms written and read: each writing is one transaction with the milestone that it completes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.intake.domain import forms
from services.intake.domain.forms import About, Sheet, Values
from services.intake.store import Store
from shared.clock import Clock
from shared.contracts.envelope import Refused
from shared.contracts.types import staff_id
from shared.messaging.bus import Outgoing
from shared.mongo.access_log import AccessLog
from shared.mongo.client import Session
from shared.mongo.documents import Changes
from shared.mongo.encryption import Sealed, Vault
from shared.mongo.journal import Entry, Journal, Outcome
from shared.policy.model import IntakeForm, Policy
from shared.policy.versions import Policies
from shared.web.auth import Principal
from shared.web.problems import Problem


@dataclass(frozen=True)
class Opened:
    """A form with what is otherwise sealed."""

    sheet: Sheet
    values: Values


class Forms:
    """What is done with forms. Who may do it is checked here: each form of the policy says so."""

    def __init__(
        self,
        store: Store,
        vault: Vault,
        access_log: AccessLog,
        journal: Journal,
        clock: Clock,
        policies: Policies,
    ) -> None:
        self._store = store
        self._vault = vault
        self._access_log = access_log
        self._journal = journal
        self._clock = clock
        self._policies = policies

    def all(self) -> Sequence[IntakeForm]:
        """The forms of the policy in force."""
        return self._policy.forms

    @property
    def _policy(self) -> Policy:
        return self._policies.by(self._clock.now())

    def form(self, name: str, kind: str) -> IntakeForm:
        """The row of that name. Raises Problem."""
        known = [form for form in self.all() if form.about == kind]
        found = next((form for form in known if form.name == name), None)
        if found is None:
            there = ", ".join(form.name for form in known) or "none"
            raise Problem(404, "unknown-form", f"the forms about a {kind} are: {there}")
        return found

    def to_write(self, name: str, kind: str, who: Principal) -> IntakeForm:
        form = self.form(name, kind)
        _let_in(who, form.written_by)
        return form

    def to_read(self, name: str, kind: str, who: Principal) -> IntakeForm:
        form = self.form(name, kind)
        _let_in(who, form.read_by)
        return form

    async def of_case(self, case_id: str, session: Session | None = None) -> About:
        """The case that a form is about. Raises Problem where it is not known, or gone with its client."""
        case = await self._store.case(case_id, session)
        if case is None or not case.revision:
            raise Problem(404, "unknown-case", "no event about this case has come yet")
        return About.of_case(case)

    async def write(
        self, form: IntakeForm, about: About, given: Mapping[str, Any], revision: int, who: Principal
    ) -> Sheet:
        """Keep a form as it now is, and report its milestone once it is complete.

        `revision` is that of the form which was read, 0 where there was none. The same once more changes nothing.
        Raises Problem.
        """
        _is_for(form, about)
        values = _answered(lambda: forms.taken(form, given, about))
        key = forms.sheet_id(form.name, about.kind, about.id)
        before = await self._store.form(key)
        if before and before.client_id != about.client_id:
            raise Problem(409, "client-mismatch", "this form was written about another client")
        if before and await self._open(before) == values:
            return before
        lacks = forms.missing(form, values, about)
        if before and before.complete and lacks:
            told = (
                "this form was complete and has been reported as done: change the field, do not leave it out"
            )
            raise Problem(422, "invalid-field", told, field=f"body.fields.{lacks[0]}")
        await self._not_erased(about)
        sealed = await self._vault.seal(about.owner, json.dumps(values, ensure_ascii=False))
        sheet = Sheet(
            id=key,
            form=form.name,
            kind=about.kind,
            about=about.id,
            client_id=about.client_id,
            revision=revision + 1,
            missing=lacks,
            marks=forms.marks(form, values, self._policy),
            sealed=sealed,
            by=staff_id(who.subject),
            at=self._clock.now(),
        )

        async def work(session: Session) -> Outcome:
            return await self._written(session, form, sheet, about)

        await self._journal.transact(work)
        return sheet

    async def _written(self, session: Session, form: IntakeForm, sheet: Sheet, about: About) -> Outcome:
        # All of it is read again, inside: another may have written, the case been opened anew, the client erased.
        stored = await self._store.form(sheet.id, session)
        if (stored.revision if stored else 0) != sheet.revision - 1:
            told = (
                "somebody has written this form meanwhile: read it, and send its revision with your changes"
            )
            raise Problem(409, "changed-meanwhile", told, field="body.revision")
        await self._not_erased(about, session)
        now_about = await self.of_case(about.id, session) if about.kind == "case" else about
        outcome = Outcome()
        if stored:
            outcome.view.load([stored])
        outcome.view.apply(Changes(puts=[sheet]))
        if done := forms.done(form, sheet, now_about, sheet.by, sheet.at):
            name, event = done
            if not await self._journal.seen(session, [f"out {name}"]):
                outcome.entries.append(Entry(f"out {name}", [Outgoing.of(event)]))
        return outcome

    async def read(self, form: IntakeForm, kind: str, about: str, who: Principal) -> Opened:
        """A form with its answers; the read is recorded before it is shown. Raises Problem."""
        sheet = await self._store.form(forms.sheet_id(form.name, kind, about))
        if sheet is None:
            raise Problem(404, "no-form", "this form has not been written yet")
        what, at = f"form-{form.name}", self._clock.now()
        named = {"client_id": sheet.client_id, f"{kind}_id": about}
        await self._access_log.record(who.subject, who.role, what, at, **named)
        return Opened(sheet, await self._open(sheet))

    async def in_file(self, case_id: str) -> dict[str, forms.Value]:
        """What the forms about a case add to its de-identified file (F47)."""
        shown: dict[str, forms.Value] = {}
        for form in self._policy.forms:
            if form.about == "case" and any(getattr(field, "in_file", False) for field in form.fields):
                sheet = await self._store.form(forms.sheet_id(form.name, "case", case_id))
                shown |= forms.in_file(form, await self._open(sheet)) if sheet else {}
        return shown

    async def _open(self, sheet: Sheet) -> dict[str, forms.Value]:
        try:
            found: dict[str, forms.Value] = json.loads(await self._vault.open(sheet.sealed))
        except Sealed:
            raise Problem(410, "erased", "the client was erased; the form can no longer be read") from None
        return found

    async def _not_erased(self, about: About, session: Session | None = None) -> None:
        if about.client_id and (await self._store.client(about.client_id, session)).erased:
            raise Problem(410, "erased", "the client was erased: nothing more is kept about them")


def _let_in(who: Principal, roles: tuple[str, ...]) -> None:
    if not who.roles.intersection(roles):
        raise Problem(403, "missing-role", f"this needs one of the roles: {', '.join(roles)}")


def _is_for(form: IntakeForm, about: About) -> None:
    if not form.services or about.service in form.services:
        return
    if about.service is None:
        told = "of which service the case is has not been told yet: send its case-opened first"
        raise Problem(409, "service-unknown", told)
    raise Problem(409, "another-service", f"this form is for {', '.join(form.services)} alone")


def _answered(take: Callable[[], dict[str, forms.Value]]) -> dict[str, forms.Value]:
    try:
        return take()
    except Refused as refusal:
        field = f"body.fields.{refusal.field}"
        raise Problem(422, refusal.reason, refusal.message, field=field) from None
