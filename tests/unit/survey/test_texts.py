"""The one catalogue of texts: complete in both languages, and loud where a text is missing."""

from __future__ import annotations

import pytest

from shared.web import texts


def test_both_languages_have_the_same_keys() -> None:
    assert set(texts.catalogue("zh")) == set(texts.catalogue("en"))


def test_both_languages_need_the_same_values() -> None:
    for key, pattern in texts.catalogue("zh").items():
        assert texts.placeholders(pattern) == texts.placeholders(texts.catalogue("en")[key]), key


def test_a_missing_key_is_an_error_that_names_the_file() -> None:
    with pytest.raises(texts.TextMissing, match=r"add it to shared/web/texts/en\.yaml"):
        texts.text("survey.no-such-text", "en")


def test_a_missing_value_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "catalogue", lambda language: {"survey.minutes": "about {minutes} minutes"})
    assert texts.text("survey.minutes", minutes=3) == "about 3 minutes"
    with pytest.raises(texts.TextMissing, match="needs a value for 'minutes'"):
        texts.text("survey.minutes")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ('a: "one"\na: "two"', r"zh\.yaml:2: a is given twice"),
        ("a: 1", "must be a text"),
        ('a: ""', "must be a text"),
        ("- a", "mapping"),
        ('a: "{open"', "expected '}'"),
    ],
)
def test_a_spoilt_catalogue_is_refused(document: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        texts.parse(document, "zh.yaml")


def test_an_unknown_language_reads_chinese() -> None:
    assert [texts.choose(wanted) for wanted in ("en", "zh", "fr", None)] == ["en", "zh", "zh", "zh"]
