"""Where a command finds the stack: in the environment first, else in what a running `aftercare up` left in its folder.

`up` writes two files, both readable by their owner alone: `secrets.json`, made once and kept, and `stack.json`, the
addresses of the stack that runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from aftercare.mistakes import Mistake
from aftercare.stack import PORTS
from shared.settings import Settings
from shared.web.auth import Role, issue_token

S = TypeVar("S", bound=Settings)

DATA = Path(".data")
"""The folder of `aftercare up`, under the current directory."""

DataFolder = Annotated[
    Path, typer.Option("--data", help="The folder of the running `aftercare up`.", show_default=True)
]

SECRETS = "secrets.json"
STACK = "stack.json"


def read_settings(kind: type[S], **given: Any) -> S:
    """Settings from the environment, with `given` above it. Raises Mistake that names variables, never values."""
    try:
        return kind(**given)
    except ValidationError as error:
        lines = [
            f"  {_variable(found['loc'])}: {found['msg']}"
            for found in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise Mistake("\n".join(["these settings cannot be used:", *lines])) from None
    except SettingsError as error:
        # Says which field of which source could not be read as JSON, and not what stands there.
        raise Mistake(f"these settings cannot be used:\n  {error}: it must be JSON") from None


def _variable(location: tuple[int | str, ...]) -> str:
    name, *inside = map(str, location) if location else ["settings"]
    return ".".join([variable(name), *inside])


def variable(field: str) -> str:
    """The environment variable of a settings field."""
    return f"AFTERCARE_{field.upper()}"


def stack_settings(data: Path = DATA) -> Settings:
    """The settings of the stack that a tool works on. Raises Mistake."""
    left = {**_read(data / SECRETS), **_read(data / STACK).get("settings", {})}
    return read_settings(Settings, **not_in_environment(left, os.environ))


def not_in_environment(left: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """What `up` left, without what the environment says otherwise: a bus of one's own has its own options."""
    own_bus = variable("kafka_bootstrap_servers") in environment
    return {
        name: value
        for name, value in left.items()
        if variable(name) not in environment and not (own_bus and name.startswith("kafka_"))
    }


def service_url(service: str, data: Path = DATA) -> str:
    """Where a service of the running stack listens."""
    found = _read(data / STACK).get("services", {}).get(service)
    return str(found or f"http://127.0.0.1:{PORTS[service]}")


def token_secret(settings: Settings, data: Path) -> str:
    """The secret that signs development tokens. Raises Mistake where there is none."""
    if settings.token_secret is None:
        advice = (
            "get a token from your OIDC provider and pass it with --token"
            if settings.oidc_issuer
            else "start `aftercare up`, or set AFTERCARE_TOKEN_SECRET to the services' own"
        )
        raise Mistake(f"no secret to sign a token with: {data / SECRETS} does not exist; {advice}")
    return settings.token_secret.get_secret_value()


def own_token(data: Path, subject: str, role: Role) -> str:
    """A token for a command of ours, valid for an hour. Raises Mistake where there is no secret to sign it with."""
    return issue_token(token_secret(stack_settings(data), data), subject, [role], timedelta(hours=1))


def write_private(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file that its owner alone can read, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
    partial.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Mistake(
            f"{path} cannot be read ({type(error).__name__}): mend it or choose another --data"
        ) from None
    return content if isinstance(content, dict) else {}
