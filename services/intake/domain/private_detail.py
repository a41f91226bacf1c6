"""Texts that seem to hold a way to reach or identify a person: no place for them in a case file (F47, F48, W45).

What looks like one is refused, whether it is one or not. A name cannot be told from other words: leaving it out stays
with whoever writes.
"""

from __future__ import annotations

import re
import unicodedata

_GAP = r"[\s\-\u2010-\u2015.·()]{0,2}"
"""What people put between the digits of a number. Full-width forms are narrowed before."""


def _digits(first: str, rest: int, last: str = "") -> str:
    """So many digits after `first`, then `last`, not inside a longer number or word."""
    return rf"(?<![\dA-Za-z]){first}(?:{_GAP}\d){{{rest}}}{last}(?![\dA-Za-z])"


_ID_NUMBER = (
    _digits("[1-9]", 16, rf"{_GAP}[\dXx]"),
    _digits("[1-9]", 14),  # as it was before 1999
)
_TELEPHONE = (
    _digits(rf"(?:(?:\+|00)?86{_GAP})?1{_GAP}[3-9]", 9),  # mobile
    rf"(?<!\d)\(?0\d{{2,3}}\)?{_GAP}[2-9]\d{{2,3}}{_GAP}\d{{4}}(?!\d)",  # landline, with its area
    _digits("[48]00", 7),  # service numbers
    rf"\+\d(?:{_GAP}\d){{6,14}}(?!\d)",  # abroad
)
_LOOKS_LIKE = {
    "an e-mail address": re.compile(r"[\w.+\-]+\s?@\s?[\w\-]+(?:\.[\w\-]+)+"),
    "an ID number": re.compile("|".join(_ID_NUMBER)),
    "a telephone number": re.compile("|".join(_TELEPHONE)),
}


def looks_like(text: str) -> str | None:
    """What private detail a text seems to hold, in words for whoever wrote it; None where it seems to hold none."""
    plain = unicodedata.normalize("NFKC", text)
    return next((what for what, pattern in _LOOKS_LIKE.items() if pattern.search(plain)), None)
