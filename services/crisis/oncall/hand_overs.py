"""The note at the change of shift: what the outgoing person leaves to the next one.

Free text, and hence sealed where it lies, read by supervisors alone, each reading on the access log, and deleted
after 90 days. It goes out over no channel.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.crisis.oncall.holders import OnCall
from services.crisis.oncall.overrides import NotPossible
from services.crisis.oncall.rotation import Span
from services.crisis.oncall.shifts import holder
from services.crisis.oncall.store import HandOver, OnCallStore
from shared.clock import Clock
from shared.contracts.types import write_time
from shared.mongo.access_log import AccessLog
from shared.mongo.encryption import Sealed, Vault
from shared.web.auth import Principal

NEAR = timedelta(hours=12)
"""So far away a change of shift may be that a note is about without naming it."""
SHOWN = timedelta(days=7)
MOST = 20


@dataclass(frozen=True)
class Note:
    """A hand-over as it is read."""

    about: HandOver
    text: str | None
    """None where it was not asked for, or cannot be read by this reader, or by anybody any more."""


class HandOvers:
    """Writes and reads the notes."""

    def __init__(
        self, on_call: OnCall, store: OnCallStore, vault: Vault, access_log: AccessLog, clock: Clock
    ) -> None:
        self._on_call = on_call
        self._store = store
        self._vault = vault
        self._access_log = access_log
        self._clock = clock

    async def write(self, role: str, at: datetime | None, text: str, by: str) -> HandOver:
        """Leave a note; writing again about the same change replaces one's own. Raises NotPossible, PyMongoError."""
        now = self._clock.now()
        at = at or self._nearest(role, now)
        around = self._on_call.shifts(
            role, Span(at - timedelta(milliseconds=1), at + timedelta(milliseconds=1))
        )
        if not any(at in (shift.start, shift.end) for shift in around):
            raise NotPossible("no shift of this role begins or ends at this time: see GET /v1/on-call")
        note = HandOver(
            id=hashlib.sha256(f"{role}\n{write_time(at)}\n{by}".encode()).hexdigest()[:20],
            role=role,
            at=at,
            outgoing=holder(around, at - timedelta(milliseconds=1)),
            incoming=holder(around, at),
            written_by=by,
            written_at=now,
            sealed=await self._vault.seal(_owner(at), text),
        )
        await self._store.leave(note)
        return note

    async def latest(self, reader: Principal, opened: bool) -> list[Note]:
        """The notes of the last week and to come, newest first; `opened` for supervisors alone, each reading recorded
        before it is shown. Raises PyMongoError."""
        found = await self._store.hand_overs(self._clock.now() - SHOWN, MOST)
        if not opened or "supervisor" not in reader.roles:
            return [Note(one, None) for one in found]
        return [Note(one, await self._open(one, reader)) for one in found]

    async def _open(self, note: HandOver, reader: Principal) -> str | None:
        await self._access_log.record(
            reader.subject, reader.role, "hand-over", self._clock.now(), hand_over_id=note.id
        )
        try:
            return await self._vault.open(note.sealed)
        except Sealed:
            return None

    def _nearest(self, role: str, now: datetime) -> datetime:
        around = self._on_call.shifts(role, Span(now - NEAR, now + NEAR))
        edges = {edge for shift in around for edge in (shift.start, shift.end) if abs(edge - now) <= NEAR}
        if not edges:
            raise NotPossible("no change of shift within twelve hours: name the one that is meant with `at`")
        return min(edges, key=lambda edge: (abs(edge - now), edge))


def _owner(at: datetime) -> str:
    # Not an id of a client, which could not hold a space: no erasure destroys another's key.
    return f"hand-overs {at:%Y-%m}"
