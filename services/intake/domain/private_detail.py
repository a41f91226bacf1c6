"""Texts that seem to hold a way to reach or identify a person: no place for them in a case file (F47, F48, W45).

What looks like one is refused, whether it is one or not. A name cannot be told from other words: leaving it out stays
with whoever writes.
"""

from __future__ import annotations

import re
import unicodedata

_GAP = r"[\s\-\u2010-\u2015.·()]{0,2}"
"""What people put between the groups of a number. Full-width forms are narrowed before."""


def _alone(*groups: str) -> str:
    """The groups of a number, not inside a longer number or word."""
    return rf"(?<![\dA-Za-z]){_GAP.join(groups)}(?![\dA-Za-z])"


_ID_NUMBER = (
    _alone(r"[1-9]\d{16}[\dXx]"),
    _alone(r"[1-9]\d{5}", r"(?:19|20)\d{6}", r"\d{3}[\dXx]"),  # district, birth, order
    _alone(r"[1-9]\d{14}"),  # as it was before 1999
)
_TELEPHONE = (
    _alone(r"(?:(?:\+|00)?86)?", r"1[3-9]\d", r"\d{4}", r"\d{4}"),  # mobile
    _alone(r"(?:(?:\+|00)?86)?", r"1[3-9]\d", r"\d{3}", r"\d{5}"),
    _alone(r"0\d{2,3}", r"[2-9]\d{2,3}", r"\d{4}"),  # landline, with its area
    _alone("[48]00", r"\d{3,4}", r"\d{3,4}"),  # service numbers
    rf"\+\d(?:{_GAP}\d){{6,14}}(?!\d)",  # abroad
)
_LOOKS_LIKE = {
    "an e-mail address": re.compile(r"[\w.+\-]{1,64}\s?@\s?[\w\-]+(?:\.[\w\-]+)+"),
    "an ID number": re.compile("|".join(_ID_NUMBER)),
    "a telephone number": re.compile("|".join(_TELEPHONE)),
}


def looks_like(text: str) -> str | None:
    """What private detail a text seems to hold, in words for whoever wrote it; None where it seems to hold none."""
    plain = unicodedata.normalize("NFKC", text)
    return next((what for what, pattern in _LOOKS_LIKE.items() if pattern.search(plain)), None)
