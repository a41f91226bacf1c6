"""What all fakes of providers share: an ASGI application that fails in the ways in which real ones fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from aftercare import loopback

Mood = Literal[
    "well",
    "limited",  # the provider's own code for too many, whatever the count
    "refuses",  # the provider's own code for another reason
    "broken",  # HTTP 500
    "overloaded",  # HTTP 429
    "silent",  # takes the connection, reads the request, and never answers
    "accepts-silently",  # takes the page, and never answers
    "drips",  # answers a byte at a time, without end
    "nonsense",  # HTTP 200 with a body that is not its own
]
FAILING: tuple[Mood, ...] = (
    "limited", "refuses", "broken", "overloaded", "silent", "accepts-silently", "drips", "nonsense",
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    raw_query: str
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)


Said = tuple[int, Any]
"""A status, and the body to send as JSON; None: no body."""


@dataclass
class Provider:
    """A provider; `judge` says what its real one would, and appends what it takes to `taken`."""

    mood: Mood = "well"
    attempts: int = 0
    taken: list[Any] = field(default_factory=list)
    """What of each request that was taken matters, in order."""

    def judge(self, asked: Asked) -> Said:
        """What the provider says when all is well with it."""
        raise NotImplementedError

    def limit(self) -> Said:
        """What it says to too many."""
        raise NotImplementedError

    def refuse(self) -> Said:
        """What it says to something that it does not want for another reason."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = await _asked(scope, receive)
        self.attempts += 1
        if self.mood == "drips":
            await self._drip(receive, send)
            return
        status, said = self._say(asked)
        if self.mood in ("silent", "accepts-silently"):
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        body = said if isinstance(said, bytes) else b"" if said is None else json.dumps(said).encode()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    def _say(self, asked: Asked) -> Said:
        match self.mood:
            case "broken":
                return 500, b"Internal Server Error"
            case "overloaded":
                return 429, b""
            case "nonsense":
                return 200, b"<html>gateway</html>"
            case "limited":
                return self.limit()
            case "refuses":
                return self.refuse()
            case "silent":
                return 0, None
            case _:
                return self.judge(asked)

    async def _drip(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async with _until_gone(receive) as gone:
            while not gone.is_set():
                await send({"type": "http.response.body", "body": b" ", "more_body": True})
                await _a_moment(gone)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """The provider on a port of its own; yields its address, without a path."""
        async with loopback.serve(self) as base:
            yield base


async def _asked(scope: Scope, receive: Receive) -> Asked:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            break
    raw = scope["query_string"].decode()
    headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
    query = dict(parse_qsl(raw, keep_blank_values=True))
    return Asked(scope["method"], scope["path"], query, raw, headers, body)


@asynccontextmanager
async def _until_gone(receive: Receive) -> AsyncIterator[asyncio.Event]:
    gone = asyncio.Event()

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    watching = asyncio.create_task(watch())
    try:
        yield gone
    finally:
        watching.cancel()


async def _a_moment(gone: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(0.02):
            await gone.wait()
    except TimeoutError:
        pass
