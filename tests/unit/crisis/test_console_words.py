"""The console has words for whatever a timeline may hold."""

from __future__ import annotations

from typing import get_args

import pytest

from services.crisis.domain import Kind
from shared.web.texts import text


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("kind", get_args(Kind))
def test_each_line_of_a_timeline_has_words(kind: str, language: str) -> None:
    values = dict.fromkeys(("by", "channel", "level", "note", "origin", "reached", "source", "step"), "-")
    assert text(f"crisis.console.line.{kind}", language, **values)  # type: ignore[arg-type]
