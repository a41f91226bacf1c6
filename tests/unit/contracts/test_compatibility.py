"""Which change of a schema breaks whom."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.asyncapi import json_schema
from shared.contracts.compatibility import breaking_changes, resolved
from shared.contracts.topics import TOPICS

OLD: dict[str, Any] = {
    "$defs": {
        "Part": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"at": {"type": "string", "format": "date-time"}, "no": {"type": "integer"}},
            "required": ["at"],
        },
    },
    "type": "object",
    "title": "Thing",
    "additionalProperties": False,
    "properties": {
        "id": {"type": "string", "pattern": "^[a-z]{1,64}$", "maxLength": 64},
        "level": {"type": "string", "enum": ["low", "high"]},
        "kind": {"const": "thing"},
        "count": {"type": "integer", "minimum": 1, "maximum": 5},
        "note": {"anyOf": [{"type": "string", "maxLength": 10}, {"type": "null"}], "default": None},
        "part": {"$ref": "#/$defs/Part"},
        "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}},
        "bands": {
            "type": "object",
            "additionalProperties": False,
            "patternProperties": {"^[a-z]+$": {"type": "string", "enum": ["mild", "severe"]}},
            "propertyNames": {"maxLength": 64},
        },
        "on": {"type": "boolean", "default": True},
    },
    "required": ["id", "level", "kind", "count", "part", "parts", "bands"],
}

GONE = object()

BREAKING: list[tuple[tuple[Any, ...], Any, str]] = [
    (("properties", "level"), GONE, "level: the field was removed; publishers may still send it"),
    (
        ("properties", "extra"),
        {"type": "string"},
        "extra: the optional field was added; readers of the published version refuse it: a new version is needed",
    ),
    (("properties", "level", "enum"), ["low"], 'level: the value "high" was removed'),
    (("properties", "level", "enum"), ["low", "high", "top"], 'level: the value "top" was added'),
    (("properties", "level", "enum"), GONE, "level: it was widened beyond its list of values"),
    (("properties", "id", "enum"), ["a"], "id: it was narrowed to a list of values"),
    (("properties", "id", "pattern"), "^[a-z]{1,8}$", "id: pattern changed"),
    (("properties", "id", "pattern"), GONE, "id: pattern changed"),
    (("properties", "id", "maxLength"), 8, "id: maxLength was narrowed from 64 to 8"),
    (("properties", "id", "maxLength"), 80, "id: maxLength was widened from 64 to 80"),
    (("properties", "id", "maxLength"), GONE, "id: maxLength was widened from 64 to nothing"),
    (("properties", "id", "minLength"), 2, "id: minLength was narrowed from nothing to 2"),
    (("properties", "count", "minimum"), 2, "count: minimum was narrowed from 1 to 2"),
    (("properties", "count", "minimum"), 0, "count: minimum was widened from 1 to 0"),
    (("properties", "count", "maximum"), 4, "count: maximum was narrowed from 5 to 4"),
    (("properties", "count", "maximum"), 6, "count: maximum was widened from 5 to 6"),
    (("properties", "count", "type"), "string", 'count: the type changed from "integer" to "string"'),
    (
        ("properties", "count", "type"),
        "number",
        'count: the type changed from "integer" to "number"; readers',
    ),
    (("properties", "kind", "const"), "other", 'kind: the value "thing" was removed'),
    (("properties", "note"), {"type": "string", "maxLength": 10}, "note: null is not taken any more"),
    (("properties", "note", "anyOf", 0, "maxLength"), 5, "note: maxLength was narrowed from 10 to 5"),
    (("properties", "note", "anyOf", 0), {"type": "integer"}, "note: string is not taken any more"),
    (
        ("properties", "count"),
        {"anyOf": [OLD["properties"]["count"], {"type": "null"}]},
        "count: null is taken",
    ),
    (("properties", "on", "default"), False, "on: default changed from true to false"),
    (
        ("required",),
        ["id", "level", "kind", "count", "part", "parts", "bands", "note"],
        "note: it was optional",
    ),
    (("required",), ["id", "level", "kind", "count", "part", "parts"], "bands: it was required"),
    (("$defs", "Part", "properties", "at"), GONE, "part.at: the field was removed"),
    (("$defs", "Part", "properties", "at", "format"), "date", "part.at: format changed"),
    (("$defs", "Part", "required"), ["at", "no"], "part.no: it was optional and became required"),
    (
        ("$defs", "Part", "additionalProperties"),
        True,
        "part: additionalProperties changed from false to true",
    ),
    (
        ("properties", "parts", "items"),
        {"type": "string"},
        'parts[]: the type changed from "object" to "string"',
    ),
    (("properties", "parts", "minItems"), 1, "parts: minItems was narrowed"),
    (
        ("properties", "bands", "patternProperties", "^[a-z]+$", "enum"),
        ["mild"],
        'bands.*: the value "severe" was removed',
    ),
    (("properties", "bands", "patternProperties"), {"^x$": {}}, "bands: patternProperties changed"),
    (("properties", "bands", "propertyNames", "maxLength"), 8, "bands.(name): maxLength was narrowed"),
    (("additionalProperties",), True, "the body: additionalProperties changed from false to true"),
    (("properties", "level", "not"), {"const": "low"}, "level: not changed from nothing"),
]


def with_change(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(OLD)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    if value is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


def test_a_schema_is_compatible_with_itself() -> None:
    assert breaking_changes(OLD, OLD) == []


@pytest.mark.parametrize(("path", "value", "told"), BREAKING, ids=[told for *_, told in BREAKING])
def test_a_breaking_change_is_named_by_its_field(path: tuple[Any, ...], value: Any, told: str) -> None:
    changes = breaking_changes(OLD, with_change(path, value))
    assert any(change.startswith(told) for change in changes), changes


@pytest.mark.parametrize(("path", "value", "told"), BREAKING, ids=[told for *_, told in BREAKING])
def test_what_breaks_in_one_direction_breaks_in_the_other(
    path: tuple[Any, ...], value: Any, told: str
) -> None:
    assert breaking_changes(with_change(path, value), OLD)


def test_a_new_required_field_is_refused() -> None:
    new = with_change(("properties", "extra"), {"type": "string"})
    new["required"] = [*OLD["required"], "extra"]
    assert breaking_changes(OLD, new) == [
        "extra: the required field was added; readers of the published version refuse it: a new version is needed"
    ]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("title",), "Other"),
        (("description",), "In other words."),
        (("$id",), "urn:other"),
        (("properties", "id", "description"), "An id."),
        (("properties", "level", "enum"), ["high", "low"]),
        (("properties", "kind"), {"enum": ["thing"]}),
        (("properties", "note", "anyOf"), [{"type": "null"}, {"type": "string", "maxLength": 10}]),
        (("properties", "note", "title"), "Note"),
        (("required",), list(reversed(OLD["required"]))),
        (("properties",), dict(reversed(OLD["properties"].items()))),
        (("properties", "part"), OLD["$defs"]["Part"]),
        (("$defs", "Unused"), {"type": "string"}),
    ],
)
def test_other_words_and_another_order_break_nothing(path: tuple[Any, ...], value: Any) -> None:
    assert breaking_changes(OLD, with_change(path, value)) == []


def test_a_definition_may_be_renamed() -> None:
    new = copy.deepcopy(OLD)
    new["$defs"]["Piece"] = new["$defs"].pop("Part")
    new["properties"]["part"] = {"$ref": "#/$defs/Piece"}
    new["properties"]["parts"]["items"] = {"$ref": "#/$defs/Piece"}
    assert breaking_changes(OLD, new) == []


def test_alternatives_of_one_type_that_changed_are_not_taken_for_the_same() -> None:
    old = {"anyOf": [{"type": "string", "pattern": "a"}, {"type": "string", "pattern": "b"}]}
    new = {"anyOf": [{"type": "string", "pattern": "a"}, {"type": "string", "pattern": "c"}]}
    assert breaking_changes(old, old) == []
    assert breaking_changes(old, new)


def test_references_are_replaced_by_what_they_refer_to() -> None:
    schema = resolved(OLD)
    assert "$defs" not in schema
    assert schema["properties"]["part"] == OLD["$defs"]["Part"]
    assert schema["properties"]["parts"]["items"] == OLD["$defs"]["Part"]


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/Missing"},
        {"$ref": "https://example.org/other"},
        {"$defs": {"A": {"properties": {"a": {"$ref": "#/$defs/A"}}}}, "$ref": "#/$defs/A"},
    ],
)
def test_a_reference_that_cannot_be_followed_is_an_error(schema: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not defined here, or refers to itself"):
        resolved(schema)


@given(st.data())
def test_taking_any_keyword_out_of_a_real_schema_is_never_overlooked(data: st.DataObject) -> None:
    topic = data.draw(st.sampled_from(sorted(TOPICS)))
    old = resolved(json_schema(topic, 1))
    name = data.draw(st.sampled_from(sorted(old["properties"])))
    new = copy.deepcopy(old)
    place = new["properties"][name]
    says = sorted(
        set(place) - {"title", "description"} - ({"default"} if place.get("default") is None else set())
    )
    del place[data.draw(st.sampled_from(says))]
    assert breaking_changes(old, new)
