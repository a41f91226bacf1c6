"""Thousands of cases as the company would tell of them, and what must come of them: made from a seed.

Every date lies more than five days from whatever decides something about it: a follow-up is long overdue or weeks
ahead. So the end does not depend on the minute of the run, nor on a clock that is hours wrong. Nor does it depend on
the order of arrival: what can be told of a case that is overdue is told by one event each, and no case has a sixth
session, so that a follow-up that gave way to an earlier one never comes back.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from services.intake.domain.ledger import Case, Client
from services.scheduler.domain.agenda import FollowUp
from shared.contracts.envelope import Event
from tests.builders import Timeline
from tests.reference.fold import Fold
from tests.reference.followups import Demanded, demanded

AGES = (5, 72, 162, 320)
"""How many days ago cases were closed: all follow-ups ahead, then one after the other overdue."""

DAY = timedelta(days=1)


def stories(seed: int, events: int, today: datetime) -> list[list[Event]]:
    """The events of one client each, in the order in which they happened; at least so many events in all."""
    choice = random.Random(seed)
    told: list[list[Event]] = []
    count = 0
    while count < events:
        told.append(_client(choice, f"{seed}-{len(told)}", today))
        count += len(told[-1])
    return told


def as_told(told: Sequence[Sequence[Event]], seed: int) -> list[Event]:
    """All events as they come one after the other: every client's in their order, many clients at once."""
    choice = random.Random(seed)
    active = [iter(story) for story in told]
    choice.shuffle(active)
    under_way, waiting = active[:200], iter(active[200:])
    events: list[Event] = []
    while under_way:
        place = choice.randrange(len(under_way))
        event = next(under_way[place], None)
        if event is not None:
            events.append(event)
            continue
        another = next(waiting, None)
        if another is None:
            under_way.pop(place)
        else:
            under_way[place] = another
    return events


def _client(choice: random.Random, name: str, today: datetime) -> list[Event]:
    client = f"client-{name}"
    kind = choice.choice("ccccccdddooo")
    if kind == "c":
        age = choice.choice(AGES)
        if age == AGES[0]:
            return _recent(choice, name, client, today)
        return _closed(choice, f"case-{name}", client, today - age * DAY, choice.choice([1, 3, 4, 5])).events
    story = Timeline(f"case-{name}", client)
    began = today - choice.randrange(70, 90) * DAY
    _opened(choice, story, began)
    story.sessions(choice.choice([0, 1, 2, 3, 4, 5]), began + _hours(choice), every=7)
    if choice.random() < 0.2:
        story.attention(
            began + choice.randrange(1, 30) * DAY, choice.choice(["proposed", "decided", "lifted"])
        )
    if kind == "d":
        story.dropped(today - 25 * DAY + _hours(choice), reason=choice.choice(["price", "time", "unknown"]))
    return story.events


def _recent(choice: random.Random, name: str, client: str, today: datetime) -> list[Event]:
    """Closed some days ago, everything ahead: attention and consent may change as often as they like."""
    told: list[Event] = []
    for nth in range(choice.choice([1, 1, 2])):
        story = _closed(choice, f"case-{name}-{nth}", client, today - 5 * DAY, choice.choice([0, 2, 4]))
        for days in range(choice.choice([0, 0, 1, 3])):
            state = choice.choice(["proposed", "decided", "lifted"])
            story.attention(today - 4 * DAY + days * DAY + _hours(choice), state)
        told += story.events
    words = Timeline(client_id=client)
    for days in range(choice.choice([0, 0, 1, 2])):
        words.consent(
            today - 4 * DAY + days * DAY + _hours(choice), purposes={"follow-up": choice.random() < 0.5}
        )
    return sorted([*told, *words.events], key=lambda event: event.time)


def _closed(choice: random.Random, case: str, client: str, closed: datetime, sessions: int) -> Timeline:
    story = Timeline(case, client)
    began = closed - (7 * sessions + 20) * DAY
    _opened(choice, story, began)
    story.sessions(sessions, began + DAY + _hours(choice), every=7)
    outcome = choice.choice(["as-expected", "as-expected", "below-expectation"])
    return story.closed(closed + _hours(choice), outcome=outcome)


def _opened(choice: random.Random, story: Timeline, when: datetime) -> None:
    service = choice.choice(["stress", "workplace-adaptation", "career-transition"])
    story.opened(when, service=service, agreed_sessions=choice.randrange(3, 9))


def _hours(choice: random.Random) -> timedelta:
    return timedelta(seconds=choice.randrange(8 * 3600))


# --- what must come of them -----------------------------------------------------------------------------------


ASIDE = ("date-ahead", "silent-client")
"""What is reminded of by the day, and asked about a silence that was past when it was heard of: who hears of a case's
whole past at once is asked as often as it was silent by what is known until then."""


@dataclass
class Ends:
    """How everything stands in the end, as far as the minute and the order of arrival do not matter."""

    cases: dict[str, Any] = field(default_factory=dict)
    clients: dict[str, Any] = field(default_factory=dict)
    follow_ups: dict[str, Any] = field(default_factory=dict)
    duties: dict[str, Any] = field(default_factory=dict)
    reminders: dict[str, Any] = field(default_factory=dict)

    def add(self, cases: Sequence[Case], clients: Sequence[Client], agenda: Sequence[Any]) -> None:
        for case in cases:
            self.cases[case.id] = case.model_dump(
                exclude={"revision", "classified_at", "known_at", "told_class", "cause"}
            )
        for client in clients:
            self.clients[client.id] = client.model_dump()
        over = {item.id for item in agenda if item.kind == "follow-up" and not item.pending}
        for item in agenda:
            if item.subject in over:
                continue  # of a follow-up that was planned only until more was known
            about = (item.rule, item.subject, item.case_id, item.client_id)
            if item.kind == "follow-up":
                kept = {"owner", "step", "case_class", "anchor", "scheduled_for", "complete_by", "forms"}
                body = item.model_dump(include=kept | {"template", "provisional", "state", "fired"})
                self.follow_ups[item.id] = (about, body)
            elif item.kind == "duty":
                self.duties[item.id] = (about, item.role, item.due_at, item.open)
            elif item.kind == "reminder" and item.state != "cancelled" and item.what not in ASIDE:
                self.reminders[item.id] = (about, item.what, item.to, item.state, item.fired)


def expected(told: Sequence[Sequence[Event]], now: datetime) -> Ends:
    """By the pure fold: each client's story delivered now, without engines."""
    ends = Ends()
    for story in told:
        fold = Fold(now)
        for event in story:
            fold.deliver(event, now)
        fold.settle().until(now)
        ends.add(fold.intake.all(Case), fold.intake.all(Client), fold.agenda())
    return ends


def demanded_of(told: Sequence[Sequence[Event]]) -> set[Demanded]:
    """The follow-ups that the contract demands, by the reference that shares no code with the services."""
    return {one for story in told for one in demanded([event.structured() for event in story])}


def as_demanded(item: FollowUp) -> Demanded:
    return Demanded(
        str(item.case_id), item.rule, item.scheduled_for, item.complete_by, item.forms, item.provisional
    )
