"""The console says every kind of line in words, not in codes."""

from __future__ import annotations

from typing import get_args

import pytest

from services.crisis.domain import Kind
from shared.web.texts import LANGUAGES, Language, catalogue


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_of_line_has_words(language: Language) -> None:
    known = catalogue(language)
    assert [kind for kind in get_args(Kind) if f"crisis.console.line.{kind}" not in known] == []
