"""The pager: incidents in memory, driven by the clock, paging before anything is stored.

Everything here goes on without database and bus. What changes is handed to the keeper, which writes it down as soon
as it can; what other replicas wrote comes back through `load` and `sync` and is merged.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from pymongo.errors import PyMongoError

from services.crisis import domain
from services.crisis.chains import Chains
from services.crisis.channels import Ending, Message
from services.crisis.dispatch import Dispatcher, Reach
from services.crisis.domain import SHORTEST_STAGE, Contact, Doubt, Flag, Incident, NotPossible, Page
from services.crisis.keeper import HEAD_START_SECONDS, SERVICE, Keeper, Letter
from services.crisis.known_flags import KnownFlags
from services.crisis.message import Composer, topic
from services.crisis.roster import Recipient
from services.crisis.store import CLAIM, Claim, Store
from shared.clock import Clock
from shared.messaging.progress import Progress
from shared.observability import metrics, tracing

log = structlog.get_logger(__name__)

ASK_AGAIN = timedelta(seconds=5)
"""So long an incident rests whose page another replica has taken."""
CLAIM_SECONDS = 1.0
"""A database that does not answer a claim in this time is not waited for: page first."""
SYNC_SECONDS = 10.0
"""How often what other replicas wrote is read."""
AFTER_A_DEFECT = timedelta(seconds=5)
KEEP_ENDED = 1_000
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
    held_until: datetime | None = None
    """Another replica is at it, or we have just failed at it."""
    planned: tuple[Incident, datetime | None] | None = None
    """What its next step was computed from, and when that is: hundreds of incidents are looked at in each tick."""
    accepted: asyncio.Event = field(default_factory=asyncio.Event)
    """A provider has accepted a page for it."""


@dataclass(frozen=True)
class Raised:
    """A flag that was taken into memory."""

    incident_id: str
    watch: Watch | None
    """None for the repetition of a flag whose incident is over."""
    stored: asyncio.Future[None] | None
    """Done once the flag is written down; None if it was before."""


class Unavailable(Exception):
    """The incident is not in memory and the database does not answer."""


class Pager:
    """Pages, and keeps all open incidents in memory."""

    def __init__(
        self,
        store: Store,
        keeper: Keeper,
        dispatcher: Dispatcher,
        composer: Composer,
        chains: Chains,
        clock: Clock,
        progress: Progress,
        erased: asyncio.Event,
    ) -> None:
        self._erased = erased
        self.board: dict[str, Watch] = {}
        self.wake = asyncio.Event()
        self.stirred = asyncio.Event()
        """Set whenever an incident may have changed, for whoever shows them."""
        self.ticks = 0
        self.running = False
        self._store = store
        self._keeper = keeper
        self._dispatcher = dispatcher
        self._composer = composer
        self.chains = chains
        self._clock = clock
        self._progress = progress
        self._name = secrets.token_hex(8)
        self._aliases: dict[str, str] = {}
        self._flags = KnownFlags()
        self._ended: dict[str, Incident] = {}
        self._stored: dict[str, asyncio.Future[None]] = {}
        self._calling_off: set[asyncio.Task[None]] = set()

    # --- flags ------------------------------------------------------------------------------------------------

    def raise_flag(self, flag: Flag, letter: Letter | None = None) -> Raised:
        """Take a flag into memory and page at once; storage follows. A known flag changes nothing."""
        known = self._flags.get(flag.unique)
        if known is not None:
            metrics.EVENTS_REPEATED.labels(SERVICE).inc()
            return Raised(known.incident_id, self.find(known.incident_id), self._stored.get(flag.unique))
        if letter is not None:
            self._keeper.enclose(flag.unique, letter)
        watch = next((w for w in self.board.values() if domain.joins(w.incident, flag)), None)
        if watch is None:
            watch = Watch(domain.open_incident(flag), ours=True, arrived=time.monotonic())
            self.board[watch.incident.id] = watch
        else:
            watch.incident = domain.join(watch.incident, flag)
        key = watch.incident.id
        self._flags.remember(flag.unique, flag.digest, key, flag.received_at)
        stored = self._stored[flag.unique] = asyncio.get_running_loop().create_future()
        self._work_on(watch)  # before anything else: nothing stands between a flag and its page
        self._changed(watch)
        metrics.EVENTS_HANDLED.labels(SERVICE, "crisis-flagged").inc()
        log.info("a flag was raised", incident=key, level=flag.level, origin=flag.origin)
        self._flags.forget(self._clock.now())
        return Raised(key, watch, stored)

    def is_reused(self, flag: Flag) -> bool:
        """Whether a flag of the same source and id said something else before."""
        known = self._flags.get(flag.unique)
        return known is not None and known.digest not in (flag.digest, ERASED_DIGEST)

    # --- what people do ---------------------------------------------------------------------------------------

    async def command(self, incident_id: str, decide: Callable[[Incident], Incident]) -> Incident | None:
        """Apply a person's decision; None if there is no such incident. Raises Unavailable, and what `decide` does."""
        watch = self.find(incident_id) or await self._from_store(incident_id)
        if watch is None:
            return None
        before = watch.incident
        after = decide(before)
        if after.open and not before.open:
            self._check_alone(after)
        if after is not before:
            watch.incident = after
            self.board.setdefault(after.id, watch)
            self._ended.pop(after.id, None)
            self._measure(before, after)
            self._changed(watch)
            self._call_off(before, after)
        return after

    def _check_alone(self, reopened: Incident) -> None:
        for watch in self.board.values():
            other = watch.incident
            if (
                other.sole
                and reopened.sole
                and other.client_id == reopened.client_id
                and other.id != reopened.id
            ):
                raise NotPossible("another incident of this client is open: go on with that one")

    def is_written(self, incident_id: str) -> bool:
        """Whether the database holds an incident as it stands in memory."""
        return not self._keeper.is_dirty(self._aliases.get(incident_id, incident_id))

    async def written_down(self, incident_id: str, seconds: float) -> bool:
        """Wait a little for the keeper. False: it is in memory only, and will be written later."""
        with_patience = time.monotonic() + seconds
        while self._keeper.is_dirty(incident_id):
            if time.monotonic() > with_patience:
                return False
            await asyncio.sleep(0.01)
        return not self._keeper.failing

    def find(self, incident_id: str) -> Watch | None:
        """An incident in memory."""
        return self.board.get(self._aliases.get(incident_id, incident_id))

    @property
    def unreadable(self) -> frozenset[str]:
        """Stored incidents that cannot be read, and hence are in no memory."""
        return frozenset(self._store.unreadable)

    def latest(self, incident_id: str) -> Incident | None:
        """An incident by its own id as it stands in memory, open or lately ended."""
        watch = self.board.get(incident_id)
        return watch.incident if watch else self._ended.get(incident_id)

    def forget(self, client_id: str) -> None:
        """The client was erased: what has ended is not shown, and not looked up, from memory any more."""
        over = [key for key, incident in self._ended.items() if incident.client_id == client_id]
        for key in over:
            del self._ended[key]
        if over:
            self.stirred.set()

    async def _from_store(self, incident_id: str) -> Watch | None:
        try:
            async with asyncio.timeout(3):
                found = await self._store.get(incident_id)
        except (PyMongoError, TimeoutError):
            ended = self._ended.get(incident_id)
            if ended is None:
                raise Unavailable from None
            found = ended
        return self.find(found.id) or Watch(found) if found else None

    def _measure(self, before: Incident, after: Incident) -> None:
        if before.acknowledged_at is None and after.acknowledged_at and after.crisis and after.opened_at:
            passed = after.acknowledged_at - after.opened_at
            metrics.FLAG_TO_ACKNOWLEDGED_SECONDS.observe(passed.total_seconds())

    def _call_off(self, before: Incident, after: Incident) -> None:
        """Tell the systems that page people themselves that they can stop; nothing waits for it."""
        over = before.open and not after.open
        if not (over or (before.awaiting and not after.awaiting)):
            return
        contacts = [contact for line in after.timeline for contact in line.contacts]
        runs = range(1, after.run + 1) if over else (before.run,)
        topics = [topic(after.id, run) for run in runs]
        self._stop(contacts, topics, "resolved" if over else "acknowledged")

    def _stop(self, contacts: Sequence[Contact], topics: list[str], how: Ending) -> None:
        if not contacts:
            return
        calling = asyncio.create_task(self._end(contacts, topics, how))
        self._calling_off.add(calling)
        calling.add_done_callback(self._calling_off.discard)

    async def _end(self, contacts: Sequence[Contact], topics: list[str], how: Ending) -> None:
        with self._progress.busy(SERVICE):
            for name in topics:
                await self._dispatcher.end(contacts, name, how, self._clock.now())

    # --- time -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Start what is due, wait for what comes next, for ever."""
        self.running = True
        try:
            while True:
                self.wake.clear()
                self.stirred.set()
                self.ticks += 1
                await self._clock.wait_until(self._start_due(), self.wake)
        finally:
            self.running = False
            await self._stop_workers()

    async def _stop_workers(self) -> None:
        # What is under way is repeated by another replica or at the next start: better twice than never.
        workers = [watch.worker for watch in self.board.values() if watch.worker is not None]
        workers += self._calling_off
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    def _start_due(self) -> datetime | None:
        now = self._clock.now()
        coming: list[datetime] = []
        for watch in list(self.board.values()):
            at = None if watch.worker else self._looked_at(watch, now)
            if at is None:
                continue
            if at <= now:
                self._work_on(watch)
            else:
                coming.append(at)
        return min(coming, default=None)

    def _looked_at(self, watch: Watch, now: datetime) -> datetime | None:
        """`due_at`; an incident for which that fails is left for a while, and holds up none of the others."""
        try:
            return self.due_at(watch)
        except Exception:
            if watch.held_until is None or watch.held_until <= now:
                log.exception("the next step of an incident cannot be told", incident=watch.incident.id)
                watch.held_until = now + AFTER_A_DEFECT
            return watch.held_until

    def due_at(self, watch: Watch) -> datetime | None:
        """When this replica does something about the incident next."""
        if watch.planned is None or watch.planned[0] is not watch.incident:
            watch.planned = (
                watch.incident,
                domain.next_at(watch.incident, self.chains.of(watch.incident)),
            )
        at = watch.planned[1]
        if at is None or watch.held_until is None:
            return at
        return max(at, watch.held_until)

    def _work_on(self, watch: Watch) -> None:
        if watch.worker is not None:
            return
        busy = self._progress.busy(SERVICE)
        busy.__enter__()
        worker = asyncio.create_task(self._work(watch), name=f"crisis page {watch.incident.id}")

        def done(task: asyncio.Task[None]) -> None:
            watch.worker = None
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("paging failed", incident=watch.incident.id, exc_info=error)
                watch.held_until = self._clock.now() + AFTER_A_DEFECT
            self.wake.set()
            busy.__exit__(None, None, None)
            self._drop_if_over(watch)

        worker.add_done_callback(done)
        watch.worker = worker

    async def _work(self, watch: Watch) -> None:
        """Do everything that is due about one incident."""
        watch.held_until = None
        while watch.held_until is None:
            now = self._clock.now()
            before = watch.incident
            elapsed = domain.elapse(before, self.chains.of(before), now)
            _count(before, elapsed)
            self._replace(watch, elapsed)
            self._call_off(before, elapsed)
            pages = domain.due(watch.incident, self.chains.of(watch.incident), now)
            if not pages:
                return
            await asyncio.gather(*(self._page(watch, page) for page in pages))

    async def _page(self, watch: Watch, page: Page) -> None:
        if watch.ours and (page.run, page.round, page.index, page.stage) == (1, 0, 0, 0):
            await self._page_at_once(watch, page)
            return
        claim = await self._claim(watch, page)
        if claim is None or await self._is_still_ours(watch, page, claim):
            began = self._clock.now()
            reach = await self._send(watch, page, began)
            doubt = _doubt(claim, reach) or ("sent-before" if self._is_taken_over(watch) else None)
            self._note(watch, page, reach, began, doubt)

    @staticmethod
    def _is_taken_over(watch: Watch) -> bool:
        """Whether another process opened the incident, and ended before it said what became of its first page."""
        lines = watch.incident.timeline
        return watch.incident.deadline is None and not any(line.kind.startswith("page") for line in lines)

    async def _page_at_once(self, watch: Watch, page: Page) -> None:
        """The first page waits for no claim: it is put down beside it, for whoever comes after us."""
        began = self._clock.now()
        claiming = asyncio.create_task(self._claim_behind(watch, page))
        try:
            reach = await self._send(watch, page, began)
            self._note(watch, page, reach, began, _doubt(await claiming, reach))
        finally:
            claiming.cancel()

    async def _claim_behind(self, watch: Watch, page: Page) -> Claim | None:
        await asyncio.sleep(HEAD_START_SECONDS)
        return await self._claim(watch, page)

    async def _send(self, watch: Watch, page: Page, now: datetime) -> Reach:
        trace = next((known.trace for known in watch.incident.flags if known.trace), None)
        with tracing.span(
            "crisis page", trace, **{"aftercare.step": page.step, "aftercare.incident": watch.incident.id}
        ):
            reach = await self._dispatch(watch, page, now)
        if reach.reached:
            self._first_accepted(watch)
        return reach

    def _note(self, watch: Watch, page: Page, reach: Reach, began: datetime, doubt: Doubt | None) -> None:
        """Put into the timeline what became of a page, and why somebody may have got it twice."""
        now = self._clock.now()
        before = watch.incident
        after = domain.escalate(before, page, began)
        if reach.reached:
            after = domain.sent(after, page, now, reach.channel, reach.reached, reach.contacts)
        else:
            after = domain.failed(after, page, now, reach.channel)
            if page.stage:  # they have the page by their first channel
                log.warning("a later stage reached nobody", incident=before.id, reason=reach.channel)
            else:
                metrics.PAGES_TO_NOBODY.inc()
                log.error("a page reached nobody", incident=before.id, step=page.step, reason=reach.channel)
        if reach.reached and (doubt or after is before):  # the latter: another replica sent it meanwhile
            doubt = doubt or "sent-before"
            after = domain.repeated(after, page, now, self._name, doubt)
            metrics.PAGES_REPEATED.labels(doubt).inc()
        if after is before:  # written down before: never send it in a circle
            raise RuntimeError(f"the page {page.key} of incident {before.id} was sent before")
        self._replace(watch, after)
        if page.index >= 0 and not (after.awaiting and after.run == page.run):
            # Taken up while it was being sent: whoever called off the others did not know of it.
            self._stop(
                reach.contacts, [topic(after.id, page.run)], "acknowledged" if after.open else "resolved"
            )

    async def _dispatch(self, watch: Watch, page: Page, now: datetime) -> Reach:
        def compose(recipient: Recipient) -> Message:
            return self._composer.compose(watch.incident, page, recipient, now)

        if page.stage:
            return await self._dispatcher.send_later(
                page.people, page.stage, compose, page.within or SHORTEST_STAGE
            )
        return await self._dispatcher.send(page.roles, compose)

    def _first_accepted(self, watch: Watch) -> None:
        if watch.arrived is not None and not watch.accepted.is_set():
            metrics.FLAG_TO_PAGE_SECONDS.observe(time.monotonic() - watch.arrived)
        if watch.incident.drill:
            metrics.DRILL_ACCEPTED_SECONDS.set(self._clock.now().timestamp())
        watch.accepted.set()

    async def _claim(self, watch: Watch, page: Page) -> Claim | None:
        """Ask for a page. None without the database: then every replica sends it, better twice than never."""
        if self._keeper.failing or not self._keeper.prepared.is_set():
            return None
        now = self._clock.now()
        try:
            async with asyncio.timeout(CLAIM_SECONDS):
                return await self._store.claim(f"{watch.incident.id} {page.key}", self._name, now)
        except Exception as error:  # whatever the database says or is: page first
            _note_defect(watch, error)
            return None

    async def _is_still_ours(self, watch: Watch, page: Page, claim: Claim) -> bool:
        """Whether the page is ours, and nobody has sent it while we asked."""
        now = self._clock.now()
        if claim.held_until is not None:
            # Asked again soon: what else is due about the incident may be ours.
            watch.held_until = min(max(claim.held_until, now + timedelta(milliseconds=1)), now + ASK_AGAIN)
            return False
        try:
            async with asyncio.timeout(CLAIM_SECONDS):
                stored = await self._store.get(watch.incident.id)
        except (
            Exception
        ) as error:  # what cannot be read, another release may have written: our claim keeps all others off
            _note_defect(watch, error)
            return True
        if stored is not None:
            self._replace(watch, domain.extend(watch.incident, stored.timeline))
        return any(
            other.key == page.key for other in domain.due(watch.incident, self.chains.of(watch.incident), now)
        )

    def _replace(self, watch: Watch, incident: Incident) -> None:
        if incident is not watch.incident:
            watch.incident = incident
            self._changed(watch)

    def _changed(self, watch: Watch) -> None:
        current = self.find(watch.incident.id)
        if current is not None and current is not watch:  # it was merged into another's while we worked on it
            current.incident = domain.extend(current.incident, watch.incident.timeline)
        self._keeper.mark(watch.incident.id)
        self.wake.set()
        self._count()

    def _count(self) -> None:
        count = sum(1 for watch in self.board.values() if watch.incident.open and watch.incident.crisis)
        metrics.INCIDENTS_OPEN.set(count)

    # --- what is written down ---------------------------------------------------------------------------------

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
        """`sync` every few seconds of the wall clock."""
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            await self.sync()

    async def _merge_stored(self, first: bool) -> None:
        now = self._clock.now()
        found = await self._store.open_incidents()
        known = {stored.id for stored in found}
        # What another replica ended is open in memory only: a new flag would join it, and A30 would start it again.
        left = [key for key, watch in self.board.items() if watch.incident.open and key not in known]
        found += await self._store.incidents(left)
        for stored in found:
            watch = self.find(stored.id)
            if watch is not None:
                watch.incident = domain.extend(watch.incident, stored.timeline)
                self._drop_if_over(watch)
                continue
            if stored.id in self._ended:  # read before the end of it was written
                stored = domain.extend(self._ended[stored.id], stored.timeline)
            if domain.settled(stored, self.chains.of(stored)):
                continue
            watch = self.board[stored.id] = Watch(stored)
            for flag in stored.flags:
                self._flags.remember(flag.unique, flag.digest, stored.id, flag.received_at)
            if any(line.kind == "paged" for line in stored.timeline):
                watch.accepted.set()
            elif stored.run_at and not first and stored.deadline is None:
                # Another replica has just opened it and is sending its first page.
                watch.held_until = stored.run_at + CLAIM if stored.run_at + CLAIM > now else None
        self._count()
        self.wake.set()

    def snapshot(self, incident_id: str) -> Incident | None:
        watch = self.board.get(incident_id)
        return watch.incident if watch else None

    def written(self, incident: Incident, merged: Incident) -> None:
        """What was in memory is now stored, perhaps as part of another replica's incident."""
        for flag in incident.flags:
            self._flags.remember(flag.unique, flag.digest, merged.id, flag.received_at)
            waiting = self._stored.pop(flag.unique, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        if merged.client_id == domain.ERASED:
            self._erased.set()
        watch = self.board.get(incident.id)
        if watch is None:
            return
        # What came in while it was being written is kept on top; what the keeper has pruned stays away.
        written = {line.id for line in incident.timeline}
        newer = [line for line in watch.incident.timeline if line.id not in written]
        watch.incident = domain.extend(merged, newer)
        if merged.id != incident.id:
            self._rename(incident.id, merged.id, watch)
        self._drop_if_over(watch)
        self.wake.set()

    def _rename(self, old: str, new: str, watch: Watch) -> None:
        del self.board[old]
        self._aliases[old] = new
        was_dirty = self._keeper.is_dirty(old)
        self._keeper.unmark(old)
        other = self.board.get(new)
        if other is None:
            self.board[new] = watch
        else:
            other.incident = domain.merge(other.incident, watch.incident)
        if was_dirty or other is not None:
            self._keeper.mark(new)

    def _drop_if_over(self, watch: Watch) -> None:
        key = watch.incident.id
        if (
            watch.worker
            or self._keeper.is_dirty(key)
            or not domain.settled(watch.incident, self.chains.of(watch.incident))
        ):
            return
        if self.board.pop(key, None) is not None:
            # The database knows the aliases as well, of what it keeps.
            self._aliases = {old: new for old, new in self._aliases.items() if new != key}
            self._ended[key] = watch.incident
            if len(self._ended) > KEEP_ENDED:
                del self._ended[next(iter(self._ended))]
        self._count()


def _note_defect(watch: Watch, error: Exception) -> None:
    if not isinstance(error, PyMongoError | TimeoutError):
        name = type(error).__name__
        log.error("the database could not be asked about a page", incident=watch.incident.id, error=name)


def _doubt(claim: Claim | None, reach: Reach) -> Doubt | None:
    """Why somebody may have got a page before, if so."""
    if claim is None:
        return "unclaimed"
    if claim.begun_before or claim.held_until:
        return "sent-before"
    return "no-answer" if reach.doubtful else None


def _count(before: Incident, after: Incident) -> None:
    """Count what became of an incident by time alone."""
    for line in after.timeline[len(before.timeline) :]:
        if line.kind == "unanswered":
            metrics.CHAINS_UNANSWERED.inc()
        elif line.kind == "lapsed":
            metrics.INTERVENTIONS_LAPSED.inc()
