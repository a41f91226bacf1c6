"""What the supervisors' console is told, live: every incident in memory, as it changes.

The feed is a state and not a queue. The newest words about each incident are rendered once, under a number that
counts up, and a reader is given what is newer than what it has. A reader on a slow line skips what was overtaken
meanwhile, and costs no memory; nothing here asks the database, and the pager waits for nobody.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import BaseModel
from pymongo.errors import PyMongoError

from services.crisis.api import IncidentView, Line, see, see_line
from services.crisis.board import Board
from services.crisis.domain import Agency, AssessmentStep, Deadline, Incident, Kind, Moment
from services.crisis.keeper import Keeper
from services.crisis.message import Composer
from shared.clock import Clock
from shared.contracts.types import Timestamp

BEAT_SECONDS = 10.0
"""How often the time is told though nothing happens: by this the page knows that the line is there."""
STREAM_SECONDS = 900.0
"""How long one answer goes on. The page asks again at once, and is asked again who it is."""
LOOK_SECONDS = 2.0
"""How often what other replicas wrote is read while anybody watches; else `board.SYNC_SECONDS` is enough."""
LINES = 60
"""The newest lines of a timeline that are sent along; the whole is at `/v1/incidents/{incident_id}`."""
KEEP_ENDED = 20
"""Incidents that have ended and are still in the stream, so that who was away hears that they ended."""


class Due(BaseModel):
    """The escalated deadline that an incident stands for, where it is no crisis."""

    rule: str
    clause: str
    subject: str
    due_at: Timestamp


class Shown(IncidentView):
    """An incident as the console shows it. What was done counts from when it was (last) opened."""

    intervene_by: Timestamp | None
    """A30: intervention must have begun."""
    head_by: Timestamp | None
    """F59: the head must have been told."""
    step: str | None
    """The step of the chain that was paged last."""
    people: tuple[str, ...]
    """Who is at it, who took it up first."""
    assessed: dict[AssessmentStep, Timestamp]
    referred: dict[Agency, Timestamp]
    responded: dict[Agency, Timestamp]
    deadline: Due | None
    record_url: str | None
    """The company's own record of the client."""
    lines: int
    timeline: list[Line]
    """The newest lines, oldest first."""


class Status(BaseModel):
    """What time it is, and how far what is shown can be relied on."""

    now: Timestamp
    whole: bool
    """Whether what lay in the database at the start has been read: before, there may be more than is shown."""
    stored: bool
    """Whether what changes is being written down; else it holds, and is written later."""


class Reader(BaseModel):
    """Who reads, and what they may do."""

    id: str
    may_act: bool


@dataclass(frozen=True)
class _Entry:
    number: int
    incident: Incident | None
    """None: it goes by another id now."""
    words: str


