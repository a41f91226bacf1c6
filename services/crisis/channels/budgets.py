"""What may still be sent over each channel without being refused, or blocked, by its provider.

A count of our own, a little below the provider's: who sends the 21st message of a minute to a DingTalk bot loses it
for ten. Over budget means the next channel, and never waiting. What a provider says of itself ("not before ...") is
remembered in the same place. It is kept by each replica for itself; the providers' own word catches the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

from services.crisis.channels import Limit
from shared.clock import Clock


class Budgets:
    """Counts what went out, by what the providers count by."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sent: dict[str, deque[datetime]] = {}
        self._blocked: dict[str, datetime] = {}

    def blocked(self, key: str) -> bool:
        """Whether its provider has said that it takes nothing just now."""
        until = self._blocked.get(key)
        return until is not None and until > self._clock.now()

    def block(self, key: str, seconds: float) -> None:
        """Its provider takes nothing for so long."""
        self._blocked[key] = self._clock.now() + timedelta(seconds=seconds)

    def take(self, key: str, limits: Sequence[Limit], *, danger: bool) -> bool:
        """Whether one more may go out; if so, it is counted. What is about nobody in danger gets half of each limit."""
        if not limits:
            return True
        now = self._clock.now()
        sent = self._sent.setdefault(key, deque())
        longest = timedelta(seconds=max(limit.seconds for limit in limits))
        while sent and not now - longest < sent[0] <= now:  # a clock that went back counts as time passed
            sent.popleft()
        for limit in limits:
            since = now - timedelta(seconds=limit.seconds)
            most = limit.count if danger else max(limit.count // 2, 1)
            if sum(1 for at in reversed(sent) if at > since) >= most:
                return False
        sent.append(now)
        return True
