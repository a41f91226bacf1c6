"""The ways a page can go out. A page is sent only when its provider says, in its own words, that it took it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable


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
    title: str = ""
    """Its first line, for what shows a title and a body."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What the gaps of a template are filled with (`what`, `subject`, `until`); without them it is not for phones."""
    urgent: bool = True
    """Somebody must act now: providers that know of a severity are told so."""
    danger: bool = True
    """Somebody may be in danger: it may use up what the provider takes. All else leaves half of it."""
    topic: str = ""
    """What the messages that one acknowledgement ends have in common, for systems that page people themselves."""


@dataclass(frozen=True)
class Accepted:
    """The provider took the page."""

    reference: str | None = None
    """The provider's own id for it, by which its receipts come."""


@dataclass(frozen=True)
class Rejected:
    """The provider did not take the page, or did not say so in time; `reason` is a code."""

    reason: str
    retry_after: float | None = None
    """Seconds for which trying this channel again is useless."""


@dataclass(frozen=True)
class Limit:
    """At most `count` pages in any `seconds`."""

    count: int
    seconds: float


class Channel(Protocol):
    """One way to reach one address."""

    kind: str
    limits: tuple[Limit, ...]
    """What it may be used for, a little below what its provider allows."""
    key: str
    """What its provider counts by: the same for all channels that share a limit. Holds secrets."""

    async def send(self, message: Message) -> Accepted | Rejected:
        """Send once. Returns what the provider said; raises nothing that a provider can cause."""
        ...


Ending = Literal["acknowledged", "resolved"]


@runtime_checkable
class Following(Protocol):
    """A channel to a system that pages people itself, and must be told when it can stop."""

    async def end(self, topic: str, how: Ending, at: datetime) -> Accepted | Rejected:
        """Say that what `send` told about this topic has been taken up, or is over."""
        ...