class Live:
    """Follows the board, and streams what it sees to any number of readers."""

    def __init__(
        self, board: Board, keeper: Keeper, composer: Composer, clock: Clock, draining: asyncio.Event
    ) -> None:
        self._board = board
        self._keeper = keeper
        self._composer = composer
        self._clock = clock
        self._draining = draining
        self._name = secrets.token_hex(4)
        self._number = 0
        self._floor = 0
        """Entries up to this number may have been dropped: who has not seen more starts afresh."""
        self._entries: dict[str, _Entry] = {}
        self._news = asyncio.Event()
        self.readers = 0

    # --- following the board ----------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Look at the incidents whenever one may have changed, for ever."""
        while True:
            await self._board.stirred.wait()
            self._board.stirred.clear()
            if self.readers:  # else nothing is rendered that nobody reads
                self.look()

    async def look_at_others(self) -> None:
        """Read what other replicas wrote, often, for as long as anybody watches: their taps are news here."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self.readers and self._keeper.prepared.is_set():
                with suppress(PyMongoError):
                    await self._board.sync()

    def look(self) -> None:
        """Put down what has changed since the last look."""
        before = self._number
        for key, entry in list(self._entries.items()):
            latest = self._board.latest(key)
            if latest is not entry.incident:
                self._put(key, latest)
        for key, watch in self._board.watches.items():
            if key not in self._entries:
                self._put(key, watch.incident)
        if self._number != before:
            self._forget()
            self._news.set()
            self._news = asyncio.Event()

    def _put(self, key: str, incident: Incident | None) -> None:
        self._number += 1
        words = self.show(incident).model_dump_json() if incident else ""
        self._entries.pop(key, None)  # the newest stand at the end
        self._entries[key] = _Entry(self._number, incident, words)

    def _forget(self) -> None:
        ended = [k for k, entry in self._entries.items() if not (entry.incident and entry.incident.open)]
        for key in ended[:-KEEP_ENDED]:
            self._floor = self._entries.pop(key).number

    def show(self, incident: Incident) -> Shown:
        """An incident as the console shows it."""
        since = incident.since
        lines = [line for line in incident.timeline if since is None or line.at >= since]
        chain = self._board.chains.of(incident)
        timed = since if incident.crisis else None
        return Shown(
            **see(incident, self._board.chains).model_dump(),
            intervene_by=timed and timed + chain.intervention_within,
            head_by=timed and timed + chain.head_within,
            step=next((line.step for line in reversed(lines) if line.kind == "paged"), None),
            people=_people(lines),
            assessed=_done(lines, "assessed", ""),
            referred=_done(lines, "referred", "referred-"),
            responded=_done(lines, "responded", "responded-"),
            deadline=_due(incident.deadline),
            record_url=self._composer.record(incident) or None,
            lines=len(incident.timeline),
            timeline=[see_line(line) for line in incident.timeline[-LINES:]],
        )

    # --- telling ----------------------------------------------------------------------------------------------

    async def stream(self, reader: Reader, last_seen: str | None) -> AsyncIterator[str]:
        """Server-sent events: `snapshot` (unless what was last seen is known here), then `incident` and `gone` as
        things change, and `time` in between. It ends after a while, and when the service does."""
        self.readers += 1
        try:
            self.look()
            seen = self._seen(last_seen)
            yield "retry: 1000\n\n"
            if seen is None:
                seen = self._number
                yield self._snapshot(reader)
            ends = time.monotonic() + STREAM_SECONDS
            while time.monotonic() < ends and not self._draining.is_set():
                told, news = self._number, self._since(seen)
                yield news + self._event("time", self._status().model_dump_json(), told)
                seen = told
                if seen == self._number:  # nothing happened while it was being sent
                    await self._wait()
        finally:
            self.readers -= 1

    def _seen(self, last_seen: str | None) -> int | None:
        """The number up to which a reader has seen everything; None if it must start afresh."""
        name, _, number = (last_seen or "").partition("-")
        if name != self._name or not number.isdecimal():
            return None
        return int(number) if self._floor <= int(number) <= self._number else None

    def _snapshot(self, reader: Reader) -> str:
        shown = ",".join(entry.words for entry in self._entries.values() if entry.incident)
        status = self._status().model_dump_json()[1:-1]
        data = f'{{{status},"reader":{reader.model_dump_json()},"incidents":[{shown}]}}'
        return self._event("snapshot", data, self._number)

    def _since(self, seen: int) -> str:
        return "".join(
            self._event("incident", entry.words, entry.number)
            if entry.incident
            else self._event("gone", json.dumps({"incident_id": key}), entry.number)
            for key, entry in self._entries.items()
            if entry.number > seen
        )

    def _event(self, name: str, data: str, number: int) -> str:
        return f"id: {self._name}-{number}\nevent: {name}\ndata: {data}\n\n"

    def _status(self) -> Status:
        return Status(
            now=self._clock.now(), whole=self._keeper.prepared.is_set(), stored=not self._keeper.failing
        )

    async def _wait(self) -> None:
        """Until something changed, the service ends, or it is time to say that the line is there."""
        waiting = [asyncio.create_task(event.wait()) for event in (self._news, self._draining)]
        try:
            await asyncio.wait(waiting, timeout=BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()


def _people(lines: list[Moment]) -> tuple[str, ...]:
    at_it = (line.by for line in lines if line.kind in ("acknowledged", "joined", "intervening") and line.by)
    return tuple(dict.fromkeys(at_it))


def _done(lines: list[Moment], kind: Kind, prefix: str) -> dict[Any, datetime]:
    return {line.step.removeprefix(prefix): line.at for line in lines if line.kind == kind and line.step}


def _due(deadline: Deadline | None) -> Due | None:
    if deadline is None:
        return None
    return Due(rule=deadline.rule, clause=deadline.clause, subject=deadline.subject, due_at=deadline.due_at)
