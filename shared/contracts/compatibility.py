"""Whether a body's schema may still go by its version's number. Pure.

Publishers and readers of a version are deployed apart, and readers forbid unknown fields. So a published version
does not move in either direction: narrowed, it refuses what publishers still send; widened, it lets through what
readers still refuse. Titles, descriptions and the order of things may change.

What a schema cannot say is not compared: a rule between two fields, such as an end later than its start.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_SAYS_NOTHING = frozenset({"$schema", "$id", "$defs", "title", "description", "examples", "deprecated"})
_LOWER_BOUNDS = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_UPPER_BOUNDS = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
_NARROWED = "publishers may still send it"
_WIDENED = "readers of the published version refuse it: a new version is needed"


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """What breaks whoever relies on `old`, one line each, with the path of the field; empty if nothing does."""
    return list(_compare("", resolved(old), resolved(new)))


def resolved(schema: Schema) -> dict[str, Any]:
    """The schema with every `$ref` to its own `$defs` replaced by what it refers to. Raises ValueError for others."""
    definitions: Mapping[str, Any] = schema.get("$defs", {})

    def resolve(part: Any, within: tuple[str, ...] = ()) -> Any:
        if isinstance(part, list):
            return [resolve(one, within) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" not in part:
            return {key: resolve(value, within) for key, value in part.items()}
        name = str(part["$ref"]).removeprefix("#/$defs/")
        if name not in definitions or name in within:
            raise ValueError(f"{part['$ref']} is not defined here, or refers to itself")
        beside = {key: value for key, value in part.items() if key != "$ref"}
        return {**resolve(definitions[name], (*within, name)), **resolve(beside, within)}

    body = {key: value for key, value in schema.items() if key != "$defs"}
    return dict(resolve(body))


def _compare(path: str, old: Schema, new: Schema) -> Iterator[str]:
    if "anyOf" in old or "anyOf" in new:
        yield from _compare_choices(path, old, new)
        return
    yield from _compare_fields(path, old, new)
    yield from _compare_values(path, old, new)
    for keyword in sorted(_keywords(old) | _keywords(new)):
        yield from _compare_keyword(path, keyword, old.get(keyword), new.get(keyword))


_ELSEWHERE = frozenset({"properties", "required", "enum", "const"})


def _keywords(schema: Schema) -> set[str]:
    return set(schema) - _SAYS_NOTHING - _ELSEWHERE


def _compare_fields(path: str, old: Schema, new: Schema) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    needed, needed_now = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted({*before, *after}):
        field = f"{path}.{name}" if path else name
        if name not in after:
            yield f"{field}: the field was removed; {_NARROWED}"
        elif name not in before:
            kind = "required" if name in needed_now else "optional"
            yield f"{field}: the {kind} field was added; {_WIDENED}"
        else:
            if name in needed_now - needed:
                yield f"{field}: it was optional and became required; publishers may leave it out"
            if name in needed - needed_now:
                yield f"{field}: it was required and became optional; readers rely on it"
            yield from _compare(field, before[name], after[name])


def _compare_values(path: str, old: Schema, new: Schema) -> Iterator[str]:
    before, after = _values(old), _values(new)
    if before is None and after is None:
        return
    if before is None or after is None:
        change = "narrowed to a list of values" if before is None else "widened beyond its list of values"
        yield f"{_at(path)}: it was {change}; {_NARROWED if before is None else _WIDENED}"
        return
    for value in sorted(before - after):
        yield f"{_at(path)}: the value {value} was removed; {_NARROWED}"
    for value in sorted(after - before):
        yield f"{_at(path)}: the value {value} was added; {_WIDENED}"


def _values(schema: Schema) -> set[str] | None:
    """The values that a schema names, as JSON; None if it names none. A `const` is a list of one."""
    if "const" in schema:
        return {json.dumps(schema["const"], ensure_ascii=False)}
    if "enum" in schema:
        return {json.dumps(value, ensure_ascii=False) for value in schema["enum"]}
    return None


def _compare_choices(path: str, old: Schema, new: Schema) -> Iterator[str]:
    """Alternatives: pair those that are alike in type, and compare what is paired."""
    yield from _compare_keyword(path, "default", old.get("default"), new.get("default"))
    before, after = _choices(old), _choices(new)
    for kind in sorted(before.keys() - after.keys()):
        yield f"{_at(path)}: {kind} is not taken any more; {_NARROWED}"
    for kind in sorted(after.keys() - before.keys()):
        yield f"{_at(path)}: {kind} is taken as well; {_WIDENED}"
    for kind in sorted(before.keys() & after.keys()):
        if len(before[kind]) == len(after[kind]) == 1:
            yield from _compare(path, before[kind][0], after[kind][0])
        elif _plain(before[kind]) != _plain(after[kind]):
            yield f"{_at(path)}: the alternatives of type {kind} changed, and cannot be told apart"


def _choices(schema: Schema) -> dict[str, list[Schema]]:
    found: dict[str, list[Schema]] = {}
    for choice in schema.get("anyOf", [{k: v for k, v in schema.items() if k != "default"}]):
        found.setdefault(str(choice.get("type", "anything")), []).append(choice)
    return found


def _compare_keyword(path: str, keyword: str, old: Any, new: Any) -> Iterator[str]:
    place = _at(path)
    if keyword == "type":
        yield from _compare_types(place, old, new)
    elif keyword == "items" and isinstance(old, dict) and isinstance(new, dict):
        yield from _compare(f"{path}[]", old, new)
    elif keyword == "patternProperties" and old and new and old.keys() == new.keys():
        for pattern in old:
            yield from _compare(f"{path}.*", old[pattern], new[pattern])
    elif (
        keyword in ("propertyNames", "additionalProperties")
        and isinstance(old, dict)
        and isinstance(new, dict)
    ):
        yield from _compare(f"{path}.(name)" if keyword == "propertyNames" else f"{path}.*", old, new)
    elif keyword in _LOWER_BOUNDS | _UPPER_BOUNDS:
        yield from _compare_bounds(place, keyword, old, new)
    elif _plain(old) != _plain(new):
        yield f"{place}: {keyword} changed from {_shown(old)} to {_shown(new)}; both sides may rely on it"


def _compare_types(place: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    wider = (old, new) == ("integer", "number")
    yield f"{place}: the type changed from {_shown(old)} to {_shown(new)}; {_WIDENED if wider else _NARROWED}"


def _compare_bounds(place: str, keyword: str, old: Any, new: Any) -> Iterator[str]:
    if old == new:
        return
    raised = old is None or (new is not None and new > old)
    narrower = old is None or (new is not None and raised == (keyword in _LOWER_BOUNDS))
    change = "narrowed" if narrower else "widened"
    yield (
        f"{place}: {keyword} was {change} from {_shown(old)} to {_shown(new)}; "
        f"{_NARROWED if narrower else _WIDENED}"
    )


def _plain(part: Any) -> Any:
    """A part of a schema without what says nothing, in an order of its own, to compare by."""
    if isinstance(part, Mapping):
        return {key: _plain(value) for key, value in part.items() if key not in _SAYS_NOTHING}
    if isinstance(part, Iterable) and not isinstance(part, str):
        return sorted((_plain(one) for one in part), key=lambda one: json.dumps(one, sort_keys=True))
    return part


def _shown(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False)


def _at(path: str) -> str:
    return path or "the body"
