"""The ways a page can go out. A page is sent only when its provider says, in its own words, that it took it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True)
class Message:
    """A page as it goes to one recipient."""

    id: str
    """The same for every repetition, so that a provider can drop one."""
    text: str
    """What the person reads: no name, no number, no free text of anyone."""
    data: dict[str, Any]
    """The same for machines."""
    at: datetime


@dataclass(frozen=True)
class Accepted:
    """The provider took the page."""


@dataclass(frozen=True)
class Rejected:
    """The provider did not take the page, or did not say so in time; `reason` is a code."""

    reason: str
    retry_after: float | None = None
    """Seconds for which trying this channel again is useless."""


class Channel(Protocol):
    """One way to reach one address."""

    kind: str

    async def send(self, message: Message) -> Accepted | Rejected:
        """Send once. Returns what the provider said; raises nothing that a provider can cause."""
        ...
