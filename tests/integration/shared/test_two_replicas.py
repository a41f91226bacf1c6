"""Two replicas at the same time: what the one adds about a client, and what the other decides on all there is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiokafka import ConsumerRecord

from services.intake.main import build
from services.intake.reactions import IntakeReactions
from services.intake.store import Store
from shared.contracts.envelope import Event
from shared.messaging.bus import Outgoing
from shared.messaging.progress import Progress
from shared.mongo.client import Session
from shared.mongo.documents import View
from shared.policy.versions import load_versions
from shared.web.service import Runtime
from tests.builders import case_opened, client_erased, consent_changed
from tests.conftest import Start
from tests.system import System


class Slow(IntakeReactions):
    """Decides on what it has read only once it may."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, load_versions())
        self.has_read = asyncio.Event()
        self.may_go_on = asyncio.Event()

    async def read(self, session: Session, events: Sequence[Event]) -> View:
        view = await super().read(session, events)
        self.has_read.set()
        await self.may_go_on.wait()
        return view


@asynccontextmanager
async def replica(system: System) -> AsyncIterator[Runtime]:
    """Another intake on the same database."""
    app = build(system.stack.settings["intake"], system.clock, Progress())  # type: ignore[arg-type]
    runtime: Runtime = app.state.runtime
    try:
        yield runtime
    finally:
        runtime.client.close()
        await runtime.publisher.stop()


def record(system: System, number: int, event: Event) -> ConsumerRecord:
    outgoing = Outgoing.of(event)
    return ConsumerRecord(
        topic=system.settings.topic(outgoing.topic),
        partition=0,
        offset=number,
        timestamp=0,
        timestamp_type=0,
        key=outgoing.key,
        value=outgoing.value,
        checksum=None,
        serialized_key_size=0,
        serialized_value_size=0,
        headers=outgoing.headers,
    )


async def opened_while(system: System, event: Event) -> None:
    """A replica opens a case; after it has read, and before it writes, another one settles `event`, a second later."""
    async with replica(system) as first, replica(system) as second:
        assert first.loop
        assert second.loop
        slow = first.loop._reactions = Slow(Store(first.db))
        opening = asyncio.create_task(
            first.loop.settle([record(system, 0, case_opened(time="2026-04-01 09:00"))])
        )
        await slow.has_read.wait()
        system.clock.advance(system.clock.now() + timedelta(seconds=1))
        await second.loop.settle([record(system, 1, event)])
        slow.may_go_on.set()
        await opening


async def test_a_case_that_is_opened_while_its_client_is_erased_does_not_stay(stack: Start) -> None:
    async with stack("intake") as system:
        await opened_while(system, client_erased(requested_at="2026-04-01 10:00"))
        assert await system.db("intake").get_collection("cases").count_documents({}) == 0


@pytest.mark.parametrize("allowed", [False, True])
async def test_a_case_that_is_opened_while_consent_changes_knows_it(stack: Start, allowed: bool) -> None:
    async with stack("intake") as system:
        await opened_while(system, consent_changed(purposes={"follow-up": allowed}))
        told = await system.events("case-classified")
    assert told[-1].data.consents.follow_up is allowed  # type: ignore[attr-defined]


async def test_who_must_decide_again_says_so_with_the_time_of_that(stack: Start) -> None:
    """Readers take the later word of two: it must be that of the one who committed later."""
    async with stack("intake") as system:
        began = system.clock.now()
        await opened_while(system, consent_changed(purposes={"follow-up": False}))
        told = await system.events("case-classified")
    assert told[-1].time > began
