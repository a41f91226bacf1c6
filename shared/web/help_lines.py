"""Whom one can call when somebody is in danger (F58): numbers are data, each with its source and the day on
which it was checked."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import Field

from shared.contracts.types import Code, Strict
from shared.policy.reading import read

FILE = Path(__file__).with_name("help.yaml")


class HelpLine(Strict):
    """A number to call. `name` is a key of the catalogue of texts under `survey.help.`."""

    number: Annotated[str, Field(pattern=r"^[0-9][0-9\-]{2,15}$")]
    name: Code
    source: str
    checked: date


class HelpLines(Strict):
    """Who can be called, most urgent first."""

    danger: tuple[HelpLine, ...]
    talk: tuple[HelpLine, ...]


def load(path: Path | None = None) -> HelpLines:
    """The numbers, checked. Raises PolicyError."""
    return read(path or FILE, HelpLines)
