"""The services go by the database's time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from aftercare.engines import Engines
from aftercare.stack import embedded_settings
from shared.clock import DatabaseClock
from shared.mongo.client import connect, database
from shared.mongo.time import set_clock
from shared.observability import metrics
from shared.settings import Settings

SECOND = timedelta(seconds=1)


async def test_a_clock_that_is_hours_off_is_set_by_the_database(engines: Engines, namespace: str) -> None:
    settings = Settings(**embedded_settings(engines, "tests", namespace))
    client = connect(settings)
    clock = DatabaseClock()
    clock.set(datetime.now(UTC) + timedelta(hours=10))
    try:
        await set_clock(clock, database(client, settings.database("intake")))
    finally:
        client.close()
    assert abs(clock.now() - datetime.now(UTC)) < SECOND  # here it is the same machine's
    assert abs(metrics.CLOCK_OFFSET_SECONDS._value.get()) < 1
