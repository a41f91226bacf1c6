"""A mail server that keeps what it takes, and can refuse, hang or break off as real ones do."""

from __future__ import annotations

import asyncio
import base64
import email
import email.policy
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

MailMood = Literal[
    "well",
    "greylists",  # 450 for the recipient: later, perhaps
    "no-such-mailbox",  # 550 for the recipient
    "shutting-down",  # 421 in place of a greeting
    "refuses-text",  # 554 after the text
    "no-such-user",  # 535 for the password
    "breaks-off",  # closes the connection in the middle
    "silent",  # takes the connection, and never greets
]


@dataclass
class FakeMail:
    """Enough of SMTP for one sender at a time."""

    mood: MailMood = "well"
    certificate: Path | None = None
    """With its key: it speaks TLS from the first byte, or after STARTTLS."""
    starttls: bool = False
    logins: list[str] = field(default_factory=list)
    """User and password of each, as they came."""
    taken: list[EmailMessage] = field(default_factory=list)
    _talks: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[int]:
        """Serve on a port of its own; yields the port."""
        at_once = self._tls() if self.certificate and not self.starttls else None
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=at_once)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for talk in self._talks:
                talk.cancel()
            await asyncio.gather(*self._talks, return_exceptions=True)

    def _tls(self) -> ssl.SSLContext:
        assert self.certificate is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        return context

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
            if verb == b"STAR":
                writer.write(b"220 go on\r\n")
                await writer.drain()
                await writer.start_tls(self._tls())
                continue
            if verb == b"EHLO":
                more = b"250-STARTTLS\r\n" if self.starttls else b""
                writer.write(b"250-mail.example\r\n" + more + b"250 AUTH PLAIN\r\n")
                continue
            if verb == b"AUTH":
                self.logins.append(base64.b64decode(line.split()[-1]).decode())
                writer.write(b"535 no\r\n" if self.mood == "no-such-user" else b"235 welcome\r\n")
                continue
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


def certify(folder: Path) -> Path:
    """A new certificate of a mail server at 127.0.0.1, signed by itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    path = folder / "mail.pem"
    secret = key.private_bytes(pem, form, serialization.NoEncryption())
    path.write_bytes(secret + certificate.public_bytes(pem))
    return path
