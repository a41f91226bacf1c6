"""What people on call see: the page behind the link in a message (no script), and the supervisors' console."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from shared.web.texts import text

FOLDER = Path(__file__).parent

_STYLE = (FOLDER / "acknowledge.css").read_text(encoding="utf-8")

ACKNOWLEDGE_POLICY = (
    "default-src 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The security policy of the page behind the link: its own style, and nothing else."""


@cache
def template(name: str) -> Template:
    """A template of this folder."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def acknowledge_page(lines: list[dict[str, str]], *, button: bool, incident_id: str | None = None) -> str:
    """The page with these lines (`zh`, `en`), with the button or without, and the way on to an incident."""
    return template("acknowledge.html").render(
        lines=lines,
        button=button,
        incident_id=incident_id,
        style=_STYLE,
        zh=lambda key: text(key, "zh"),
        en=lambda key: text(key, "en"),
    )


def said(key: str) -> dict[str, str]:
    """A text in both languages."""
    return {"zh": text(key, "zh"), "en": text(key, "en")}
