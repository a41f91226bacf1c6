"""Conditions of the policy: data that one pure function weighs against the body of an event."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Self

from pydantic import BaseModel, model_validator

from shared.contracts.types import Code, Strict

Value = str | int | bool


class Condition(Strict):
    """Exactly one test. Field names are those on the wire; `figures.x` looks inside `figures`.

    An absent field fulfils nothing.
    """

    any: tuple[Condition, ...] | None = None
    all: tuple[Condition, ...] | None = None
    flag: Code | None = None
    """The code is among the event's `flags`."""
    equals: dict[str, Value] | None = None
    first: dict[str, Value] | None = None
    """The field is a list that begins with the value."""
    at_most: dict[str, float] | None = None
    below: dict[str, float] | None = None

    @model_validator(mode="after")
    def _is_one_test(self) -> Self:
        if len(self.model_fields_set) != 1:
            raise ValueError("a condition is exactly one of: " + ", ".join(type(self).model_fields))
        return self


def holds(condition: Condition | None, event_data: Mapping[str, Any] | BaseModel) -> bool:
    """Does the body of an event (a wire mapping or its model) fulfil the condition? None is always fulfilled."""
    match condition:
        case None:
            return True
        case Condition(any=tuple(parts)):
            return any(holds(part, event_data) for part in parts)
        case Condition(all=tuple(parts)):
            return all(holds(part, event_data) for part in parts)
        case Condition(flag=str(flag)):
            return flag in (field_of(event_data, "flags") or ())
        case Condition(equals=dict(wanted)):
            return all(field_of(event_data, name) == value for name, value in wanted.items())
        case Condition(first=dict(wanted)):
            return all((field_of(event_data, name) or (None,))[0] == value for name, value in wanted.items())
        case Condition(at_most=dict(limits)):
            return all(_number(event_data, name) <= limit for name, limit in limits.items())
        case Condition(below=dict(limits)):
            return all(_number(event_data, name) < limit for name, limit in limits.items())
    raise AssertionError("unreachable: a condition is exactly one test")


def field_of(event_data: Mapping[str, Any] | BaseModel, path: str) -> Any:
    """The value of a wire field, `a.b` for a field inside a field; None when it is absent."""
    value: Any = event_data
    for name in path.split("."):
        if isinstance(value, BaseModel):
            value = _attribute(value, name)
        else:
            value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _attribute(model: BaseModel, wire_name: str) -> Any:
    name = _attributes(type(model)).get(wire_name)
    return getattr(model, name) if name else None


@cache
def _attributes(kind: type[BaseModel]) -> Mapping[str, str]:
    """The names of a model's fields on the wire, and in Python."""
    return {field.alias or name: name for name, field in kind.model_fields.items()}


def _number(event_data: Mapping[str, Any] | BaseModel, path: str) -> float:
    value = field_of(event_data, path)
    return float(value) if isinstance(value, int | float) else float("nan")
