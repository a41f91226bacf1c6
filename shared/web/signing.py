"""What signed links have in common: a key for each purpose, signatures, and text that fits into a path."""

from __future__ import annotations

import base64
import hashlib
import hmac


class SigningKey:
    """The key for one purpose. It follows from the master key: HMAC-SHA256 over the purpose."""

    def __init__(self, master_key: bytes, purpose: bytes) -> None:
        self._key = hmac.digest(master_key, purpose, hashlib.sha256)

    def sign(self, said: bytes, length: int = 32) -> bytes:
        """So many bytes of the signature (HMAC-SHA256)."""
        return hmac.digest(self._key, said, hashlib.sha256)[:length]

    def signed(self, said: bytes, signature: bytes, length: int = 32) -> bool:
        """Whether this is the signature; says nothing by the time that it takes."""
        return hmac.compare_digest(signature, self.sign(said, length))


def encode(raw: bytes) -> str:
    """Base64 for paths (RFC 4648, section 5), without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """What `encode` was given. Raises ValueError."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
