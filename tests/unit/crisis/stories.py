"""An incident told step by step: given flags, when time passes and people act, then these pages went out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.crisis import domain
from services.crisis.domain import Contact, Flag, Incident, Level, Page
from shared.policy.model import CrisisChain
from shared.policy.versions import load

CHAIN: CrisisChain = load().crisis
FLAGGED = datetime.fromisoformat("2026-04-01T10:00:00+08:00")


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def flag(
    level: Level = "high", *, at: datetime = FLAGGED, client: str = "client-1", id: str = "1", late: float = 0
) -> Flag:
    """A flag raised at `at` that arrived `late` minutes afterwards."""
    return Flag(
        unique=f"/company {id}", digest=id, client_id=client, level=level,
        flagged_at=at, received_at=at + minutes(late),
    )  # fmt: skip


@dataclass
class Story:
    """One incident under a clock that jumps from step to step."""

    incident: Incident
    now: datetime
    reaches: Callable[[str], bool] = lambda _: True
    """Whether a step's page is accepted by a provider."""
    later: tuple[float, ...] = ()
    """The later stages of everyone who is paged, in seconds."""
    keeps_all: bool = False
    """Whether the timeline is never pruned, as the keeper does."""
    pages: list[tuple[float, str]] = field(default_factory=list)
    """Minutes after the flag, and the step that was paged; `on-call+60` for one of its later stages."""

    @classmethod
    def of(
        cls,
        first: Flag | None = None,
        reaches: Callable[[str], bool] = lambda _: True,
        later: tuple[float, ...] = (),
    ) -> Story:
        first = first or flag()
        story = cls(domain.open_incident(first), first.received_at, reaches, later)
        return story.work()

    def work(self) -> Story:
        """Do all that is due, as the pager does."""
        for _ in range(50):
            self.incident = domain.elapse(self.incident, CHAIN, self.now)
            pages = domain.due(self.incident, CHAIN, self.now)
            if not pages:
                return self
            for page in pages:
                self.incident = domain.escalate(self.incident, page, self.now)
                name = f"{page.step}+{page.stage:g}" if page.stage else page.step
                self.pages.append(((self.now - FLAGGED) / minutes(1), name))
                before = self.incident
                if self.reaches(name):
                    self.incident = domain.sent(before, page, self.now, "wecom", 1, self._contacts(page))
                else:
                    self.incident = domain.failed(before, page, self.now, "timeout")
                assert self.incident is not before, "a page that leaves no line would be sent in a circle"
        raise AssertionError("it pages without end at one instant")

    def _contacts(self, page: Page) -> tuple[Contact, ...]:
        later = tuple(stage for stage in self.later if stage > page.stage)
        contact = Contact(
            person="staff-1", channel="wecom", after=page.stage, later=later, reference=f"test:{page.key}"
        )
        return (contact,)

    def after(self, count: float) -> Story:
        """Let time pass until so many minutes after the flag."""
        until = FLAGGED + minutes(count)
        while (step := domain.next_at(self.incident, CHAIN)) is not None and step <= until:
            self.now = max(self.now, step)
            self.work()
            if len(self.incident.timeline) > 100 and not self.keeps_all:
                self.incident = domain.pruned(self.incident)
        self.now = until
        return self

    def does(self, act: Callable[[Incident, str, datetime], Incident], by: str = "staff-1") -> Story:
        self.incident = act(self.incident, by, self.now)
        return self.work()

    def flagged(self, other: Flag) -> Story:
        self.now = max(self.now, other.received_at)
        self.incident = domain.join(self.incident, other)
        return self.work()

    def said(self) -> list[str]:
        """What the bus is told, in order."""
        announced = domain.announced(self.incident)
        return [announced[line.id].change for line in self.incident.timeline if line.id in announced]
