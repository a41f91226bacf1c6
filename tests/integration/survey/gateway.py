"""A message gateway as the company's: a real HTTP server, idempotent by `message_id`, that can be told to fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class FakeGateway:
    """`answers` are given one after the other, then 202. An answer `None` hangs until the caller gives up."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[int | None] = []
        self.calls: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.sent: dict[str, dict[str, Any]] = {}
        self.called = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                status = self._take(lines[0], headers, body)
                if status is None:
                    await reader.read()  # until the caller hangs up
                    return
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 2\r\n\r\n{{}}".encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    def _take(self, request: str, headers: dict[str, str], body: dict[str, Any]) -> int | None:
        assert request.startswith("POST /v1/messages ")
        assert set(body) == {"message_id", "client_id", "template", "params"}
        self.calls.append(body)
        self.headers.append(headers)
        self.called.set()
        status = self.answers.pop(0) if self.answers else 202
        if status is not None and 200 <= status < 300:
            self.sent.setdefault(body["message_id"], body)
        return status


@asynccontextmanager
async def fake_gateway() -> AsyncIterator[FakeGateway]:
    gateway = FakeGateway()
    server = await asyncio.start_server(gateway.handle, "127.0.0.1", 0)
    gateway.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield gateway
    finally:
        server.close()
