"""A mail server that keeps what it takes, and can refuse, hang or break off as real ones do."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Literal

MailMood = Literal[
    "well",
    "greylists",  # 450 for the recipient: later, perhaps
    "no-such-mailbox",  # 550 for the recipient
    "shutting-down",  # 421 in place of a greeting
    "refuses-text",  # 554 after the text
    "breaks-off",  # closes the connection in the middle
    "silent",  # takes the connection, and never greets
]


@dataclass
class FakeMail:
    """Enough of SMTP for one sender at a time, without TLS."""

    mood: MailMood = "well"
    taken: list[EmailMessage] = field(default_factory=list)
    _talks: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        """Serve on a port of its own; yields the port."""
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for talk in self._talks:
                talk.cancel()
            await asyncio.gather(*self._talks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        try:
            await self._answer(reader, writer)
        except asyncio.CancelledError:
            pass  # the end of the test
        finally:
            self._talks.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mood == "silent":
            await reader.read()
            return
        writer.write(b"421 closing\r\n" if self.mood == "shutting-down" else b"220 mail.example\r\n")
        while line := await reader.readline():
            verb = line[:4].strip().upper()
            if self.mood == "breaks-off" and verb == b"MAIL":
                return
            if verb == b"DATA":
                writer.write(b"354 go on\r\n")
                text = await reader.readuntil(b"\r\n.\r\n")
                if self.mood == "refuses-text":
                    writer.write(b"554 not wanted\r\n")
                    continue
                mail = email.message_from_bytes(text[:-5], policy=email.policy.default)
                assert isinstance(mail, EmailMessage)
                self.taken.append(mail)
            refusals = {"greylists": b"450 later\r\n", "no-such-mailbox": b"550 nobody\r\n"}
            refused = refusals.get(self.mood) if verb == b"RCPT" else None
            writer.write(refused or (b"221 bye\r\n" if verb == b"QUIT" else b"250 ok\r\n"))
            await writer.drain()
            if verb == b"QUIT":
                return
