"""intake and scheduler without engines: their decisions folded over events, in any order, with timers in between.

Between the two lie the topics of the bus: each keeps its own order for one key, and they overtake each other.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from services.intake.reactions import IntakeReactions
from services.scheduler.domain.agenda import AnyItem, Duty, FollowUp, KnownCase, KnownClient, Reminder
from services.scheduler.domain.planning import Regime
from services.scheduler.reactions import Decision, SchedulerReactions
from shared.contracts.envelope import Event, parse_structured
from shared.contracts.topics import consumed_by
from shared.mongo.documents import Changes, View
from shared.policy.versions import Policies, load
from shared.policy.workdays import load_calendar

REGIME = Regime(load(), load_calendar())
_NO_STORE: Any = None  # decisions are pure: what they may read is in the view

TO_SCHEDULER = consumed_by("scheduler")


class Fold:
    """Both services' documents after some events, and everything that was published."""

    def __init__(self, now: datetime, seed: int = 0, regime: Regime = REGIME) -> None:
        self.now = now
        self.regime = regime
        self.published: list[Event] = []
        self.intake = View()
        self.scheduler = View()
        policies = Policies(tuple(version.policy for version in regime.versions))
        self._intake = IntakeReactions(_NO_STORE, policies)
        self._scheduler = SchedulerReactions(_NO_STORE, regime)
        self._seen: set[tuple[str, str]] = set()
        self._topics: dict[str, deque[Event]] = defaultdict(deque)
        self._random = random.Random(seed)

    def deliver(self, event: Event, now: datetime | None = None) -> Fold:
        """Bring one event in, as both services may hear of it; whatever was due before comes first."""
        self.until(max(self.now, now or event.time))
        if event.topic in consumed_by("intake") and self._new("intake", event):
            self._apply(self.intake, self._intake.decide(self.intake, event, self.now))
        if event.topic in TO_SCHEDULER:
            self._topics[event.topic].append(event)
        while self._random.random() < 0.7 and self._step():
            pass
        return self

    def settle(self) -> Fold:
        """Let the scheduler hear everything that is still under way."""
        while self._step():
            pass
        return self

    def until(self, instant: datetime) -> Fold:
        """Move the clock, and fire what is due on the way."""
        for _ in range(10_000):
            due = [item for item in self.agenda() if item.next_at and item.next_at <= instant]
            item = min(due, key=lambda item: (item.next_at, item.id), default=None)
            begins = self.regime.next_begin(self.now)
            if begins and begins <= min(instant, (item and item.next_at) or instant):
                self.now = begins
                self._new_version()
                continue
            if not item:
                self.now = instant
                return self
            assert item.next_at
            self.now = max(self.now, item.next_at)
            decision = self._decide(f"timer {item.id} {len(self.published)}", item.next_at)
            decision.fire(item)
            self._apply(self.scheduler, decision.changes())
        raise AssertionError("timers fire without end")

    def _new_version(self) -> None:
        """What the scheduler does when a version of the policy begins."""
        for known in [*self.scheduler.all(KnownCase), *self.scheduler.all(KnownClient), *self.agenda()]:
            decision = self._decide(f"version {known.id}", self.now)
            decision.new_version(known)
            self._apply(self.scheduler, decision.changes())

    def _decide(self, cause: str, now: datetime) -> Decision:
        return Decision(self.scheduler, self.regime.at(self.now), cause, now)

    def agenda(self) -> list[AnyItem]:
        kinds: list[list[AnyItem]] = [
            list(self.scheduler.all(FollowUp)),
            list(self.scheduler.all(Duty)),
            list(self.scheduler.all(Reminder)),
        ]
        return [item for kind in kinds for item in kind]

    def standing(self) -> dict[str, FollowUp]:
        """The follow-ups that are planned, due or missed, by id."""
        return {item.id: item for item in self.scheduler.all(FollowUp) if item.pending}

    def told(self, topic: str) -> list[Any]:
        """The bodies of what was published on a topic."""
        return [event.data for event in self.published if event.topic == topic]

    def _step(self) -> bool:
        waiting = [queue for _, queue in sorted(self._topics.items()) if queue]
        if not waiting:
            return False
        event = self._random.choice(waiting).popleft()
        if self._new("scheduler", event):
            self._apply(self.scheduler, self._scheduler.decide(self.scheduler, event, self.now))
        return True

    def _new(self, service: str, event: Event) -> bool:
        if (service, event.unique) in self._seen:
            return False
        self._seen.add((service, event.unique))
        return True

    def _apply(self, view: View, changes: Changes) -> None:
        view.apply(changes)
        for event in changes.events:
            self.published.append(event)
            if event.topic in TO_SCHEDULER and event.topic == "case-classified":
                self._topics[event.topic].append(event)


def folded(
    events: Iterable[Event], seed: int = 0, late: Iterable[timedelta] = (), regime: Regime = REGIME
) -> Fold:
    """All events delivered in the order given, each no earlier than it happened, and everything settled."""
    told = list(events)
    delays = [*late, *[timedelta()] * len(told)]
    fold = Fold(told[0].time, seed, regime)
    for event, delay in zip(told, delays, strict=False):
        fold.deliver(event, max(fold.now, event.time + delay))
    return fold.settle()


def again(event: Event) -> Event:
    """The event after a journey over the wire."""
    return parse_structured(event.structured(), event.time)
