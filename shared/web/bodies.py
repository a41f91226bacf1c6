"""Request bodies that a route reads by itself: where a crisis flag may lie in one, it pages though it is not taken."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from shared.web.problems import MAX_REQUEST_BYTES

LOOKED_THROUGH_BYTES = 64 * 2**20
"""So much of a body that is too large is looked through; what may stand behind that counts as seen."""


@dataclass(frozen=True)
class Body:
    """What was read of a body."""

    content: bytes
    """All of it, or its beginning."""
    whole: bool
    """Whether it was within the limit (`MAX_REQUEST_BYTES`)."""
    mentions: bool
    """Whether what was looked for stands in it, or may."""


async def read_body(request: Request, looking_for: bytes = b"") -> Body:
    """Read a body up to the limit. One above it is looked through to its end, in constant memory, and not kept."""
    content, size, seen = bytearray(), 0, not looking_for
    tail = b""
    async for chunk in request.stream():
        size += len(chunk)
        content += chunk[: MAX_REQUEST_BYTES - len(content)]
        if not seen:
            text = tail + as_bytes_of_text(chunk)
            seen = looking_for in text
            tail = text[-len(looking_for) :]
        if size > MAX_REQUEST_BYTES and (seen or size > LOOKED_THROUGH_BYTES):
            seen = True
            break
    return Body(bytes(content), size <= MAX_REQUEST_BYTES, seen)


def as_bytes_of_text(raw: bytes) -> bytes:
    """ASCII words are found in it in whichever of UTF-8, UTF-16, UTF-32 or an encoding of China it was written."""
    return raw.replace(b"\0", b"")
