"""A client's word on follow-ups. Every word is kept with its time, so that it does not matter in which order they come.

Withdrawal cancels what is planned; giving consent again plans only what still lies ahead of that moment.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from shared.contracts.facts import Fact


class Word(Fact):
    """What a client said once."""

    said_at: datetime
    allowed: bool


def allowed(words: Iterable[Word]) -> bool | None:
    """Whether follow-ups are allowed as it now stands; None where the client never said."""
    last = max(words, key=lambda word: word.rank, default=None)
    return last.allowed if last else None


def regained_at(words: Iterable[Word]) -> datetime | None:
    """When consent was given after the last withdrawal; None where it was never withdrawn, or is now."""
    regained: datetime | None = None
    withdrawn = False
    for word in sorted(words, key=lambda word: word.rank):
        if withdrawn or not word.allowed:
            regained = word.said_at if word.allowed else None
        withdrawn = not word.allowed
    return regained
