"""The page behind the link in a message: plain HTML, one button, no script."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from shared.web.texts import text


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("acknowledge.html")


def acknowledge_page(lines: list[dict[str, str]], *, button: bool) -> str:
    """The page with these lines (`zh`, `en`), with the button or without."""
    return _template().render(
        lines=lines, button=button, zh=lambda key: text(key, "zh"), en=lambda key: text(key, "en")
    )


def said(key: str) -> dict[str, str]:
    """A text in both languages."""
    return {"zh": text(key, "zh"), "en": text(key, "en")}
