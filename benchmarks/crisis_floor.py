"""The least that can bring a flag to a provider with these libraries: a bare consumer and a POST, and nothing else.

python -m benchmarks.crisis_floor BOOTSTRAP TOPIC GROUP URL
"""

from __future__ import annotations

import asyncio
import json
import sys

import httpx
from aiokafka import AIOKafkaConsumer

from services.crisis.flags import MAX_WAIT_MS

WORDS = "somebody needs help now, and this says nothing more than that. " * 9
"""As long as a page in two languages."""


async def main(bootstrap: str, topic: str, group: str, url: str) -> None:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=MAX_WAIT_MS,
    )
    sending: set[asyncio.Task[httpx.Response]] = set()
    await consumer.start()
    async with httpx.AsyncClient() as client:
        async for record in consumer:
            client_id = json.loads(record.value)["client_id"]
            body = {"msgtype": "text", "text": {"content": f"{client_id} {WORDS}"}}
            task = asyncio.create_task(client.post(url, json=body))
            sending.add(task)
            task.add_done_callback(sending.discard)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
