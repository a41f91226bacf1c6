"""One-tap links: signed, expiring, for one recipient and one incident. Opening one changes nothing."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shared.web.signing import SigningKey, decode, encode

_SIGNATURE_BYTES = 16
"""Enough for a link that expires, and short enough for a phone's message."""


class Forged(Exception):
    """The link was not made by us."""


class Expired(Exception):
    """The link was made by us, and its time is over."""


@dataclass(frozen=True)
class Link:
    """What a link stands for."""

    incident_id: str
    recipient: str
    expires: datetime


class Links:
    """Makes and reads links, with a key that follows from the master key."""

    def __init__(self, master_key: bytes, base_url: str, valid: timedelta) -> None:
        self._key = SigningKey(master_key, b"aftercare crisis acknowledgement")
        self._base = base_url.rstrip("/")
        self._valid = valid

    def make(self, incident_id: str, recipient: str, now: datetime, at_least: timedelta = timedelta()) -> str:
        """The address to put into a message. It can be used for as long as is set, and for `at_least` so long."""
        expires = int((now + max(self._valid, at_least)).timestamp())
        said = f"{incident_id} {recipient} {expires}".encode()
        return f"{self._base}/a/{encode(said)}.{encode(self._key.sign(said, _SIGNATURE_BYTES))}"

    def read(self, token: str, now: datetime) -> Link:
        """What the link says. Raises Forged or Expired."""
        said, _, signature = token.partition(".")
        try:
            text, given = decode(said), decode(signature)
        except ValueError:
            raise Forged from None
        if not self._key.signed(text, given, _SIGNATURE_BYTES):
            raise Forged
        incident_id, recipient, expires = text.decode().split(" ")
        link = Link(incident_id, recipient, datetime.fromtimestamp(int(expires), UTC))
        if link.expires <= now:
            raise Expired
        return link


class ReceiptLinks:
    """The addresses to which providers of texts and calls tell what became of them.

    Providers sign nothing, so whoever knows an address is taken for one: it is as long as a key, and belongs into the
    provider's console alone.
    """

    def __init__(self, master_key: bytes, base_url: str) -> None:
        self._key = SigningKey(master_key, b"aftercare crisis receipts")
        self._base = base_url.rstrip("/")

    def make(self, provider: str) -> str:
        """The address for one provider. It holds as long as the master key does."""
        return f"{self._base}/r/{provider}.{self._sign(provider)}"

    def read(self, token: str) -> str:
        """Which provider it is. Raises Forged."""
        provider, _, signature = token.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(provider).encode()):
            raise Forged
        return provider

    def _sign(self, provider: str) -> str:
        return encode(self._key.sign(provider.encode()))
