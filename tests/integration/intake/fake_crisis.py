"""A stand-in for the crisis service: an HTTP server on loopback that writes down what it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class FakeCrisis:
    def __init__(self) -> None:
        self.told: list[Any] = []
        self.authorization: set[str] = set()
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        lower = {name.lower(): value for name, value in headers.items()}
        body = await reader.readexactly(int(lower["content-length"]))
        assert head.startswith("POST /v1/crises ")
        self.authorization.add(lower["authorization"].split(" ")[0])
        self.told.append(json.loads(body))
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()
        await writer.wait_closed()


@asynccontextmanager
async def fake_crisis() -> AsyncIterator[FakeCrisis]:
    crisis = FakeCrisis()
    server = await asyncio.start_server(crisis.answer, "127.0.0.1", 0)
    crisis.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield crisis
