"""The event loop: one batch, one transaction, written once for every service but the page path of crisis.

1. each record is parsed by itself; a bad one becomes a dead letter and the rest go on;
2. events already seen drop out;
3. the documents concerned are read;
4. pure decisions turn `(view, event, now)` into changes;
5. one majority transaction writes documents, seen-marks and outgoing events;
6. the outgoing events are published, then the offsets committed, while the next batch is already being decided.

An error's type decides: what may pass by itself (database or bus away) puts the batch back and waits, what cannot
(a bad record, a defect in a decision) makes a dead letter of that record alone.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog
from aiokafka import ConsumerRecord
from faststream.kafka.annotations import KafkaMessage
from motor.motor_asyncio import AsyncIOMotorClientSession

from shared.clock import Clock
from shared.contracts.envelope import Event, Refused, parse_record
from shared.contracts.topics import TOPICS
from shared.messaging.bus import Outgoing, commit
from shared.messaging.dead_letters import DeadLetters
from shared.messaging.progress import Progress
from shared.messaging.turn import Turn
from shared.mongo.documents import Changes, View
from shared.mongo.journal import Entry, Journal, Outcome, is_transient
from shared.observability import metrics, tracing
from shared.settings import Settings

log = structlog.get_logger(__name__)

AfterBatch = Callable[[], Awaitable[None] | None]
"""What a service does once a batch is in the database, in one step or awaited. If it fails, the batch comes again."""

_ORDER = {name: position for position, name in enumerate(TOPICS)}


class Reactions(Protocol):
    """What a service does about events: which documents they concern, and what is decided."""

    async def read(self, session: AsyncIOMotorClientSession, events: Sequence[Event]) -> View:
        """The documents that the events concern. Reads through the session, writes nothing."""
        ...

    def decide(self, view: View, event: Event, now: datetime) -> Changes:
        """What the event changes. Pure. Raises `Refused` for an event that cannot be taken."""
        ...


@dataclass(frozen=True)
class Arrival:
    """A record as it came, with the event that was read from it."""

    record: ConsumerRecord
    event: Event
    digest: str


class ReactionLoop:
    """Handles batches of one service's consumer group."""

    def __init__(
        self,
        service: str,
        settings: Settings,
        reactions: Reactions,
        journal: Journal,
        dead_letters: DeadLetters,
        clock: Clock,
        progress: Progress,
        after_batch: AfterBatch | None = None,
    ) -> None:
        self.service = service
        self._after_batch = after_batch
        self.group = settings.group(service)
        self.halted = False
        self.waiting = False
        self.started_at: float | None = None
        self._settings = settings
        self._reactions = reactions
        self._journal = journal
        self._dead_letters = dead_letters
        self._clock = clock
        self._progress = progress
        self._ending = False
        self._finishing: asyncio.Task[None] | None = None
        self._recent: deque[bool] = deque(maxlen=1_000)
        self._delay = 0.1

    async def on_batch(self, message: KafkaMessage) -> None:
        """Settle a batch and commit its offsets, or put it back."""
        records: tuple[ConsumerRecord, ...] = message.raw_message
        self.started_at = time.monotonic()
        ends = {(record.topic, record.partition): record.offset + 1 for record in records}
        for (topic, partition), offset in ends.items():
            self._progress.taken(self.group, topic, partition, offset)
        with self._progress.busy(self.service), metrics.BATCH_SECONDS.labels(self.service).time():
            try:
                self._stand_still_if_halted()
                publishing = await self._commit(records)
                if self._after_batch and (rest := self._after_batch()):
                    await rest
                self._check_limit()
            except Exception as error:
                if not is_transient(error):
                    log.exception("a batch could not be settled", service=self.service)
                await self._put_back(message, error)
                for topic, partition in ends:
                    self._progress.put_back(self.group, topic, partition)
                return
            finally:
                self.started_at = None
            self._delay = 0.1
            await self._finished()
            self._finishing = asyncio.create_task(self._finish(message, ends, publishing))
            await asyncio.sleep(0)  # the task counts as under way from here on
            if self._ending:
                await self._finished()

    async def _finish(
        self, message: KafkaMessage, ends: dict[tuple[str, int], int], publishing: asyncio.Task[None]
    ) -> None:
        """Commit the offsets of a batch once its events are out, while the next batch is being decided."""
        with self._progress.busy(self.service):
            await publishing
            await commit(message, ends)
            for (topic, partition), offset in ends.items():
                self._progress.committed(self.group, topic, partition, offset)

    async def _finished(self) -> None:
        """Wait for the batch before: a slow bus slows us, not our memory."""
        if self._finishing:
            self.waiting = True
            await asyncio.wait([self._finishing])
            self.waiting = False

    async def drain(self) -> None:
        """From now on a batch is handled only when its offsets are committed; wait for the one under way."""
        self._ending = True
        await self._finished()

    async def settle(self, records: Sequence[ConsumerRecord]) -> None:
        """Everything up to the committed transaction and the published events. Repeating it is harmless."""
        await (await self._commit(records))

    async def _commit(self, records: Sequence[ConsumerRecord]) -> asyncio.Task[None]:
        """Everything up to the committed transaction; the task publishes. Repeating it is harmless."""
        now = self._clock.now()
        arrivals: list[Arrival] = []
        refused: list[tuple[ConsumerRecord, Refused]] = []
        turn = Turn()
        for record in records:
            await turn.share()
            try:
                event = parse_record(self._name(record), record.headers, record.value, now)
                arrivals.append(Arrival(record, event, event.digest()))
            except Refused as refusal:
                refused.append((record, refusal))
        # Stable: what one subject's topic says in one instant stays in the order in which it was said.
        arrivals.sort(key=lambda arrival: (arrival.event.time, _ORDER[arrival.event.topic]))

        async def work(session: AsyncIOMotorClientSession) -> Outcome:
            return await self._decide(session, arrivals, refused)

        (outcome,), publishing = await self._journal.transact_in_turn(work)
        # Only new letters count: a batch that is read again after a restart does not stop us a second time.
        letters = len(outcome.additions.get("dead_letters", ()))
        self._recent.extend([True] * letters + [False] * (len(records) - letters))
        return publishing

    async def _decide(
        self,
        session: AsyncIOMotorClientSession,
        arrivals: Sequence[Arrival],
        unreadable: Sequence[tuple[ConsumerRecord, Refused]],
    ) -> Outcome:
        fresh, refused = await self._fresh(session, arrivals)
        outcome = Outcome(view=await self._reactions.read(session, [arrival.event for arrival in fresh]))
        # After the reading, at every try: whoever decides later on the same documents says so with a later time.
        now = self._clock.now()
        handled: Counter[str] = Counter()
        turn = Turn()
        for arrival in fresh:
            await turn.share()
            event = arrival.event
            try:
                with tracing.span(
                    f"{self.service} {event.topic}", event.traceparent, **{"aftercare.subject": event.subject}
                ):
                    # Never before it happened: the publisher's clock may be ahead of ours.
                    changes = self._reactions.decide(outcome.view, event, max(now, event.time))
                    trace = tracing.current()
            except Refused as refusal:
                refused.append((arrival.record, refusal))
                continue
            except Exception:
                log.exception("a decision failed", service=self.service, topic=event.topic, id=event.id)
                refused.append((arrival.record, Refused("handler-error", "", "deciding on the event failed")))
                continue
            outcome.view.apply(changes)
            outcome.counted += changes.counted
            if TOPICS[event.topic].subject == "client_id":
                outcome.clients.add(event.subject)
            outgoing = [Outgoing.of(derived, trace) for derived in changes.events]
            outcome.entries.append(Entry(f"in {event.unique}", outgoing, arrival.digest))
            handled[event.topic] += 1
        outcome.counted.append(partial(self._count, handled))
        await self._dead_letters.add(outcome, [*unreadable, *refused], now, session)
        return outcome

    def _count(self, handled: Mapping[str, int]) -> None:
        for topic, count in handled.items():
            metrics.EVENTS_HANDLED.labels(self.service, topic).inc(count)

    async def _fresh(
        self, session: AsyncIOMotorClientSession, arrivals: Sequence[Arrival]
    ) -> tuple[list[Arrival], list[tuple[ConsumerRecord, Refused]]]:
        """Those not seen before; a repetition with another body is refused."""
        seen = await self._journal.seen(session, [f"in {arrival.event.unique}" for arrival in arrivals])
        fresh: list[Arrival] = []
        refused: list[tuple[ConsumerRecord, Refused]] = []
        for arrival in arrivals:
            key, digest = f"in {arrival.event.unique}", arrival.digest
            if key not in seen:
                seen[key] = digest
                fresh.append(arrival)
            elif seen[key] == digest:
                metrics.EVENTS_REPEATED.labels(self.service).inc()
            else:
                refusal = Refused(
                    "id-reused", "id", "an event with this source and id said something else before"
                )
                refused.append((arrival.record, refusal))
        return fresh, refused

    async def _put_back(self, message: KafkaMessage, error: Exception) -> None:
        """Rewind to before the batch, after a pause that grows: a slow database slows us, not our memory."""
        metrics.RETRIES.labels(self.service).inc()
        log.warning("a batch was put back", service=self.service, error=type(error).__name__)
        self.waiting = True
        await asyncio.sleep(self._delay)
        self._delay = min(self._delay * 2, 10.0)
        await message.nack()
        self.waiting = False

    def _check_limit(self) -> None:
        if sum(self._recent) > self._settings.dead_letter_limit and not self.halted:
            self.halted = True
            metrics.CONSUMER_HALTED.labels(self.service).set(1)
            log.error("too many dead letters: the consumer stands still", service=self.service)
        self._stand_still_if_halted()

    def _stand_still_if_halted(self) -> None:
        if self.halted:
            raise TooManyDeadLetters(self.service)

    def _name(self, record: ConsumerRecord) -> str:
        prefix = self._settings.topic("")
        return str(record.topic).removeprefix(prefix)


class TooManyDeadLetters(TimeoutError):
    """The consumer has stopped on purpose: see docs/runbooks/consumer-halted.md."""
