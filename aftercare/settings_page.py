"""Every variable of the services on one page: `python -m aftercare.settings_page` writes `docs/settings.md`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from aftercare.configuration import variable
from aftercare.stack import settings_class
from shared.contracts.topics import SERVICES
from shared.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"

_OPENING = """# Settings

<!-- Written by `python -m aftercare.settings_page` from the settings classes. Do not edit. -->

A service is told everything by environment variables. `aftercare up` sets what the embedded engines need by itself;
`simulate` and `demo` take none but the addresses of engines. A variable that cannot be used stops the service at
its start, with a message that names the variable and never its value. Lists and other structures are JSON.

A **secret** belongs into a Secret of the platform: it is never logged, shown or put into an error.
"""

_CLOSING = """## Beside the services

| variable | meaning |
|---|---|
| `AFTERCARE_TOKEN` | A bearer token for `aftercare publish` (role publisher) and `aftercare drill` (role supervisor), instead of one made with the development secret. |
| `OTEL_EXPORTER_OTLP_ENDPOINT` | Where traces go (OpenTelemetry's own variable); unset: nowhere. |
"""  # noqa: E501

_KINDS = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`", "array": "JSON list"}
_FORMATS = {"password": "secret", "path": "path", "duration": "duration (ISO 8601)"}


def page() -> str:
    """The page, with one table for what all services share and one for each service."""
    classes = {service: settings_class(service) for service in SERVICES}
    own = {service: set(kind.__annotations__) for service, kind in classes.items()}
    common = [name for name in Settings.model_fields if not all(name in names for names in own.values())]
    sections = [_table("All services", Settings, common)]
    for service, kind in classes.items():
        sections.append(_table(service, kind, [name for name in kind.model_fields if name in own[service]]))
    return "\n".join([_OPENING, *sections, _CLOSING])


def _table(title: str, kind: type[Settings], names: list[str]) -> str:
    rows = "\n".join(_row(kind, name) for name in names)
    return f"## {title}\n\n| variable | type | default | meaning |\n|---|---|---|---|\n{rows}\n"


def _row(kind: type[Settings], name: str) -> str:
    schema = kind.model_json_schema()["properties"][name]
    cells = (f"`{variable(name)}`", _type(schema), _default(kind, name, schema), str(schema["description"]))
    return "| " + " | ".join(cell.replace("\n", " ").replace("|", "\\|") for cell in cells) + " |"


def _type(schema: dict[str, Any]) -> str:
    said = next(_choices(schema))
    words = _FORMATS.get(said.get("format", "")) or _KINDS.get(said.get("type", ""), "text")
    bounds = [
        f"{word} {said[key]:g}"
        for key, word in (("exclusiveMinimum", "above"), ("minimum", "from"), ("maximum", "up to"))
        if key in said
    ]
    pattern = f", `{said['pattern']}`" if "pattern" in said else ""
    return words + (f", {' '.join(bounds)}" if bounds else "") + pattern


def _choices(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a field may hold if it is set."""
    return (one for one in schema.get("anyOf", [schema]) if one.get("type") != "null")


def _default(kind: type[Settings], name: str, schema: dict[str, Any]) -> str:
    default = kind.model_fields[name].default
    # What stands in the code is no secret; a secret that is set stands nowhere in it.
    value = default.get_secret_value() if isinstance(default, SecretStr) else schema.get("default")
    if value is None or value in ("", []):
        return "unset"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
