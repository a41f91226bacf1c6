"""The pager: works on the incidents of the board, driven by the clock, and pages before anything is stored.

Everything here goes on without database and bus.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from pymongo.errors import PyMongoError

from services.crisis import domain
from services.crisis.board import Board, Watch
from services.crisis.channels import Ending, Message
from services.crisis.dispatch import Dispatcher, Reach
from services.crisis.domain import SHORTEST_STAGE, Contact, Doubt, Flag, Incident, Page
from services.crisis.keeper import HEAD_START_SECONDS, SERVICE, Keeper, Letter
from services.crisis.message import Composer, topic
from services.crisis.roster import Recipient
from services.crisis.store import Claim, Store
from shared.clock import Clock
from shared.messaging.progress import Progress
from shared.observability import metrics, tracing

log = structlog.get_logger(__name__)

ASK_AGAIN = timedelta(seconds=5)
"""So long an incident rests whose page another replica has taken."""
CLAIM_SECONDS = 1.0
"""A database that does not answer a claim in this time is not waited for: page first."""
AFTER_A_DEFECT = timedelta(seconds=5)
SENT_WITHIN_SECONDS = 50.0
"""A page that hangs although the dispatcher ends after `PAGE_SECONDS` has reached nobody: the chain goes on."""


@dataclass(frozen=True)
class Raised:
    """A flag that was taken into memory."""

    incident_id: str
    watch: Watch | None
    """None for the repetition of a flag whose incident is over."""
    stored: asyncio.Future[None] | None
    """Done once the flag is written down; None if it was before."""


class Pager:
    """Pages about everything that stands on the board."""

    def __init__(
        self,
        board: Board,
        store: Store,
        keeper: Keeper,
        dispatcher: Dispatcher,
        composer: Composer,
        clock: Clock,
        progress: Progress,
    ) -> None:
        self.board = board
        self.ticks = 0
        self.running = False
        self._store = store
        self._keeper = keeper
        self._dispatcher = dispatcher
        self._composer = composer
        self._chains = board.chains
        self._clock = clock
        self._progress = progress
        self._name = secrets.token_hex(8)
        self._calling_off: set[asyncio.Task[None]] = set()

    # --- flags ------------------------------------------------------------------------------------------------

    def raise_flag(self, flag: Flag, letter: Letter | None = None) -> Raised:
        """Take a flag into memory and page at once; storage follows. A known flag changes nothing."""
        known = self.board.known(flag)
        if known is not None:
            metrics.EVENTS_REPEATED.labels(SERVICE).inc()
            incident_id, stored = known
            return Raised(incident_id, self.board.find(incident_id), stored)
        if letter is not None:
            self._keeper.enclose(flag.unique, letter)
        watch, stored = self.board.take(flag)
        key = watch.incident.id
        self._work_on(watch)  # before anything else: nothing stands between a flag and its page
        self.board.changed(watch)
        metrics.EVENTS_HANDLED.labels(SERVICE, "crisis-flagged").inc()
        log.info("a flag was raised", incident=key, level=flag.level, origin=flag.origin)
        self.board.forget_old_flags()
        return Raised(key, watch, stored)

    # --- what people do ---------------------------------------------------------------------------------------

    async def command(self, incident_id: str, decide: Callable[[Incident], Incident]) -> Incident | None:
        """Apply a person's decision; None if there is no such incident. Raises Unavailable, and what `decide` does."""
        watch = await self.board.find_or_read(incident_id)
        if watch is None:
            return None
        before = watch.incident
        after = decide(before)
        if after.open and not before.open:
            self.board.check_alone(after)
        if after is not before:
            self._measure(before, after)
            self.board.put(watch, after)
            self._call_off(before, after)
        return after

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
        topics = [topic(name, run) for name in (after.id, *after.aliases) for run in runs]
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
                self.board.wake.clear()
                self.board.stirred.set()
                self.ticks += 1
                await self._clock.wait_until(self._start_due(), self.board.wake)
        finally:
            self.running = False
            await self._stop_workers()

    async def _stop_workers(self) -> None:
        # What is under way is repeated by another replica or at the next start: better twice than never.
        workers = [watch.worker for watch in self.board.watches.values() if watch.worker is not None]
        workers += self._calling_off
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    def _start_due(self) -> datetime | None:
        now = self._clock.now()
        coming: list[datetime] = []
        for watch in list(self.board.watches.values()):
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
                domain.next_at(watch.incident, self._chains.of(watch.incident)),
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
        watch.at_work_since = time.monotonic()
        worker = asyncio.create_task(self._work(watch), name=f"crisis page {watch.incident.id}")

        def done(task: asyncio.Task[None]) -> None:
            watch.worker = None
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("paging failed", incident=watch.incident.id, exc_info=error)
                watch.held_until = self._clock.now() + AFTER_A_DEFECT
            self.board.wake.set()
            busy.__exit__(None, None, None)
            self.board.drop_if_over(watch)

        worker.add_done_callback(done)
        watch.worker = worker

    async def _work(self, watch: Watch) -> None:
        """Do everything that is due about one incident."""
        watch.held_until = None
        while watch.held_until is None:
            watch.at_work_since = time.monotonic()
            now = self._clock.now()
            before = watch.incident
            elapsed = domain.elapse(before, self._chains.of(before), now)
            _count_what_passed(before, elapsed)
            self.board.put(watch, elapsed)
            self._call_off(before, elapsed)
            pages = domain.due(watch.incident, self._chains.of(watch.incident), now)
            if not pages:
                return
            await asyncio.gather(*(self._page(watch, page) for page in pages))

    async def _page(self, watch: Watch, page: Page) -> None:
        if watch.ours and (page.run, page.round, page.index, page.stage) == (1, 0, 0, 0):
            await self._page_at_once(watch, page)
            return
        claim = await self._claim(watch, page)
        if claim is None or await self._is_still_ours(watch, page, claim):
            began, was = self._clock.now(), watch.incident
            reach = await self._send(watch, page, began)
            doubt = _doubt(claim, reach) or ("sent-before" if self._is_taken_over(watch) else None)
            self._note(watch, page, reach, began, doubt)
            self._call_off_late(was, watch.incident, page, reach)

    @staticmethod
    def _is_taken_over(watch: Watch) -> bool:
        """Whether another process opened the incident, and ended before it said what became of its first page."""
        lines = watch.incident.timeline
        return watch.incident.deadline is None and not any(line.kind.startswith("page") for line in lines)

    async def _page_at_once(self, watch: Watch, page: Page) -> None:
        """The first page waits for no claim: it is put down beside it, for whoever comes after us."""
        began, was = self._clock.now(), watch.incident
        claiming = asyncio.create_task(self._claim_behind(watch, page))
        try:
            reach = await self._send(watch, page, began)
            self._note(watch, page, reach, began, _doubt(await claiming, reach))
            self._call_off_late(was, watch.incident, page, reach)
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
            try:
                async with asyncio.timeout(SENT_WITHIN_SECONDS):
                    reach = await self._dispatch(watch, page, now)
            except TimeoutError:
                log.error("a page hangs", incident=watch.incident.id, step=page.step)
                reach = Reach(0, "timeout", doubtful=True)
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
        self.board.put(watch, after)

    def _call_off_late(self, was: Incident, now: Incident, page: Page, reach: Reach) -> None:
        """Taken up, or over, while it was being sent: whoever called off the others did not know of it."""
        over = was.open and not now.open
        if over or (page.index >= 0 and not (now.awaiting and now.run == page.run)):
            self._stop(reach.contacts, [topic(was.id, was.run)], "acknowledged" if now.open else "resolved")

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
            self.board.put(watch, domain.extend(watch.incident, stored.timeline))
        return any(
            other.key == page.key
            for other in domain.due(watch.incident, self._chains.of(watch.incident), now)
        )


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


def _count_what_passed(before: Incident, after: Incident) -> None:
    """Count what became of an incident by time alone."""
    for line in after.timeline[len(before.timeline) :]:
        if line.kind == "unanswered":
            metrics.CHAINS_UNANSWERED.inc()
        elif line.kind == "lapsed":
            metrics.INTERVENTIONS_LAPSED.inc()
