"""Read a policy file into its model; a mistake is told with file, line, field, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's where it is there: ten times faster."""


class _Loader(_Base):  # type: ignore[misc]
    """Leaves dates as they are written: the model reads them, and says at which field one does not exist."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in _Base.yaml_implicit_resolvers.items()
    }


_ADVICE = {
    "extra_forbidden": "remove it or correct its spelling",
    "missing": "add it",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a policy file. `line` counts from 1."""

    file: Path
    line: int
    field: str
    reason: str
    advice: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.field}: {self.reason} - {self.advice}"


class PolicyError(ValueError):
    """A policy file cannot be used; `problems` lists every mistake found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def read(path: Path, model: type[M]) -> M:
    """The file's content as a checked model. Raises PolicyError."""
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=_Loader)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not written in UTF-8"
        raise PolicyError([Problem(path, 1, "file", f"unreadable ({reason})", "check the path")]) from error
    except yaml.YAMLError as error:
        raise PolicyError([_unreadable(path, error)]) from error
    try:
        repeated = [
            Problem(path, line, field, "is given twice", "keep one of the two")
            for field, line in (_repeated_keys(root) if root else ())
        ]
        content = "" if repeated else json.dumps(yaml.load(text, Loader=_Loader), default=str)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise PolicyError([_unreadable(path, error)]) from error  # well formed, but no value comes of it
    if repeated:
        raise PolicyError(repeated)
    try:
        # By way of JSON: there a strict model takes lists for tuples and text for dates, as YAML writes them.
        return model.model_validate_json(content)
    except ValidationError as error:
        raise PolicyError([_problem(path, root, dict(found)) for found in error.errors()]) from error


def _unreadable(path: Path, error: Exception) -> Problem:
    """A file that is no YAML, or holds a key, a number or a reference to itself that no value can be made of."""
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or "cannot be parsed"
    return Problem(path, mark.line + 1 if mark else 1, "file", f"no valid YAML ({reason})", "mend it")


def problem_at(path: Path, loc: Sequence[int | str], reason: str, advice: str) -> Problem:
    """A mistake in a file that can be read, at a field that may lie in a row merged from another."""
    root = yaml.compose(path.read_text(encoding="utf-8"), Loader=_Loader)
    return Problem(path, _line(root, loc), ".".join(map(str, loc)) or "file", reason, advice)


def _problem(path: Path, root: yaml.Node | None, error: dict[str, Any]) -> Problem:
    loc = error["loc"]
    return Problem(
        file=path,
        line=_line(root, loc),
        field=".".join(map(str, loc)) or "file",
        reason=error["msg"].removeprefix("Value error, "),
        advice=_ADVICE.get(error["type"], "correct the value"),
    )


def _line(node: yaml.Node | None, loc: Sequence[int | str]) -> int:
    """The line of the innermost node on the way to `loc` that the file has."""
    if node is None:
        return 1
    line = node.start_mark.line + 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value}
            if part not in pairs:
                continue
            key, node = pairs[part]
            line = key.start_mark.line + 1
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _repeated_keys(node: yaml.Node, field: str = "") -> Iterator[tuple[str, int]]:
    """YAML readers silently keep the last of two equal keys; here both are a mistake."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = f"{field}.{key.value}".lstrip(".")
            if key.value in seen:
                yield name, key.start_mark.line + 1
            seen.add(key.value)
            yield from _repeated_keys(value, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _repeated_keys(item, f"{field}.{index}")
