"""Events that come in over HTTP: stored durably, then published; a crisis does not wait for the bus."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import httpx
import structlog
from pymongo.errors import PyMongoError

from services.intake.domain.eligibility import flag_of
from services.intake.domain.sessions import may_be_scheduled
from services.intake.settings import IntakeSettings
from services.intake.store import Store
from shared.clock import Clock
from shared.contracts.envelope import EVENT_ID, Event, Refused, parse_structured
from shared.contracts.events import SessionScheduled
from shared.contracts.topics import COMPANY_TOPICS
from shared.messaging.bus import Outgoing
from shared.messaging.progress import Progress
from shared.mongo.client import Session
from shared.mongo.journal import Entry, Journal, Outcome, Transaction
from shared.observability import metrics, tracing
from shared.policy.versions import Policies

log = structlog.get_logger(__name__)

FLAG = b"crisis-flagged"
"""Where this stands in what cannot be taken, somebody may be in danger."""
PAGED = "it speaks of a crisis, and people were paged: mend it and send it again"
MOST_FORWARDED = 256 * 1024
"""Bytes. What is larger is not shown to the crisis service, only told of: it would be too large there as well."""


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
        store: Store,
        clock: Clock,
        progress: Progress,
        crisis: httpx.AsyncClient | None,
        policies: Policies,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._cases = store
        self._clock = clock
        self._progress = progress
        self._crisis = crisis
        self._policies = policies
        self._storing: set[asyncio.Task[Any]] = set()

    async def take(self, documents: Sequence[Any]) -> list[Result]:
        """Take what can be taken; one bad event keeps no good one out. Raises `NotStored`."""
        parsed = [self._parse(index, document) for index, document in enumerate(documents)]
        events = {result.index: event for result, event in parsed if event}
        refused = {result.index: result for result, event in parsed if event is None}
        # At the same time: neither the good ones nor the bad ones may keep the others from paging.
        paging = asyncio.create_task(self._page_for(refused, documents))
        try:
            refused |= await self._take_good(events)
        finally:
            paged = await paging
        reused = {index: result for index, result in refused.items() if result.reason == "id-reused"}
        refused |= paged | await self._page_for(reused, documents)
        return [refused.get(result.index, result) for result, _ in parsed]

    async def _take_good(self, events: dict[int, Event]) -> dict[int, Result]:
        """Store and publish events that can be read; returns those refused. Raises `NotStored`."""
        early = await self._too_early(events)
        rest = {index: event for index, event in events.items() if index not in early}
        return early | (await self._store(rest) if rest else {})

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
            known = given if isinstance(given, str) and EVENT_ID.fullmatch(given) else None
            return _refused(index, known, refusal), None

    async def _too_early(self, events: dict[int, Event]) -> dict[int, Result]:
        """W43: the sessions scheduled before the client has confirmed the plan, where the policy refuses them."""
        refused: dict[int, Result] = {}
        if self._policies.by(self._clock.now()).switches.unconfirmed_sessions != "refused":
            return refused
        for index, event in events.items():
            if not isinstance(event.data, SessionScheduled):
                continue
            case_id = event.data.case_id
            try:
                case, agreed = await self._cases.case(case_id), await self._cases.agreed(case_id)
            except PyMongoError:
                await self._forward([event for event in events.values() if event.topic == "crisis-flagged"])
                raise NotStored from None
            if not may_be_scheduled(case, agreed):
                told = "W43: the client has not confirmed the plan: have plan-confirmed reported, then send it again"
                refused[index] = Result(
                    index, "refused", event.id, "plan-not-confirmed", "data.case_id", told
                )
        return refused

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
                    outcome.entries.append(Entry(keys[index], [Outgoing.of(event, trace)], digest))
                elif seen[keys[index]] != digest:
                    refusal = Refused(
                        "id-reused", "id", "an event with this source and id said something else"
                    )
                    reused[index] = _refused(index, event.id, refusal)
            return outcome

        flags = [event for event in events.values() if event.topic == "crisis-flagged"]
        # W26: in an opening
        found = [flag_of(event, self._policies.by(event.time).eligibility) for event in events.values()]
        if crises := [*flags, *(flag for flag in found if flag)]:
            await self._take_crises(work, crises, alone=len(flags) == len(events))
            return reused
        try:
            await self._journal.transact_then_publish(work)
        except PyMongoError:
            raise NotStored from None
        return reused

    async def _take_crises(self, work: Transaction, crises: Sequence[Event], *, alone: bool) -> None:
        """Store and publish; whichever of the two does not happen within seconds, tell the crisis service as well.

        Where nothing could be stored, events that came along with the crises are sent again by the publisher.
        """
        patience = self._settings.crisis_patience_seconds
        storing = self._start_storing(work)
        stored = False
        if (await asyncio.wait([storing], timeout=patience))[0]:
            try:
                _, publishing = storing.result()
                stored = True
                if (await asyncio.wait([publishing], timeout=patience))[0]:
                    return
            except PyMongoError:
                log.warning("a crisis could not be stored: it goes over HTTP")
        told = await self._forward(crises)
        if not (stored or (told and alone)):
            raise NotStored

    def _start_storing(self, work: Transaction) -> asyncio.Task[tuple[Outcome, asyncio.Task[None]]]:
        storing = asyncio.create_task(self._journal.transact_then_publish(work))
        self._storing.add(storing)
        storing.add_done_callback(self._stored)
        return storing

    def _stored(self, storing: asyncio.Task[Any]) -> None:
        self._storing.discard(storing)
        if not storing.cancelled() and storing.exception():
            log.warning("storing failed", error=type(storing.exception()).__name__)

    async def _forward(self, crises: Sequence[Event]) -> bool:
        """Tell the crisis service directly; whether it took all of them. Telling it twice is harmless."""
        answers = [await self._tell(_written(event.structured())) for event in crises]
        return all(answer is not None and answer.is_success for answer in answers)

    async def _page_for(self, refused: dict[int, Result], documents: Sequence[Any]) -> dict[int, Result]:
        """Page for those refused that speak of a crisis; they are told so. Raises `NotStored`."""
        bodies = {index: _written(documents[index]) for index in refused}
        flags = {index: body for index, body in bodies.items() if FLAG in body}
        if flags:
            await self.page_unreadable(list(flags.values()))
        return {index: replace(refused[index], detail=f"{refused[index].detail}; {PAGED}") for index in flags}

    async def page_unreadable(self, bodies: Sequence[bytes]) -> None:
        """Have people paged for flags that cannot be taken: by the crisis service itself, or by marks on the bus.

        Raises `NotStored` where neither could be told.
        """
        for number, body in enumerate(bodies):
            answer = await self._tell(body if len(body) <= MOST_FORWARDED else _mark(body))
            if answer is None or not (answer.is_success or answer.status_code == 422):
                await self._mark_on_the_bus(bodies[number:])
                return

    async def _mark_on_the_bus(self, bodies: Sequence[bytes]) -> None:
        """Publish, for each, a flag that says nothing and pages: what they say may be a name, which never travels.

        The same body within ten minutes is one flag; later it may be about another person.
        """
        minutes = int(self._clock.now().timestamp()) // 600
        marks = {
            f"out unreadable {minutes} {hashlib.sha256(body).hexdigest()}": _mark(body) for body in bodies
        }

        async def work(session: Session) -> Outcome:
            seen = await self._journal.seen(session, list(marks))
            return Outcome(
                [
                    Entry(key, [Outgoing("crisis-flagged", b"unreadable", mark, ())])
                    for key, mark in marks.items()
                    if key not in seen
                ]
            )

        storing = self._start_storing(work)
        if not (await asyncio.wait([storing], timeout=self._settings.crisis_patience_seconds))[0]:
            raise NotStored
        try:
            storing.result()
        except PyMongoError:
            raise NotStored from None

    async def _tell(self, body: bytes) -> httpx.Response | None:
        if self._crisis is None:
            log.error("a crisis should go over HTTP and AFTERCARE_CRISIS_URL is not set")
            return None
        try:
            with self._progress.busy("intake"):
                answer = await self._crisis.post(
                    "/v1/crises", content=body, headers={"Content-Type": "application/cloudevents+json"}
                )
        except httpx.HTTPError as error:
            log.error("the crisis service could not be told", error=type(error).__name__)
            metrics.CRISES_OVER_HTTP.labels("intake", "failed").inc()
            return None
        metrics.CRISES_OVER_HTTP.labels("intake", "refused" if answer.is_error else "taken").inc()
        if answer.is_error and answer.status_code != 422:  # 422: paged as a flag that cannot be read
            log.error("the crisis service did not take a crisis", status=answer.status_code)
        return answer


def _written(document: Any) -> bytes:
    try:
        return json.dumps(document).encode()
    except RecursionError:
        kind = document.get("type") if isinstance(document, dict) else None
        return b"nested too deeply to be written" + (FLAG if FLAG.decode() in str(kind) else b"")


def _mark(body: bytes) -> bytes:
    """Stands for a flag that cannot be shown, and cannot be read either."""
    return json.dumps({"unreadable": hashlib.sha256(body).hexdigest(), "bytes": len(body)}).encode()


def _refused(index: int, event_id: str | None, refusal: Refused) -> Result:
    return Result(index, "refused", event_id, refusal.reason, refusal.field or None, refusal.message)
