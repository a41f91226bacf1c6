"""dramatiq with Redis: delayed messages, one worker process with eight threads (its default).

A worker takes delayed messages into its memory and, once it holds as many as it prefetches, sees no other. So it is
allowed to prefetch all of them.
"""

from __future__ import annotations

import time

import dramatiq
import dramatiq.worker
import redis
from dramatiq.brokers.redis import RedisBroker
from given import timers, told
from publishing import Publishing

_publishing = Publishing(told())
_redis = redis.Redis.from_url(told().redis)
_broker = RedisBroker(url=told().redis)  # type: ignore[no-untyped-call]
dramatiq.set_broker(_broker)


@dramatiq.actor
def fire(timer: str, at: str) -> None:
    if _redis.exists(f"fired:{timer}"):
        return
    _publishing.publish(timer, at)
    _redis.set(f"fired:{timer}", 1)


def store() -> None:
    for timer, at in timers():
        delay = max(at.timestamp() - time.time(), 0) * 1000
        fire.send_with_options(args=(timer, at.isoformat()), delay=round(delay))


def work() -> None:
    dramatiq.worker.DELAY_QUEUE_PREFETCH = 10_000_000
    dramatiq.Worker(_broker, worker_threads=8).start()
    while True:
        time.sleep(1)
