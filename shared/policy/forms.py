"""The fields of a form that intake keeps: what is asked, and what may stand there. Filled in by hand, read by hand."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.contracts.types import Code, Strict

Codes = Annotated[tuple[Code, ...], Field(min_length=1)]
Number = Annotated[int, Field(ge=0, le=1_000_000)]


class FormField(Strict):
    """What every field has. A form is complete once each required field is filled in."""

    name: Code
    required: bool = True
    of: Literal["individual", "enterprise"] | None = None
    """Asked only of who comes on their own account, or only of those who come by an enterprise."""


class Shown(FormField):
    """A field without free text."""

    in_file: bool = False
    """Follow-up staff read it in the de-identified case file (F47)."""


class ChoiceField(Shown):
    """One of some codes."""

    type: Literal["choice"]
    codes: Codes


class CodesField(Shown):
    """One or more of some codes."""

    type: Literal["codes"]
    codes: Codes


class NumberField(Shown):
    """A whole number, both ends included. What lies outside is refused."""

    type: Literal["number"]
    at_least: Number
    at_most: Number

    @model_validator(mode="after")
    def _admits_something(self) -> Self:
        if self.at_least > self.at_most:
            raise ValueError("at_least must not be above at_most")
        return self


class MinutesField(Shown):
    """How long something took. What lies outside the row of `bounds` is a fact: it is taken, and marked."""

    type: Literal["minutes"]
    bound: Code | None = None


class DateField(FormField):
    """A calendar day."""

    type: Literal["date"]


class TextField(FormField):
    """Free text, in which nothing may stand by which a person is reached."""

    type: Literal["text"]
    longest: Annotated[int, Field(ge=1, le=4000)] = 2000


AnyField = Annotated[
    ChoiceField | CodesField | NumberField | MinutesField | DateField | TextField,
    Field(discriminator="type"),
]
