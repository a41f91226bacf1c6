"""Celery with Redis: `eta` tasks, acknowledged late, two worker processes (its default: as many as there are cores).

A task that waits for its `eta` is held by the worker, unacknowledged; a visibility timeout longer than any wait
keeps Redis from handing it out again.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import redis
from celery import Celery
from given import timers, told
from publishing import Publishing

YEAR_SECONDS = 365 * 86_400

app: Any = Celery("timers", broker=told().redis)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    broker_transport_options={"visibility_timeout": YEAR_SECONDS},
    broker_connection_retry_on_startup=True,
)


@cache
def _clients() -> tuple[Publishing, Any]:
    """Made in the worker's child: neither survives a fork."""
    return Publishing(told()), redis.Redis.from_url(told().redis)


@app.task(name="fire")  # type: ignore[untyped-decorator]
def fire(timer: str, at: str) -> None:
    publishing, store = _clients()
    if store.exists(f"fired:{timer}"):
        return
    publishing.publish(timer, at)
    store.set(f"fired:{timer}", 1)


def store() -> None:
    with app.producer_or_acquire() as producer:
        for timer, at in timers():
            fire.apply_async((timer, at.isoformat()), eta=at, producer=producer)


def work() -> None:
    app.worker_main(["worker", "--loglevel=WARNING", "--concurrency=2"])
