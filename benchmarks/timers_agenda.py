"""Timers as the scheduler itself stores them: what its domain makes of one event, varied and stored in bulk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

from benchmarks.timer_rivals.given import Lot
from services.scheduler.domain.agenda import Duty, FollowUp, Reminder, name_of
from services.scheduler.domain.planning import Regime
from services.scheduler.reactions import Decision
from services.scheduler.store import Store
from shared.contracts.envelope import Event
from shared.contracts.types import write_time
from shared.messaging.bus import Outgoing
from shared.mongo.client import Database
from shared.mongo.documents import View
from shared.policy.versions import load
from shared.policy.workdays import load_calendar
from tests.builders import at, event, milestone_reached, session_scheduled

BATCH = 5_000
"""Documents of one insertion."""

REGIME = Regime(load(), load_calendar())
NUMBER = "N0"
"""Stands for a timer's number in the ids of the one that the others are made of."""

Timer = FollowUp | Duty | Reminder


def _made_of(told: Event) -> list[Timer]:
    """What the scheduler puts on its agenda when it hears of an event, the earliest first."""
    decision = Decision(View(), REGIME, told.unique, told.time)
    decision.react(told)
    items = [put for put in decision.changes().puts if isinstance(put, Timer) and put.next_at]
    return sorted(items, key=lambda item: item.next_at or told.time)


def _reminder() -> list[Timer]:
    """Of a session ten minutes ahead. Firing it publishes one record: `reminder-due`."""
    return _made_of(session_scheduled(case_id=f"case-{NUMBER}", client_id=f"client-{NUMBER}", session_no=2))


def _duty() -> list[Timer]:
    """To write up a follow-up in a day. Firing it publishes one record, the warning: `escalation-required`."""
    return _made_of(milestone_reached(milestone="follow-up-conducted", subject=f"follow-up-{NUMBER}"))


def _follow_up() -> list[Timer]:
    """The first of a closed case, and its notice to the client, due at the same time. Firing it publishes
    `follow-up-due` and `duty-changed`, and puts a duty and three reminders on the agenda, of which one fires at once.
    """
    closed = at("2026-03-02 09:00")
    body = {
        "case_id": f"case-{NUMBER}",
        "client_id": f"client-{NUMBER}",
        "revision": 1,
        "class": "closed",
        "status": "closed",
        "session_ends": [],
        "closed_at": closed,
        "consents": {"follow-up": True},
        "as_of": closed,
        "cause": "case-closed",
    }
    items = _made_of(event("case-classified", body, time=closed))
    first = next(item for item in items if isinstance(item, FollowUp))
    return [first, *(item for item in items if item.subject == first.id and item is not first)]


MAKERS: dict[str, Callable[[], list[Timer]]] = {
    "reminder": _reminder,
    "duty": _duty,
    "follow-up": _follow_up,
}
FIRINGS = {"reminder": 1, "duty": 1, "follow-up": 3}
"""How many timers of each fire at its time."""
TOPICS = ("reminder-due", "escalation-required", "follow-up-due")
"""Where each firing publishes exactly one record; `duty-changed` comes beside it."""


class Model:
    """One timer with what is stored beside it, to be varied."""

    def __init__(self, kind: str) -> None:
        self._items = MAKERS[kind]()
        first = self._items[0].next_at
        assert first
        self._first = first
        self._times = [[name for name, value in item if isinstance(value, datetime)] for item in self._items]
        self._names = [
            [name for name, value in item if isinstance(value, str) and NUMBER in value]
            for item in self._items
        ]

    def varied(self, number: str, due: datetime) -> Iterator[dict[str, Any]]:
        """The documents of a timer of its own number, all its times shifted so that the first is due then."""
        shift = due - self._first
        follow_up: str | None = None
        for item, times, names in zip(self._items, self._times, self._names, strict=True):
            update = {name: getattr(item, name) + shift for name in times}
            update |= {name: getattr(item, name).replace(NUMBER, number) for name in names}
            if isinstance(item, FollowUp):
                follow_up = name_of(update["owner"], item.step, write_time(update["anchor"]))
                update |= {"id": follow_up, "subject": follow_up}
            else:
                subject = follow_up or update["subject"]
                update |= {"id": name_of(item.kind, item.rule, subject), "subject": subject}
            yield item.model_copy(update=update).to_mongo()


def documents(kinds: Iterable[str], lots: Iterable[Lot]) -> Iterator[dict[str, Any]]:
    """The documents of all timers of some lots, of each kind in turn."""
    models = [Model(kind) for kind in kinds]
    for lot in lots:
        for number, (name, due) in enumerate(lot.timers()):
            yield from models[number % len(models)].varied(name, due)


async def store(db: Database, kinds: Sequence[str], lots: Sequence[Lot]) -> None:
    """Store timers in the scheduler's database."""
    agenda = Store(db)
    await agenda.ensure_indexes()
    made = documents(kinds, lots)
    while some := list(islice(made, BATCH)):
        await agenda.agenda.insert_many(some, ordered=False)


def firings(kinds: Sequence[str], count: int) -> int:
    """How many records the firing of so many timers publishes on `TOPICS`."""
    return sum(FIRINGS[kinds[number % len(kinds)]] for number in range(count))


def example() -> tuple[str, dict[str, str]]:
    """Body and headers of a `reminder-due` as the scheduler publishes it: what the others publish too."""
    (reminder,) = _reminder()
    assert reminder.next_at
    decision = Decision(View(), REGIME, "timer", reminder.next_at)
    decision.fire(reminder)
    (told,) = decision.changes().events
    record = Outgoing.of(replace(told, traceparent=f"00-{'1' * 32}-{'2' * 16}-01"))
    return record.value.decode(), {name: value.decode() for name, value in record.headers}
