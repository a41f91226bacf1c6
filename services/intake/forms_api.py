"""HTTP of forms: what they ask, and each of them written and read, about a case or a booking."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.intake.domain.forms import About, Marked, Sheet, Value
from services.intake.forms import Forms, Opened
from shared.contracts.types import Code, Id, Timestamp
from shared.policy.model import IntakeForm
from shared.policy.versions import Policies
from shared.web.auth import Principal, Role, allowed


class Written(BaseModel):
    """A form as it is written, whole: a field that is left out is not filled in."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    revision: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """The revision that was read; 0 where the form has not been written yet."""
    fields: dict[str, Any]


class WrittenOfBooking(Written):
    """With whom the booking is for: a client, an enterprise, or a client by an enterprise."""

    client_id: Id | None = None
    enterprise_id: Id | None = None

    @model_validator(mode="after")
    def _is_about_somebody(self) -> WrittenOfBooking:
        if self.client_id is None and self.enterprise_id is None:
            raise ValueError("give client_id or enterprise_id: what is kept must be found again to be erased")
        return self


class Taken(BaseModel):
    """How a form now stands."""

    form: Code
    revision: int
    complete: bool
    missing: list[str]
    """The required fields that are not filled in yet."""
    marks: list[Marked]
    by: str
    at: Timestamp


class Read(Taken):
    """A form with its answers."""

    fields: dict[str, Value]


class Asked(BaseModel):
    """The forms of the policy."""

    items: list[IntakeForm]


def routes(forms: Forms, policies: Policies) -> APIRouter:
    """The routes under `/v1`."""
    router = APIRouter(prefix="/v1", tags=["forms"])
    every = [form for policy in policies.versions for form in policy.forms]
    writing = _those(role for form in every for role in form.written_by)
    reading = _those(role for form in every for role in form.read_by)
    writer, reader = Depends(allowed(*writing)), Depends(allowed(*reading))
    anybody = Depends(allowed(*writing, *reading))

    @router.get("/forms", summary="What each form asks, who writes and who reads it")
    async def get_forms(_: Principal = anybody) -> Asked:
        return Asked(items=list(forms.all()))

    @router.put("/cases/{case_id}/forms/{form}", summary="Write a form about a case")
    async def put_case_form(case_id: Id, form: str, written: Written, who: Principal = writer) -> Taken:
        """A form may be kept unfinished. Once every required field is filled in, its milestone is reported as done."""
        row = forms.to_write(form, "case", who)
        about = await forms.of_case(case_id)
        return _taken(await forms.write(row, about, written.fields, written.revision, who))

    @router.get("/cases/{case_id}/forms/{form}", summary="Read a form about a case; the read is recorded")
    async def get_case_form(case_id: Id, form: str, who: Principal = reader) -> Read:
        return _read(await forms.read(forms.to_read(form, "case", who), "case", case_id, who))

    @router.put("/bookings/{booking_id}/forms/{form}", summary="Write a form about a booking")
    async def put_booking_form(
        booking_id: Id, form: str, written: WrittenOfBooking, who: Principal = writer
    ) -> Taken:
        row = forms.to_write(form, "booking", who)
        about = About("booking", booking_id, written.client_id, written.enterprise_id)
        return _taken(await forms.write(row, about, written.fields, written.revision, who))

    @router.get("/bookings/{booking_id}/forms/{form}", summary="Read a form about a booking; it is recorded")
    async def get_booking_form(booking_id: Id, form: str, who: Principal = reader) -> Read:
        return _read(await forms.read(forms.to_read(form, "booking", who), "booking", booking_id, who))

    return router


def _those(roles: Any) -> list[Role]:
    return sorted(cast("set[Role]", set(roles)))


def _taken(sheet: Sheet) -> Taken:
    return Taken(**_standing(sheet))


def _read(opened: Opened) -> Read:
    return Read(**_standing(opened.sheet), fields=dict(opened.values))


def _standing(sheet: Sheet) -> dict[str, Any]:
    return {
        "form": sheet.form,
        "revision": sheet.revision,
        "complete": sheet.complete,
        "missing": list(sheet.missing),
        "marks": list(sheet.marks),
        "by": sheet.by,
        "at": sheet.at,
    }
