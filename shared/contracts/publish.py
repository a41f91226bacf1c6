"""Write what is published of the contracts: a JSON Schema for each version of each topic, and `docs/events.md`.

`python -m shared.contracts.publish`. A schema that was published stays as it is: a change that would break who
relies on it is refused, and belongs into a new version beside the old one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.contracts.asyncapi import example, json_schema
from shared.contracts.compatibility import breaking_changes, resolved
from shared.contracts.topics import COMPANY, SERVICES, TOPICS, Topic

SCHEMAS = Path(__file__).parent / "schemas"
EVENTS_PAGE = Path(__file__).parents[2] / "docs" / "events.md"

_FORMS = {
    "^[A-Za-z0-9_.:\\-]{1,64}$": "id",
    "^[a-z0-9]+(-[a-z0-9]+)*$": "code",
    "^[0-9]{4}-(0[1-9]|1[0-2])$": "month",
}


class BreaksPublished(Exception):
    """A published version would change under those who rely on it. The message lists how, and what to do."""

    def __init__(self, changes: Iterable[str]) -> None:
        lines = "\n".join(f"- {change}" for change in changes)
        super().__init__(
            f"this would break a published version:\n{lines}\n"
            "Leave the model as it was, and declare version 2 beside it: a model of its own in events.py, "
            "its number in the topic's `versions`, an example."
        )


def schemas() -> dict[str, str]:
    """The text of every schema file, by its name."""
    return {
        f"{topic.name}.v{version}.json": json.dumps(json_schema(topic.name, version), indent=2) + "\n"
        for topic in TOPICS.values()
        for version in topic.versions
    }


def broken(folder: Path, fresh: Mapping[str, str]) -> list[str]:
    """What in `fresh` would break the schemas published in the folder, and which of them would be gone."""
    found: list[str] = []
    for path in sorted(folder.glob("*.json")):
        if path.name not in fresh:
            found.append(f"{path.stem}: the version is not declared any more; publishers may still send it")
            continue
        old, new = json.loads(path.read_text("utf-8")), json.loads(fresh[path.name])
        found.extend(f"{path.stem}: {change}" for change in breaking_changes(old, new))
    return found


def publish(folder: Path, page: Path, fresh: Mapping[str, str]) -> None:
    """Write the schemas and the page. Raises BreaksPublished, with nothing written."""
    changes = broken(folder, fresh)
    if changes:
        raise BreaksPublished(changes)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in fresh.items():
        (folder / name).write_text(text, "utf-8")
    page.write_text(events_page(), "utf-8")


# --- the page -------------------------------------------------------------------------------------------------

_OPENING = f"""# The events

<!-- Written by `python -m shared.contracts.publish` from `shared/contracts`. Do not edit. -->

Every event is a CloudEvent 1.0 with a JSON body: on Kafka in binary mode (`ce_*` headers), over HTTP as one JSON
object. `source` and `id` together make it unique: sending it again is harmless. `type` is
`aftercare.<topic>.v<version>`, `subject` is the field named as key below and the record's key, `time` says when it
happened. The same is served by every service as AsyncAPI 3.0 at `/asyncapi`, and lies as JSON Schema in
`shared/contracts/schemas/`.

- **id**: an opaque, pseudonymous name, up to 64 characters of `A-Za-z0-9_.:-`
- **code**: a coded value, lower case with hyphens, up to 64 characters
- **time**: RFC 3339 with an offset; years 2000 to 2199; read to the millisecond
- **month**: `2026-03`

No name, number or free text is ever on the bus. Unknown fields are refused, and what is refused is never repeated in
an answer or a log. `{COMPANY}` stands for every publisher outside Aftercare.
"""


def events_page() -> str:
    """Every topic in words, with a table of its fields and an example."""
    contents = "\n".join(
        f"| [{topic.name}](#{topic.name}) | {topic.says} | {', '.join(topic.publishers)} |"
        for topic in TOPICS.values()
    )
    overview = f"| topic | says | published by |\n|---|---|---|\n{contents}\n"
    letters = ", ".join(f"`{service}.dead-letter`" for service in SERVICES)
    closing = f"Beside these, each service has a topic for word of what it could not take: {letters}.\n"
    return "\n".join([_OPENING, overview, closing, *(_section(topic) for topic in TOPICS.values())])


def _section(topic: Topic) -> str:
    versions = "\n".join(_version(topic, version) for version in sorted(topic.versions, reverse=True))
    return f"""## {topic.name}

{topic.says}

| published by | read by | key | partitions | kept |
|---|---|---|---|---|
| {", ".join(topic.publishers)} | {", ".join(topic.consumers)} | `{topic.subject}` | {topic.partitions} | \
{topic.retention_days} days |

{versions}"""


def _version(topic: Topic, version: int) -> str:
    schema = resolved(json_schema(topic.name, version))
    rows = "\n".join(
        f"| `{path}` | {_type(part)} | {_values(part)} | {'' if required else 'optional'} |"
        for path, part, required in _fields("", schema)
    )
    shown = json.dumps(example(topic.name, version), indent=2, ensure_ascii=False)
    return f"""`{topic.event_type(version)}`

| field | type | values | |
|---|---|---|---|
{rows}

```json
{shown}
```
"""


def _fields(path: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Every field at any depth: its path, its schema, and whether it must be there."""
    for name, declared in schema.get("properties", {}).items():
        part = _present(declared)
        field = f"{path}{name}"
        yield field, part, name in schema.get("required", ())
        yield from _fields(f"{field}.", part)
        yield from _fields(f"{field}[].", part.get("items", {}))


def _present(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a field may hold if it is there."""
    choices = [choice for choice in part.get("anyOf", ()) if choice.get("type") != "null"]
    return choices[0] if len(choices) == 1 else part


def _type(part: Mapping[str, Any]) -> str:
    part = _present(part)
    if part.get("type") == "array":
        return f"list of {_type(part['items'])}"
    if "patternProperties" in part:
        return f"code to {_type(next(iter(part['patternProperties'].values())))}"
    if part.get("format") == "date-time":
        return "time"
    if "enum" in part or "const" in part:
        return "code"
    return _FORMS.get(part.get("pattern", ""), str(part.get("type", "any")))


def _values(part: Mapping[str, Any]) -> str:
    part = _present(part.get("items", part))
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "minimum" in part or "maximum" in part:
        return f"{part.get('minimum', '')}..{part.get('maximum', '')}"
    if "pattern" in part and part["pattern"] not in _FORMS:
        return f"`{part['pattern']}`".replace("|", "\\|")
    return f"default `{json.dumps(part['default'])}`" if part.get("default") is not None else ""


def main() -> int:
    try:
        publish(SCHEMAS, EVENTS_PAGE, schemas())
    except BreaksPublished as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
