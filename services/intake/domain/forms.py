"""Forms about a case or a booking: what may be filled in, when one is complete, and what that reports as done.

What a form asks is a row of the policy (`forms`). What was answered lies sealed; beside it, in plain codes, only
whether it is complete and what is marked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, ClassVar

from bson.binary import Binary
from pydantic import BaseModel, ConfigDict

from services.intake.domain import SOURCE
from services.intake.domain.ledger import Case
from services.intake.domain.private_detail import looks_like
from shared.contracts.envelope import UNKNOWN_FIELD, Event, Refused, derive
from shared.contracts.events import MilestoneReached, Service
from shared.contracts.types import write_time
from shared.mongo.documents import Document
from shared.policy.forms import (
    AnyField,
    ChoiceField,
    CodesField,
    DateField,
    MinutesField,
    NumberField,
    Shown,
    TextField,
)
from shared.policy.model import IntakeForm, Policy

Value = str | int | list[str]
Values = Mapping[str, Value]

MOST_MINUTES = 24 * 60


@dataclass(frozen=True)
class About:
    """What a form is about, as far as it has to be known."""

    kind: str
    """`case` or `booking`."""
    id: str
    client_id: str | None
    enterprise_id: str | None = None
    service: Service | None = None
    opened_at: datetime | None = None

    @classmethod
    def of_case(cls, case: Case) -> About:
        opening = case.opening
        return cls(
            kind="case",
            id=case.id,
            client_id=case.client_id,
            enterprise_id=opening.enterprise_id if opening else None,
            service=opening.service if opening else None,
            opened_at=opening.opened_at if opening else None,
        )

    @property
    def owner(self) -> str:
        """Under whose data key it is sealed: the client's, which goes with the client. A space is in no id."""
        return self.client_id or f"enterprise {self.enterprise_id}"


class Marked(BaseModel):
    """A value outside the row of the policy that its field names."""

    model_config = ConfigDict(frozen=True)

    field: str
    bound: str
    how: str
    clauses: tuple[str, ...]


class Sheet(Document):
    """A form as it was last written. The revision counts up with each writing."""

    model_config = ConfigDict(arbitrary_types_allowed=True)  # a sealed value stays the binary that it is
    collection: ClassVar[str] = "forms"

    form: str
    kind: str
    about: str
    client_id: str | None
    """None: it is about an enterprise, and names no client."""
    revision: int
    missing: tuple[str, ...]
    """The required fields that are not filled in; none where the form is complete."""
    marks: tuple[Marked, ...]
    sealed: Binary
    by: str
    at: datetime

    @property
    def complete(self) -> bool:
        return not self.missing


def sheet_id(form: str, kind: str, about: str) -> str:
    return f"{kind} {about} {form}"


def taken(form: IntakeForm, given: Mapping[str, Any], about: About) -> dict[str, Value]:
    """What was filled in, each value as its field takes it; what is null or left out is not filled in.

    Raises `Refused` with the first field at fault: its name and what to do, never the value.
    """
    fields = {field.name: field for field in form.fields}
    for name in given:
        if name not in fields:
            raise Refused("invalid-field", UNKNOWN_FIELD, f"this form has {', '.join(fields)}")
    return {
        name: _value(field, given[name], about)
        for name, field in fields.items()
        if given.get(name) is not None
    }


def missing(form: IntakeForm, values: Values, about: About) -> tuple[str, ...]:
    """The fields that still have to be filled in."""
    return tuple(
        field.name
        for field in form.fields
        if field.required and _is_asked(field, about) and field.name not in values
    )


def marks(form: IntakeForm, values: Values, policy: Policy) -> tuple[Marked, ...]:
    """The values outside their bounds: facts, and so not refused (W36)."""
    found = []
    for field in form.fields:
        lasted = values.get(field.name)
        if not isinstance(field, MinutesField) or field.bound is None or not isinstance(lasted, int):
            continue
        bound = policy.bound(field.bound)
        duration = timedelta(minutes=lasted)
        how = (
            "too-short"
            if bound.at_least is not None and duration < bound.at_least
            else "too-long"
            if bound.at_most is not None and duration > bound.at_most
            else None
        )
        if how:
            found.append(Marked(field=field.name, bound=bound.name, how=how, clauses=bound.clauses))
    return tuple(found)


def in_file(form: IntakeForm, values: Values) -> dict[str, Value]:
    """What follow-up staff read of it in the de-identified file (F47)."""
    shown = {field.name for field in form.fields if isinstance(field, Shown) and field.in_file}
    return {name: value for name, value in values.items() if name in shown}


def done(form: IntakeForm, sheet: Sheet, about: About, by: str, now: datetime) -> tuple[str, Event] | None:
    """The milestone that a complete form reports, under a name by which it is told once for each opening of a case."""
    if form.milestone is None or not sheet.complete:
        return None
    opened = write_time(about.opened_at) if about.opened_at else "unknown"
    name = f"form {sheet.id} {opened}"
    milestone = MilestoneReached(
        milestone=form.milestone,
        subject=about.id,
        case_id=about.id if about.kind == "case" else None,
        reached_at=now,
        by=by,
    )
    return name, derive(name, SOURCE, milestone, time=now, topic="milestone-reached")


def _is_asked(field: AnyField, about: About) -> bool:
    return field.of is None or (field.of == "enterprise") == (about.enterprise_id is not None)


def _value(field: AnyField, given: object, about: About) -> Value:
    if not _is_asked(field, about):
        raise _refused(field, f"it is asked of {field.of}s alone: leave it out")
    match field:
        case ChoiceField():
            if isinstance(given, str) and given in field.codes:
                return given
            raise _refused(field, f"it is one of {', '.join(field.codes)}")
        case CodesField():
            if isinstance(given, list) and given and all(one in field.codes for one in given):
                return [code for code in field.codes if code in given]
            raise _refused(field, f"it is a list of some of {', '.join(field.codes)}")
        case NumberField():
            return _number(field, given, field.at_least, field.at_most)
        case MinutesField():
            return _number(field, given, 1, MOST_MINUTES)
        case DateField():
            return _day(field, given)
        case TextField():
            return _text(field, given)


def _number(field: AnyField, given: object, least: int, most: int) -> int:
    if isinstance(given, int) and not isinstance(given, bool) and least <= given <= most:
        return given
    raise _refused(field, f"it is a whole number from {least} to {most}")


def _day(field: AnyField, given: object) -> str:
    try:
        if isinstance(given, str) and len(given) == len("2026-03-02"):
            return date.fromisoformat(given).isoformat()
    except ValueError:
        pass
    raise _refused(field, "it is a day such as 2026-03-02")


def _text(field: TextField, given: object) -> str:
    if not isinstance(given, str) or not given.strip():
        raise _refused(field, "it is a text; leave the field out where there is nothing to say")
    if len(given) > field.longest:
        raise _refused(field, f"it has at most {field.longest} characters")
    if found := looks_like(given):
        raise _refused(field, f"it seems to hold {found}: nothing by which a person is reached is kept here")
    return given


def _refused(field: AnyField, message: str) -> Refused:
    return Refused("invalid-field", field.name, message)
