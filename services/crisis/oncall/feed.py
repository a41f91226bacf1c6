"""The rota as a calendar to subscribe to: ids and roles, no names, at an address that is signed and can only be read.

Calendar programs cannot sign in, so that the address is the key. It does not expire, since a subscription that ends
is not noticed; `AFTERCARE_CALENDAR_EDITION` takes back all that were given out (decision 47).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta

from services.crisis.oncall.ical import Entry, write_calendar
from services.crisis.oncall.shifts import Gap, Shift
from shared.contracts.types import write_time
from shared.web.signing import SigningKey, decode, encode
from shared.web.texts import LANGUAGES, text

PAST = timedelta(days=30)
AHEAD = timedelta(days=92)
_SIGNATURE = 16
"""Bytes of the signature."""


class UnknownAddress(Exception):
    """The address was not made by us, or not in this edition."""


class Feed:
    """Makes and reads the addresses, with a key that follows from the master key."""

    def __init__(self, master_key: bytes, base_url: str, edition: int) -> None:
        self._key = SigningKey(master_key, f"aftercare crisis calendar {edition}".encode())
        self._base = base_url.rstrip("/")

    def address(self, person: str | None) -> str:
        """Where the shifts of this person are, or those of everybody."""
        said = (person or "").encode()
        token = encode(self._key.sign(said, _SIGNATURE) + said)
        return f"{self._base}/v1/on-call/calendar/{token}.ics"

    def read(self, token: str) -> str | None:
        """Whose shifts an address shows; None: everybody's. Raises UnknownAddress."""
        try:
            raw = decode(token)
        except ValueError:
            raise UnknownAddress from None
        signature, said = raw[:_SIGNATURE], raw[_SIGNATURE:]
        if not self._key.signed(said, signature, _SIGNATURE):
            raise UnknownAddress
        return said.decode() or None


def calendar(shifts: Iterable[Shift], gaps: Iterable[Gap], now: datetime) -> str:
    """The text of the calendar: a shift is titled by role and id, a gap says that nobody is on call."""
    entries = [
        *(
            Entry(_uid(one.role, one.start), f"{one.role}: {one.person}", one.start, one.end, one.person)
            for one in shifts
        ),
        *(Entry(_uid(one.role, one.start), _said("gap", one.role), one.start, one.end) for one in gaps),
    ]
    return write_calendar(_said("name"), sorted(entries, key=lambda entry: (entry.start, entry.uid)), now)


def _uid(role: str, start: datetime) -> str:
    """The same as long as the shift begins then: whoever takes it over, the event is changed and not added."""
    return f"{hashlib.sha256(f'{role} {write_time(start)}'.encode()).hexdigest()[:24]}@aftercare"


def _said(what: str, role: str = "") -> str:
    return " / ".join(text(f"crisis.calendar.{what}", language, role=role) for language in LANGUAGES)
