"""Records that could not be taken: word of them on the bus, the payload encrypted in the service's database.

A refused field may itself be a name, so the letter on the bus holds origin, reason, field path and a hash, and no
value. `aftercare dead-letters` lists, shows and replays them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

from aiokafka import ConsumerRecord
from motor.motor_asyncio import AsyncIOMotorClientSession

from shared.contracts.envelope import Refused
from shared.contracts.topics import dead_letter_topic
from shared.contracts.types import write_time
from shared.messaging.bus import Outgoing
from shared.mongo.encryption import Vault
from shared.mongo.journal import Entry, Outcome
from shared.observability import metrics

OWNER = "dead-letters"
"""Whose data key seals the payloads: they cannot be assigned to a client, or they could be read."""


class DeadLetters:
    """Makes the letters of one service."""

    def __init__(self, service: str, vault: Vault) -> None:
        self.service = service
        self._vault = vault

    async def add(
        self,
        outcome: Outcome,
        refused: Sequence[tuple[ConsumerRecord, Refused]],
        now: datetime,
        session: AsyncIOMotorClientSession,
    ) -> None:
        """Let a transaction store the letters, publish word of them and count them; those stored before drop out."""
        found: dict[str, tuple[ConsumerRecord, Refused]] = {
            self._id(record): (record, refusal) for record, refusal in refused
        }
        if not found:
            return
        known = self._vault.db.get_collection("dead_letters").find(
            {"_id": {"$in": list(found)}}, {"_id": 1}, session=session
        )
        for stored in [stored async for stored in known]:
            del found[stored["_id"]]
        letters = [await self._letter(key, *pair, now) for key, pair in found.items()]
        if letters:
            outcome.additions["dead_letters"] = letters
            outcome.entries += [self._entry(letter) for letter in letters]
            outcome.counted.append(partial(self._count, letters))

    def _count(self, letters: Sequence[dict[str, Any]]) -> None:
        for letter in letters:
            metrics.DEAD_LETTERS.labels(self.service, letter["origin"]["topic"], letter["reason"]).inc()

    def _id(self, record: ConsumerRecord) -> str:
        origin = f"{self.service}|{record.topic}|{record.partition}|{record.offset}|{record.timestamp}"
        return hashlib.sha256(origin.encode()).hexdigest()[:32]

    async def _letter(
        self, key: str, record: ConsumerRecord, refusal: Refused, now: datetime
    ) -> dict[str, Any]:
        value = record.value or b""
        payload = {
            "key": (record.key or b"").hex(),
            "value": value.hex(),
            "headers": [[name, bytes(raw).hex()] for name, raw in record.headers],
        }
        return {
            "_id": key,
            "handler": self.service,
            "origin": {"topic": record.topic, "partition": record.partition, "offset": record.offset},
            "reason": refusal.reason,
            "field": refusal.field,
            "message": refusal.message,
            "sha256": hashlib.sha256(value).hexdigest(),
            "size": len(value),
            "at": now,
            "state": "open",
            "payload": await self._vault.seal(OWNER, json.dumps(payload)),
        }

    def _entry(self, letter: dict[str, Any]) -> Entry:
        said = {name: value for name, value in letter.items() if name not in ("payload", "state", "_id")}
        said |= {"id": letter["_id"], "at": write_time(letter["at"])}
        record = Outgoing(
            dead_letter_topic(self.service),
            letter["_id"].encode(),
            json.dumps(said).encode(),
            (("content-type", b"application/json"),),
        )
        return Entry(f"out dead-letter {letter['_id']}", [record])
