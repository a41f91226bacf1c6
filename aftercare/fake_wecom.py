"""A WeCom group bot that is not one: for the demo and for tests, where no real page may go out.

It answers as the real one does: HTTP 200 for nearly everything, success only where `errcode` is 0, 20 messages a
minute for a bot and 45009 after that. It can be told to fail in the ways in which the real one does.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from aftercare import loopback

PATH = "/cgi-bin/webhook/send"
PER_MINUTE = 20
MAX_BYTES = 2048

UNLIMITED = 1_000_000_000
"""For `per_minute`, where the limit is not what matters."""

Mood = Literal[
    "well",
    "busy",  # HTTP 200 with errcode -1: the real one's "system busy"
    "limited",  # 45009 whatever the count
    "broken",  # HTTP 500
    "silent",  # never answers, and takes nothing
    "accepts-silently",  # takes the page, and never answers
    "nonsense",  # HTTP 200 with a body that is not its own
]

_LINK = re.compile(r"https?://\S+/a/\S+")


@dataclass(frozen=True)
class ReceivedPage:
    """A page that the bot took."""

    key: str
    text: str
    mentioned: tuple[str, ...]
    at: float = 0.0
    """When it was taken, by the bot's clock."""

    @property
    def link(self) -> str:
        """The link to acknowledge. Raises ValueError for a page without one."""
        found = _LINK.search(self.text)
        if found is None:
            raise ValueError("the page has no link to acknowledge")
        return found.group()


@dataclass
class FakeWeCom:
    """The bot, as an ASGI application: in-process through `httpx.ASGITransport`, or on a port with `serve`."""

    keys: frozenset[str] | None = None
    """The keys of existing bots; None: any."""
    mood: Mood = "well"
    per_minute: int = PER_MINUTE
    clock: Callable[[], float] = time.monotonic
    """Seconds, by which the limit counts."""
    pages: list[ReceivedPage] = field(default_factory=list)
    """Every page taken, in order."""
    attempts: int = 0
    """Every request, taken or not."""
    _sent: dict[str, deque[float]] = field(default_factory=dict)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("the fake bot speaks HTTP only")
        body = await _body(receive)
        self.attempts += 1
        status, answer, answers = self._answer(scope, body)
        self._move()
        if not answers:  # until the caller has had enough
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        headers = [(b"content-type", b"application/json; charset=UTF-8")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def wait_for(self, count: int, seconds: float = 10.0) -> list[ReceivedPage]:
        """Wait until the bot has taken `count` pages. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while len(self.pages) < count:
                self._moved.clear()
                await self._moved.wait()
        return self.pages

    async def wait_for_attempts(self, count: int, seconds: float = 10.0) -> None:
        """Wait until the bot has been asked `count` times. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while self.attempts < count:
                self._moved.clear()
                await self._moved.wait()

    def _answer(self, scope: Scope, body: bytes) -> tuple[int, bytes, bool]:
        if self.mood == "silent":
            return 0, b"", False
        if self.mood == "broken":
            return 500, b"Internal Server Error", True
        if self.mood == "nonsense":
            return 200, b"<html>gateway</html>", True
        if scope["method"] != "POST" or scope["path"] != PATH:
            return 404, b"", True
        code, words = self._judge(scope, body)
        answers = not (code == 0 and self.mood == "accepts-silently")
        return 200, json.dumps({"errcode": code, "errmsg": words}).encode(), answers

    def _judge(self, scope: Scope, body: bytes) -> tuple[int, str]:
        key = parse_qs(scope["query_string"].decode()).get("key", [""])[0]
        if not key or (self.keys is not None and key not in self.keys):
            return 93000, "invalid webhook url"
        if self.mood == "busy":
            return -1, "system busy"
        if self.mood == "limited" or self._is_over_limit(key):
            return 45009, "api freq out of limit"
        try:
            said = json.loads(body)
            text: Any = said["text"] if said["msgtype"] == "text" else None
            content = text["content"]
        except (ValueError, KeyError, TypeError):
            return 40008, "invalid message type"
        if not isinstance(content, str) or not content:
            return 44004, "content is empty"
        if len(content.encode()) > MAX_BYTES:
            return 40058, "content exceed max length"
        now = self.clock()
        self._sent[key].append(now)
        self.pages.append(ReceivedPage(key, content, _names(text.get("mentioned_list")), now))
        return 0, "ok"

    def _is_over_limit(self, key: str) -> bool:
        sent = self._sent.setdefault(key, deque())
        while sent and sent[0] <= self.clock() - 60:
            sent.popleft()
        return len(sent) >= self.per_minute

    def _move(self) -> None:
        self._moved.set()

    @asynccontextmanager
    async def serve(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """The bot on a port of its own; yields the address to post to; `?key=` and any key follow."""
        async with loopback.serve(self, host, port) as base:
            yield f"{base}{PATH}"


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


def _names(listed: Iterable[Any] | None) -> tuple[str, ...]:
    return tuple(str(name) for name in listed or ())
