"""Writes incidents down behind the pages, and tells the bus. What could not be written is tried until it is."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import structlog
from aiokafka import ConsumerRecord
from pymongo.errors import PyMongoError

from services.crisis import domain, record
from services.crisis.chains import Chains
from services.crisis.domain import Incident, Moment
from services.crisis.record import Head
from services.crisis.store import Store, line_key
from shared.clock import Clock
from shared.contracts.envelope import Refused, derive
from shared.messaging.bus import Outgoing
from shared.messaging.dead_letters import DeadLetters
from shared.messaging.progress import Progress
from shared.mongo.client import Session
from shared.mongo.documents import Changes
from shared.mongo.journal import Entry, Journal, Outcome, Parcel
from shared.observability import metrics

log = structlog.get_logger(__name__)

SERVICE = "crisis"
SOURCE = "/aftercare/crisis"

HEAD_START_SECONDS = 0.005
"""What a page has before anything is written down: its request leaves in less, and no driver thread is in its way."""

Letter = tuple[ConsumerRecord, Refused]

MOST_LETTERS_BYTES = 64 * 2**20
"""So much of what could not be read is held in memory until the database takes it."""
WRITTEN_SECONDS = 30.0
"""An incident that takes longer to be written down waits behind the others: it may be the only one that cannot be."""


class Memory(Protocol):
    """The board, as the keeper sees it."""

    def snapshot(self, incident_id: str) -> Incident | None:
        """The incident as it now stands; None when it is not there."""
        ...

    def written(self, incident: Incident, merged: Incident) -> None:
        """`incident` was written down as `merged`."""
        ...


class Keeper:
    """Persists what changed, incident by incident, and publishes in the order in which it was written."""

    def __init__(
        self,
        journal: Journal,
        store: Store,
        dead_letters: DeadLetters,
        chains: Chains,
        clock: Clock,
        progress: Progress,
    ) -> None:
        self.prepared = asyncio.Event()
        """Set once the database has been reached and what lay in it has been loaded."""
        self.failing = False
        self._journal = journal
        self._store = store
        self._dead_letters = dead_letters
        self._chains = chains
        self._clock = clock
        self._progress = progress
        self._dirty: dict[str, None] = {}
        self._letters: dict[str, Letter] = {}
        self._letters_bytes = 0
        self._saving: str | None = None
        self._wake = asyncio.Event()
        self._busy: AbstractContextManager[None] | None = None
        self._outbox: asyncio.Queue[tuple[Sequence[Parcel], AbstractContextManager[None]]] = asyncio.Queue()

    def mark(self, incident_id: str) -> None:
        """The incident changed and must be written down. Returns at once."""
        self._dirty[incident_id] = None
        if self._busy is None:
            self._busy = self._progress.busy(SERVICE)
            self._busy.__enter__()
        self._wake.set()

    def unmark(self, incident_id: str) -> None:
        """The incident goes by another name now."""
        self._dirty.pop(incident_id, None)

    def enclose(self, unique: str, letter: Letter) -> None:
        """The dead letter to be written together with an unreadable flag.

        While the database is away they gather here. Beyond a bound they go without their payload: their origin says
        where it lies on the bus, and over HTTP the sender was told.
        """
        record, refusal = letter
        size = len(record.value or b"")
        if self._letters_bytes + size > MOST_LETTERS_BYTES:
            log.error("a dead letter is kept without its payload: too many wait", origin=record.topic)
            record, size = dataclasses.replace(record, key=None, value=None, headers=()), 0
        self._letters_bytes += size
        self._letters[unique] = (record, refusal)

    def is_dirty(self, incident_id: str) -> bool:
        return incident_id in self._dirty or incident_id == self._saving

    @property
    def backlog(self) -> int:
        """Incidents that are not written down as they stand."""
        return len(self._dirty) + (self._saving is not None)

    async def run(self, board: Memory) -> None:
        """Write down what is marked, for ever."""
        await self.prepared.wait()
        delay = 0.1
        while True:
            self._wake.clear()
            if not self._dirty:
                self._idle()
                await self._wake.wait()
                await asyncio.sleep(HEAD_START_SECONDS)
                continue
            metrics.INCIDENTS_UNWRITTEN.set(self.backlog)
            incident_id = next(iter(self._dirty))
            del self._dirty[incident_id]
            self._saving = incident_id
            try:
                await self._save(board, incident_id)
                self.failing, delay = False, 0.1
            except Exception as error:
                if isinstance(error, PyMongoError | TimeoutError):
                    log.warning("writing down waits for the database", error=type(error).__name__)
                else:
                    log.exception("an incident could not be written down", incident=incident_id)
                self._saving = None
                self._dirty[incident_id] = None  # behind the others: one defect holds up nobody else
                self.failing = True
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)

    async def publish(self) -> None:
        """Publish what was written, in that order, for ever. Waits for the bus; the pages do not."""
        while True:
            parcels, busy = await self._outbox.get()
            try:
                await self._journal.publish(parcels)
            finally:
                busy.__exit__(None, None, None)

    def _idle(self) -> None:
        metrics.INCIDENTS_UNWRITTEN.set(0)
        if self._busy is not None:
            self._busy.__exit__(None, None, None)
            self._busy = None

    async def _save(self, board: Memory, incident_id: str) -> None:
        incident = board.snapshot(incident_id)
        if incident is None:
            self._saving = None
            return
        merged = incident

        async def work(session: Session) -> Outcome:
            nonlocal merged
            outcome, merged = await self._outcome(session, incident)
            return outcome

        async with asyncio.timeout(WRITTEN_SECONDS):
            outcome = await self._journal.commit(work)
        if merged.record is not None and outcome.additions.get("timeline"):
            # An anchor outside the database: whoever rewrites a record there does not rewrite the log.
            head = merged.record
            log.info("written down", incident=merged.id, entries=head.count, head=head.hash)
        for flag in incident.flags:
            if letter := self._letters.pop(flag.unique, None):
                self._letters_bytes -= len(letter[0].value or b"")
        self._saving = None
        board.written(incident, merged)
        if outcome.parcels:
            busy = self._progress.busy(SERVICE)
            busy.__enter__()
            self._outbox.put_nowait((outcome.parcels, busy))

    async def _outcome(self, session: Session, incident: Incident) -> tuple[Outcome, Incident]:
        stored, incident = await self._home(session, incident)
        merged = domain.merge(stored, incident) if stored else incident
        fresh = await self._store.new_lines(session, merged.id, incident.timeline)
        outcome = Outcome()
        outcome.entries += await self._seen_marks(session, fresh)
        outcome.entries += self._announcements(merged, fresh, opened=stored is not None)
        await self._dead_letters.add(outcome, self._enclosed(fresh), self._clock.now(), session)
        if fresh:
            head, outcome.additions["timeline"] = await self._chained(session, merged, stored, fresh)
            flags = merged.flags_written + sum(1 for line in fresh if line.flag)
            merged = merged.model_copy(update={"record": head, "flags_written": flags})
        merged = domain.pruned(merged)
        merged = merged.model_copy(update={"next_at": domain.next_at(merged, self._chains.of(merged))})
        kept = (
            domain.scrubbed(merged)
            if merged.erase and domain.settled(merged, self._chains.of(merged))
            else merged
        )
        outcome.view.apply(Changes(puts=[kept]))
        return outcome, kept

    async def _home(self, session: Session, incident: Incident) -> tuple[Incident | None, Incident]:
        """The stored incident into which this one is written, and what of it: a client has one open incident.

        What reopens an ended one, while another replica opened a new one, goes into the new one.
        """
        stored = await self._store.counterpart(session, incident)
        if stored is None or stored.open or not domain.merge(stored, incident).sole:
            return stored, incident
        other = await self._store.open_one_of(session, stored.client_id)
        if other is None:
            return stored, incident
        fresh = await self._store.new_lines(session, stored.id, incident.timeline)
        return other, incident.model_copy(update={"id": other.id, "aliases": (), "timeline": tuple(fresh)})

    async def _chained(
        self, session: Session, merged: Incident, stored: Incident | None, fresh: Sequence[Moment]
    ) -> tuple[Head, list[dict[str, Any]]]:
        """The lines as entries behind those that are stored, and the new end of the record.

        Two replicas cannot both continue one record: they write the same incident, and the slower one reads again.
        """
        head = stored.record if stored else None
        if head is None:
            head = record.begin(merged.id, await self._store.count_lines(session, merged.id))
        moments = [line.model_dump() for line in fresh]
        head, entries = record.append(head, merged.id, moments, lambda: secrets.token_hex(16))
        keys = [line_key(merged.id, line) for line in fresh]
        return head, [{"_id": key, **entry} for key, entry in zip(keys, entries, strict=True)]

    async def _seen_marks(self, session: Session, fresh: Sequence[Moment]) -> list[Entry]:
        marks = {f"in {line.flag.unique}": line.flag.digest for line in fresh if line.flag}
        known = await self._journal.seen(session, list(marks)) if marks else {}
        return [Entry(key, (), digest) for key, digest in marks.items() if key not in known]

    def _announcements(self, merged: Incident, fresh: Sequence[Moment], *, opened: bool) -> list[Entry]:
        """What the bus is told of fresh lines. `opened`: it knows of the incident; an earlier flag does not open it
        once more."""
        announced = domain.announced(merged)
        entries = []
        trace = next((flag.trace for flag in merged.flags if flag.trace), None)
        for line in fresh:
            cause = f"incident {merged.id} {line.id}"
            records = []
            if line.id in announced and not (opened and announced[line.id].change == "opened"):
                event = derive(
                    cause,
                    SOURCE,
                    announced[line.id],
                    time=line.at,
                    topic="incident-changed",
                    traceparent=trace,
                )
                records.append(Outgoing.of(event))
            if escalation := domain.unanswered(merged, line, self._chains.of(merged)):
                event = derive(
                    cause, SOURCE, escalation, time=line.at, topic="escalation-required", traceparent=trace
                )
                records.append(Outgoing.of(event))
            if records:
                entries.append(Entry(f"out {cause}", records))
        return entries

    def _enclosed(self, fresh: Sequence[Moment]) -> list[Letter]:
        return [
            self._letters[line.flag.unique]
            for line in fresh
            if line.flag and line.flag.unique in self._letters
        ]
