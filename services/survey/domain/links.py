"""Invitation links: opaque, signed, and naming nobody. Whether a link still opens is decided by the follow-up."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from shared.web.signing import SigningKey, decode, encode

from .clients import Client
from .follow_ups import FollowUp

_NAME_BYTES = 12
_SIGNATURE_BYTES = 16

Opening = Literal[
    "open",
    "finished",  # spent: a finished response was sent, or staff recorded the follow-up otherwise
    "refused",
    "stopped-for-crisis",
    "expired",
    "called-off",  # cancelled or superseded
    "withdrawn",  # the client wants no follow-ups any more, or may not be asked
]


class Links:
    """Makes and reads the tokens of links, under a key of their own that is derived from the master key."""

    def __init__(self, master_key: bytes, base_url: str) -> None:
        self._key = SigningKey(master_key, b"aftercare survey invitation links")
        self.base_url = base_url

    def invitation(self, follow_up_id: str) -> str:
        """The opaque name of a follow-up's invitation: the same each time, and telling nothing."""
        return self._key.sign(b"name|" + follow_up_id.encode(), _NAME_BYTES).hex()

    def token(self, invitation: str) -> str:
        name = bytes.fromhex(invitation)
        return encode(name + self._key.sign(b"sign|" + name, _SIGNATURE_BYTES))

    def url(self, invitation: str) -> str:
        return f"{self.base_url}/s/{self.token(invitation)}"

    def read(self, token: str) -> str | None:
        """The invitation that a token names; None for a token that we did not make."""
        try:
            raw = decode(token)
        except ValueError:
            return None
        name, signature = raw[:_NAME_BYTES], raw[_NAME_BYTES:]
        return name.hex() if self._key.signed(b"sign|" + name, signature, _SIGNATURE_BYTES) else None


def opening(follow_up: FollowUp, client: Client | None, now: datetime) -> Opening:
    """What a link leads to now. Spent only by what was recorded; F10: withdrawal closes it at once."""
    if follow_up.outcome == "stopped-for-crisis":
        return "stopped-for-crisis"
    if follow_up.outcome == "refused":
        return "refused"
    if follow_up.outcome:
        return "finished"
    if client and client.stopped:
        return "withdrawn"
    if follow_up.over:
        return "called-off"
    if now >= follow_up.link_expires_at:
        return "expired"
    return "open"
