"""taskiq with Redis: its list schedule source and its stream broker; one scheduler and one worker process.

The scheduler looks every second, the shortest interval that it takes.
"""

from __future__ import annotations

import asyncio

import redis.asyncio
from given import timers, told
from publishing import AsyncPublishing
from taskiq import TaskiqScheduler
from taskiq_redis import ListRedisScheduleSource, RedisStreamBroker

_publishing = AsyncPublishing(told())
_redis = redis.asyncio.Redis.from_url(told().redis)
broker = RedisStreamBroker(told().redis)
source = ListRedisScheduleSource(told().redis)
scheduler = TaskiqScheduler(broker, [source])


@broker.task(task_name="fire")
async def fire(timer: str, at: str) -> None:
    if await _redis.exists(f"fired:{timer}"):
        return
    await _publishing.publish(timer, at)
    await _redis.set(f"fired:{timer}", 1)


async def _store() -> None:
    for timer, at in timers():
        await fire.schedule_by_time(source, at, timer, at.isoformat())


def store() -> None:
    asyncio.run(_store())
