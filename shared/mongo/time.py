"""One time for all replicas: the database's (docs/decisions/0014)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import structlog
from pymongo.errors import PyMongoError

from shared.clock import DatabaseClock
from shared.mongo.client import Database
from shared.observability import metrics

log = structlog.get_logger(__name__)

FOLLOW_SECONDS = 10.0
TOLERATED = timedelta(seconds=5)
"""How far a machine's clock may be off before that is reported: nothing depends on it but what the log says."""


async def server_time(db: Database) -> datetime:
    """The time of the database's primary, to the millisecond. Raises PyMongoError when it is away."""
    told = await db.command("hello")
    now: datetime = told["localTime"]  # answers to commands come without a zone
    return now.replace(tzinfo=UTC)


async def set_clock(clock: DatabaseClock, db: Database) -> None:
    """Set the clock by the database. Raises PyMongoError when it is away."""
    now = await server_time(db)
    clock.set(now)
    off = datetime.now(UTC) - now
    metrics.CLOCK_OFFSET_SECONDS.set(off.total_seconds())
    if abs(off) > TOLERATED:
        log.warning("this machine's clock is not the database's", seconds_ahead=round(off.total_seconds(), 3))


async def follow_server_time(clock: DatabaseClock, db: Database) -> None:
    """Set the clock again and again; while the database is away it goes on by itself."""
    while True:
        try:
            await set_clock(clock, db)
        except PyMongoError as error:
            log.warning("the clock waits for the database", error=type(error).__name__)
        await asyncio.sleep(FOLLOW_SECONDS)
