"""E-mail over SMTP. Success is the mail server's 250 for the recipient and for the text.

Source: RFC 5321. A 4xx is temporary, a 5xx is not. The server takes responsibility; whether somebody reads it is
not known, so it should not be anybody's only channel.
"""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage

from services.crisis.addresses import EmailAddress
from services.crisis.channels import Accepted, Limit, Message, Rejected
from services.crisis.channels.posting import A_MINUTE

_THREADS = ThreadPoolExecutor(max_workers=8, thread_name_prefix="crisis e-mail")
"""Its own: a mail server that hangs must not hold up the name look-ups that all other channels share a pool for."""


class Email:
    """Sends to one mailbox."""

    kind = "email"
    limits: tuple[Limit, ...] = (Limit(30, 60),)

    def __init__(self, address: EmailAddress, timeout: float) -> None:
        self._address = address
        self._timeout = timeout
        self.key = f"{address.host} {address.to.get_secret_value()}"

    async def send(self, message: Message) -> Accepted | Rejected:
        return await asyncio.get_running_loop().run_in_executor(_THREADS, self._send, message)

    def _send(self, message: Message) -> Accepted | Rejected:
        try:
            with self._connected() as server:
                server.send_message(self._written(message))
        except smtplib.SMTPRecipientsRefused as refusal:
            code = next(iter(refusal.recipients.values()))[0]
            return _refused(code)
        except smtplib.SMTPResponseException as refusal:
            return _refused(refusal.smtp_code)
        except smtplib.SMTPServerDisconnected as error:  # also what comes of no answer in time
            silent = isinstance(error.__context__, TimeoutError)
            return Rejected("timeout" if silent else "unreachable")
        except TimeoutError:
            return Rejected("timeout")
        except (OSError, smtplib.SMTPException, ValueError):
            return Rejected("unreachable")
        return Accepted()

    def _connected(self) -> smtplib.SMTP:
        address = self._address
        if address.security == "tls":
            context = ssl.create_default_context()
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                address.host, address.port, timeout=self._timeout, context=context
            )
        else:
            server = smtplib.SMTP(address.host, address.port, timeout=self._timeout)
        try:
            if address.security == "starttls":
                server.starttls(context=ssl.create_default_context())
            if address.username is not None and address.password is not None:
                server.login(address.username, address.password.get_secret_value())
        except BaseException:
            server.close()
            raise
        return server

    def _written(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = message.title or message.text.partition("\n")[0]
        mail["From"] = self._address.sender
        mail["To"] = self._address.to.get_secret_value()
        mail["Date"] = message.at
        # The same when repeated: mailboxes show it once.
        mail["Message-ID"] = f"<{message.id.replace(':', '.')}@aftercare>"
        mail["Importance"] = "high" if message.urgent else "normal"
        mail.set_content(message.text)
        return mail


def _refused(code: int) -> Rejected:
    return Rejected(f"smtp-{code}", retry_after=A_MINUTE if code == 421 else None)
