"""procrastinate on PostgreSQL: jobs with `schedule_at`, one worker process with fifty coroutines.

Its own `succeeded` is the durable note that a timer has fired.
"""

from __future__ import annotations

import asyncio
from itertools import groupby

from given import timers, told
from procrastinate import App, PsycopgConnector
from publishing import AsyncPublishing

_publishing = AsyncPublishing(told())
app = App(connector=PsycopgConnector(conninfo=told().postgres, max_size=20))


@app.task(name="fire")
async def fire(timer: str, at: str) -> None:
    await _publishing.publish(timer, at)


async def _store() -> None:
    async with app.open_async():
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()
        for at, together in groupby(timers(), key=lambda timer: timer[1]):
            jobs = [{"timer": timer, "at": at.isoformat()} for timer, _ in together]
            await fire.configure(schedule_at=at).batch_defer_async(*jobs)


async def _work() -> None:
    async with app.open_async():
        # It is told of new jobs, but not of those whose time comes: it looks for them this often.
        await app.run_worker_async(concurrency=50, fetch_job_polling_interval=0.5)


def store() -> None:
    asyncio.run(_store())


def work() -> None:
    asyncio.run(_work())
