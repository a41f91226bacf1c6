"""What people read, in one catalogue: Simplified Chinese first, English second.

Keys are `<service>.<what>`, one block per service in `texts/zh.yaml` and `texts/en.yaml`; both files have the same
keys with the same placeholders (`{name}`). A key that does not exist is a defect, not an empty line.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import yaml

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

_FOLDER = Path(__file__).with_name("texts")


class TextMissing(KeyError):
    """The catalogue has no such text, or the text needs a value that was not given."""

    def __str__(self) -> str:
        return str(self.args[0])


def text(key: str, language: Language = "zh", **params: object) -> str:
    """The text of a key with its placeholders filled. Raises TextMissing."""
    try:
        pattern = catalogue(language)[key]
    except KeyError:
        raise TextMissing(f"no text {key!r}: add it to shared/web/texts/{language}.yaml") from None
    try:
        return pattern.format_map(params)
    except KeyError as missing:
        raise TextMissing(f"the text {key!r} needs a value for {missing}") from None


@cache
def catalogue(language: Language) -> Mapping[str, str]:
    """Every text of a language. Raises ValueError for a key given twice or a text that is not one."""
    path = _FOLDER / f"{language}.yaml"
    return MappingProxyType(parse(path.read_text(encoding="utf-8"), path.name))


def parse(document: str, name: str) -> dict[str, str]:
    """Read a catalogue: flat keys, each once, each with a text that is not empty."""
    root = yaml.compose(document, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ValueError(f"{name}: a catalogue is a mapping of keys to texts")
    texts: dict[str, str] = {}
    for key, value in root.value:
        place = f"{name}:{key.start_mark.line + 1}"
        if key.value in texts:  # YAML itself would silently keep the last
            raise ValueError(f"{place}: {key.value} is given twice")
        if not isinstance(value, yaml.ScalarNode) or value.tag != "tag:yaml.org,2002:str" or not value.value:
            raise ValueError(f"{place}: {key.value} must be a text: put it in quotes")
        placeholders(value.value)  # raises for an unmatched brace
        texts[key.value] = value.value
    return texts


def placeholders(pattern: str) -> set[str]:
    """The names of the values that a text needs."""
    return {field for _, field, _, _ in string.Formatter().parse(pattern) if field is not None}


def choose(wanted: Any) -> Language:
    """The language asked for (`?lang=en`), Chinese where it is none of ours."""
    return next((language for language in LANGUAGES if language == wanted), LANGUAGES[0])
