"""Facts: what a service keeps of events, so that the order in which they arrive does not matter."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from shared.contracts.envelope import Event


class Fact(BaseModel):
    """What one event said, with that event's rank. A subclass adds what was said."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    time: datetime
    source: str
    event_id: str

    @classmethod
    def of(cls, event: Event, **said: Any) -> Self:
        return cls(time=event.time, source=event.source, event_id=event.id, **said)

    @property
    def rank(self) -> tuple[datetime | int | str, ...]:
        return (self.time, self.source, self.event_id)


F = TypeVar("F", bound=Fact)


def holding(known: F | None, told: F) -> F:
    """Of two facts of one kind the one with the greater rank holds, whichever came first."""
    return told if known is None or told.rank > known.rank else known
