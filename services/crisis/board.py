"""The incidents in memory, and how they agree with what lies in the database.

A page waits for no database: what changes is handed to the keeper, which writes it down as soon as it can; what other
replicas wrote comes back through `load` and `sync` and is merged.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime

from pymongo.errors import PyMongoError

from services.crisis import domain
from services.crisis.chains import Chains
from services.crisis.domain import Flag, Incident, NotPossible
from services.crisis.keeper import SERVICE, Keeper
from services.crisis.known_flags import KnownFlags
from services.crisis.store import CLAIM, Store
from shared.clock import Clock
from shared.messaging.progress import Progress
from shared.observability import metrics

SYNC_SECONDS = 10.0
"""How often what other replicas wrote is read."""
KEEP_ENDED = 1_000
"""So many incidents that are over stay in memory, the latest."""
ERASED_DIGEST = domain.NOBODY["digest"]
"""Of a flag whose client was erased: what it said is not known any more."""


@dataclass
class Watch:
    """One incident in memory and who works on it."""

    incident: Incident
    ours: bool = False
    """Its flag arrived here: the first page goes without a claim."""
    arrived: float | None = None
    """When its first flag arrived here, by the monotonic clock."""
    worker: asyncio.Task[None] | None = None
    at_work_since: float = 0.0
    """When the worker began with what it is at, by the monotonic clock."""
    held_until: datetime | None = None
    """Another replica is at it, or we have just failed at it."""
    planned: tuple[Incident, datetime | None] | None = None
    """What its next step was computed from, and when that is: hundreds of incidents are looked at in each tick."""
    accepted: asyncio.Event = field(default_factory=asyncio.Event)
    """A provider has accepted a page for it."""


class Unavailable(Exception):
    """The incident is not in memory and the database does not answer."""


class Board:
    """All open incidents, those lately ended, and the flags that are known. `erased` is set when the last incident of
    an erased client has ended."""

    def __init__(
        self,
        store: Store,
        keeper: Keeper,
        chains: Chains,
        clock: Clock,
        progress: Progress,
        erased: asyncio.Event,
    ) -> None:
        self.watches: dict[str, Watch] = {}
        self.chains = chains
        self.wake = asyncio.Event()
        """Set when the next step of an incident may have changed."""
        self.stirred = asyncio.Event()
        """Set whenever an incident may have changed, for whoever shows them."""
        self._store = store
        self._keeper = keeper
        self._clock = clock
        self._progress = progress
        self._erased = erased
        self._flags = KnownFlags()
        self._stored: dict[str, asyncio.Future[None]] = {}
        self._ended: dict[str, Incident] = {}
        self._aliases: dict[str, str] = {}

    # --- flags ------------------------------------------------------------------------------------------------

    def known(self, flag: Flag) -> tuple[str, asyncio.Future[None] | None] | None:
        """The incident of a flag that came before, and what is done once that is written down, if it is not yet."""
        known = self._flags.get(flag.unique)
        return (known.incident_id, self._stored.get(flag.unique)) if known else None

    def is_reused(self, flag: Flag) -> bool:
        """Whether a flag of the same source and id said something else before."""
        known = self._flags.get(flag.unique)
        return known is not None and known.digest not in (flag.digest, ERASED_DIGEST)

    def take(self, flag: Flag) -> tuple[Watch, asyncio.Future[None]]:
        """Put a new flag to the incident that it joins, or open one; done once it is written down."""
        watch = next((w for w in self.watches.values() if domain.joins(w.incident, flag)), None)
        if watch is None:
            watch = Watch(domain.open_incident(flag), ours=True, arrived=time.monotonic())
            self.watches[watch.incident.id] = watch
        else:
            watch.incident = domain.join(watch.incident, flag)
        self._remember(flag, watch.incident.id)
        stored = self._stored[flag.unique] = asyncio.get_running_loop().create_future()
        return watch, stored

    def forget_old_flags(self) -> None:
        """Let go of the flags that the bus cannot bring again."""
        self._flags.forget(self._clock.now())

    def _remember(self, flag: Flag, incident_id: str) -> None:
        self._flags.remember(flag.unique, flag.digest, incident_id, flag.received_at)

    # --- incidents --------------------------------------------------------------------------------------------

    def find(self, incident_id: str) -> Watch | None:
        """An incident in memory, by its id or one under which it was opened."""
        return self.watches.get(self._aliases.get(incident_id, incident_id))

    async def find_or_read(self, incident_id: str) -> Watch | None:
        """An incident in memory or in the database. Raises Unavailable."""
        watch = self.find(incident_id)
        if watch is not None:
            return watch
        try:
            async with asyncio.timeout(3):
                found = await self._store.get(incident_id)
        except (PyMongoError, TimeoutError):
            found = self._ended.get(incident_id)
            if found is None:
                raise Unavailable from None
        return self.find(found.id) or Watch(found) if found else None

    def latest(self, incident_id: str) -> Incident | None:
        """An incident by its own id as it stands in memory, open or lately ended."""
        return self.snapshot(incident_id) or self._ended.get(incident_id)

    def snapshot(self, incident_id: str) -> Incident | None:
        """An incident by its own id as it stands in memory, unless it has ended."""
        watch = self.watches.get(incident_id)
        return watch.incident if watch else None

    @property
    def unreadable(self) -> frozenset[str]:
        """Stored incidents that cannot be read, and hence are in no memory."""
        return frozenset(self._store.unreadable)

    def check_alone(self, reopened: Incident) -> None:
        """A client has one open incident. Raises NotPossible where there is another."""
        for watch in self.watches.values():
            other = watch.incident
            if (
                other.sole
                and reopened.sole
                and other.client_id == reopened.client_id
                and other.id != reopened.id
            ):
                raise NotPossible("another incident of this client is open: go on with that one")

    def put(self, watch: Watch, incident: Incident) -> None:
        """Have the incident go on as this one; one that was over stands on the board again."""
        if incident is watch.incident:
            return
        ended = self._ended.pop(incident.id, None)
        watch.incident = domain.extend(incident, ended.timeline) if ended else incident
        self.watches.setdefault(incident.id, watch)
        self.changed(watch)

    def changed(self, watch: Watch) -> None:
        """Have it written down and shown, as part of another incident where it has become one."""
        current = self.find(watch.incident.id)
        if current is not None and current is not watch:  # it was merged into another's while we worked on it
            current.incident = domain.extend(current.incident, watch.incident.timeline)
        self._keeper.mark(watch.incident.id)
        self.wake.set()
        self._show_how_many()

    def _show_how_many(self) -> None:
        count = sum(1 for watch in self.watches.values() if watch.incident.open and watch.incident.crisis)
        metrics.INCIDENTS_OPEN.set(count)

    # --- what is written down ---------------------------------------------------------------------------------

    def is_written(self, incident_id: str) -> bool:
        """Whether the database holds an incident as it stands in memory."""
        return not self._keeper.is_dirty(self._aliases.get(incident_id, incident_id))

    async def written_down(self, incident_id: str, seconds: float) -> bool:
        """Wait so many seconds for the keeper. False: it is in memory only, and will be written later."""
        until = time.monotonic() + seconds
        while self._keeper.is_dirty(incident_id):
            if time.monotonic() > until:
                return False
            await asyncio.sleep(0.01)
        return not self._keeper.failing

    async def load(self) -> None:
        """Take over what lies in the database; what was missed while nobody ran is done at once."""
        self._flags.load(await self._store.known_flags(self._clock.now()))
        await self._merge_stored(first=True)
        self._keeper.prepared.set()

    async def sync(self) -> None:
        """Read what other replicas (or the reaction loop) wrote, and merge it."""
        with self._progress.busy(SERVICE):
            await self._merge_stored(first=False)

    async def sync_for_ever(self) -> None:
        """`sync` and `forget_erased` every few seconds of the wall clock."""
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            await self.sync()
            await self.forget_erased()

    async def _merge_stored(self, first: bool) -> None:
        now = self._clock.now()
        found = await self._store.open_incidents()
        known = {stored.id for stored in found}
        # What another replica ended is open in memory only: a new flag would join it, and A30 would start it again.
        left = [key for key, watch in self.watches.items() if watch.incident.open and key not in known]
        found += await self._store.incidents(left)
        for stored in found:
            watch = self.find(stored.id)
            if watch is not None:
                watch.incident = domain.extend(watch.incident, stored.timeline)
                self.drop_if_over(watch)
                continue
            if stored.id in self._ended:  # read before the end of it was written
                stored = domain.extend(self._ended[stored.id], stored.timeline)
            if domain.settled(stored, self.chains.of(stored)):
                continue
            watch = self.watches[stored.id] = Watch(stored)
            for flag in stored.flags:
                self._remember(flag, stored.id)
            if any(line.kind == "paged" for line in stored.timeline):
                watch.accepted.set()
            elif stored.run_at and not first and stored.deadline is None:
                # Another replica has just opened it and is sending its first page.
                watch.held_until = stored.run_at + CLAIM if stored.run_at + CLAIM > now else None
        self._show_how_many()
        self.wake.set()

    async def forget_erased(self) -> None:
        """Take those whose client was erased, here or at another replica, out of what has ended."""
        for key in await self._store.erased_of(list(self._ended)):
            if self._ended.pop(key, None) is not None:  # another may have asked at the same time
                self.stirred.set()

    def written(self, incident: Incident, merged: Incident) -> None:
        """What was in memory is now stored, perhaps as part of another replica's incident."""
        for flag in incident.flags:
            self._remember(flag, merged.id)
            waiting = self._stored.pop(flag.unique, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        if merged.client_id == domain.ERASED:
            self._erased.set()
        watch = self.watches.get(incident.id)
        if watch is None:
            return
        # What came in while it was being written is kept on top; what the keeper has pruned stays away.
        written = {line.id for line in incident.timeline}
        newer = [line for line in watch.incident.timeline if line.id not in written]
        watch.incident = domain.extend(merged, newer)
        if merged.id != incident.id:
            self._rename(incident.id, merged.id, watch)
        self.drop_if_over(watch)
        self.wake.set()

    def _rename(self, old: str, new: str, watch: Watch) -> None:
        del self.watches[old]
        self._aliases[old] = new
        was_dirty = self._keeper.is_dirty(old)
        self._keeper.unmark(old)
        other = self.watches.get(new)
        if other is None:
            self.watches[new] = watch
        else:
            other.incident = domain.merge(other.incident, watch.incident)
        if was_dirty or other is not None:
            self._keeper.mark(new)

    def drop_if_over(self, watch: Watch) -> None:
        """Take the incident off the board where nothing is left to do about it."""
        key = watch.incident.id
        if (
            watch.worker
            or self._keeper.is_dirty(key)
            or not domain.settled(watch.incident, self.chains.of(watch.incident))
        ):
            return
        if self.watches.get(key) is watch:
            del self.watches[key]
            # The database knows the aliases as well, of what it keeps.
            self._aliases = {old: new for old, new in self._aliases.items() if new != key}
            self._ended[key] = watch.incident
            if len(self._ended) > KEEP_ENDED:
                del self._ended[next(iter(self._ended))]
        self._show_how_many()
