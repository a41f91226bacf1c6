"""A TCP proxy in front of one port, by which a test cuts, slows or silences the network between two parties."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Literal

from aftercare.engines import free_port

State = Literal["open", "slow", "silent", "cut"]

SLOW_SECONDS = 0.05
"""How long each piece is held back while the network is slow."""


class Proxy:
    """Listens on `port` and passes on to `target`, from `start` to `stop`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.target = 0
        self._state: State = "open"
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._abort()

    async def open(self) -> None:
        """As it should be. What was silenced stays silent: its two ends know different things for ever."""
        self._state = "open"

    async def slow(self) -> None:
        """Everything arrives, later."""
        self._state = "slow"

    async def silence(self) -> None:
        """Half open: connections stay, what is sent is swallowed, and nobody is told."""
        self._state = "silent"

    async def cut(self) -> None:
        """Connections are reset, and new ones too."""
        self._state = "cut"
        await self._abort()

    async def _abort(self) -> None:
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._connect(reader, writer)
        except asyncio.CancelledError:
            pass  # ours alone: the connection is to be reset
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._state == "cut":
            return
        with contextlib.suppress(OSError):
            upstream, downstream = await asyncio.open_connection("127.0.0.1", self.target)
            there = asyncio.create_task(self._pass_on(reader, downstream))
            back = asyncio.create_task(self._pass_on(upstream, writer))
            try:
                await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
            finally:
                downstream.transport.abort()
                there.cancel()
                back.cancel()
                await asyncio.gather(there, back, return_exceptions=True)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        deaf = False
        while piece := await reader.read(1 << 16):
            deaf = deaf or self._state == "silent"
            if deaf:
                continue
            if self._state == "slow":
                await asyncio.sleep(SLOW_SECONDS)
            writer.write(piece)
            await writer.drain()
