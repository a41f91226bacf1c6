"""Events that come in over HTTP: stored durably, then published; a crisis does not wait for the bus."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx
import structlog
from pymongo.errors import PyMongoError

from services.intake.settings import IntakeSettings
from shared.clock import Clock
from shared.contracts.envelope import Event, Refused, parse_structured
from shared.contracts.topics import COMPANY_TOPICS
from shared.messaging.bus import Outgoing
from shared.messaging.progress import Progress
from shared.mongo.client import Session
from shared.mongo.journal import Entry, Journal, Outcome
from shared.observability import tracing

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Result:
    """What became of one event of a request."""

    index: int
    status: Literal["accepted", "refused"]
    id: str | None = None
    reason: str | None = None
    field: str | None = None
    detail: str | None = None


class NotStored(Exception):
    """The event could neither be stored nor, being a crisis, forwarded. Nothing was taken."""


class Ingress:
    """Takes events on behalf of the bus."""

    def __init__(
        self,
        settings: IntakeSettings,
        journal: Journal,
        clock: Clock,
        progress: Progress,
        crisis: httpx.AsyncClient | None,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._clock = clock
        self._progress = progress
        self._crisis = crisis

    async def take(self, documents: Sequence[Any]) -> list[Result]:
        """Take what can be taken; one bad event keeps no good one out. Raises `NotStored`."""
        parsed = [self._parse(index, document) for index, document in enumerate(documents)]
        events = {result.index: event for result, event in parsed if event}
        refused = await self._store(events) if events else {}
        return [refused.get(result.index, result) for result, _ in parsed]

    def _parse(self, index: int, document: Any) -> tuple[Result, Event | None]:
        try:
            event = parse_structured(document, self._clock.now())
            if event.topic not in COMPANY_TOPICS or event.source.startswith("/aftercare/"):
                raise Refused(
                    "not-yours", "type", "only company systems' events are taken, under their own source"
                )
            return Result(index, "accepted", event.id), event
        except Refused as refusal:
            given = document.get("id") if isinstance(document, dict) else None
            known = given if isinstance(given, str) and len(given) <= 128 and given.isprintable() else None
            return _refused(index, known, refusal), None

    async def _store(self, events: dict[int, Event]) -> dict[int, Result]:
        reused: dict[int, Result] = {}

        async def work(session: Session) -> Outcome:
            reused.clear()
            keys = {index: f"out accepted {event.unique}" for index, event in events.items()}
            seen = await self._journal.seen(session, list(keys.values()))
            outcome = Outcome()
            trace = tracing.current()
            for index, event in events.items():
                digest = event.digest()
                if keys[index] not in seen:
                    seen[keys[index]] = digest
                    headers = [*event.headers(), *([("traceparent", trace.encode())] if trace else [])]
                    record = Outgoing(
                        event.topic, event.subject.encode(), event.data.to_json(), tuple(headers)
                    )
                    outcome.entries.append(Entry(keys[index], [record], digest))
                elif seen[keys[index]] != digest:
                    refusal = Refused(
                        "id-reused", "id", "an event with this source and id said something else"
                    )
                    reused[index] = _refused(index, event.id, refusal)
            return outcome

        crises = [event for event in events.values() if event.topic == "crisis-flagged"]
        try:
            _, publishing = await self._journal.transact_then_publish(work)
        except PyMongoError:
            if len(crises) < len(events) or not await self._forward(crises):
                raise NotStored from None
            return {}
        if crises:
            done, _ = await asyncio.wait([publishing], timeout=self._settings.crisis_patience_seconds)
            if not done:
                await self._forward(crises)
        return reused

    async def _forward(self, crises: Sequence[Event]) -> bool:
        """Tell the crisis service directly; whether it took all of them. Telling it twice is harmless."""
        if self._crisis is None:
            log.error("a crisis waits for the bus and AFTERCARE_CRISIS_URL is not set")
            return False
        try:
            with self._progress.busy("intake"):
                for event in crises:
                    answer = await self._crisis.post("/v1/crises", json=event.structured())
                    answer.raise_for_status()
        except httpx.HTTPError as error:
            log.error("the crisis service could not be told", error=type(error).__name__)
            return False
        return True


def _refused(index: int, event_id: str | None, refusal: Refused) -> Result:
    return Result(index, "refused", event_id, refusal.reason, refusal.field or None, refusal.message)
