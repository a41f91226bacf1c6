"""What the psychological department does about a sample (F71, F72, F73): reads what was drawn, and checks it."""

from __future__ import annotations

from datetime import datetime

from services.survey.conducting import Conducting, Opened
from services.survey.domain import samples, staff
from services.survey.domain.samples import Check, Item, Sample
from services.survey.ending import Committing, written
from services.survey.store import Store
from shared.clock import Clock
from shared.contracts import sampling
from shared.contracts.envelope import Event
from shared.contracts.sampling import SampleKind
from shared.mongo.client import Session
from shared.mongo.documents import Changes
from shared.mongo.journal import Outcome
from shared.web.problems import Problem


class Sampling:
    """The commands of who checks."""

    def __init__(self, store: Store, committing: Committing, conducting: Conducting, clock: Clock) -> None:
        self._store = store
        self._committing = committing
        self._conducting = conducting
        self._clock = clock

    async def read(
        self, month: str, kind: SampleKind, follow_up_id: str, subject: str
    ) -> tuple[Item, Opened]:
        """An item with the record sheet that it is about; the reading is logged (F6). Raises Problem."""
        item = await self._store.one(Item, sampling.item_id(month, kind, follow_up_id))
        if item is None:
            raise not_drawn()
        opened = await self._conducting.read_record(follow_up_id, subject, "psychology", f"sampled-{kind}")
        if opened is None:  # erased between the two readings
            raise not_drawn()
        return item, opened

    async def check(
        self, month: str, kind: SampleKind, follow_up_id: str, check: Check, subject: str
    ) -> Item:
        """Keep what was found. With the last one the sample is done. The same again changes nothing."""
        now = self._clock.now()
        by = staff.staff_id(subject)
        key = sampling.item_id(month, kind, follow_up_id)
        taken: list[Item] = []

        async def work(session: Session) -> Outcome:
            view = await self._store.sampled(session, samples.sample_id(month, kind), key)
            item, sample = view.get(Item, key), view.get(Sample, samples.sample_id(month, kind))
            if item is None or sample is None:
                raise not_drawn()
            taken[:] = [item]
            if item.check == check:
                return Outcome()
            if item.check:
                raise Problem(409, "already-checked", "this was checked with other findings")
            taken[:] = [item.model_copy(update={"check": check, "checked_at": now, "checked_by": by})]
            sample = sample.model_copy(update={"checked": sample.checked + 1})
            said = samples.found(item, check, by, now)
            if not sample.waits_for and not sample.done_at:
                sample, event = _done(sample, by, now)
                said = [*said, event]
            return written(view, Changes(puts=[*taken, sample]), f"checked {key}", said)

        await self._committing.commit(work)
        return taken[0]

    async def done(self, month: str, kind: SampleKind, subject: str) -> Sample:
        """Say that the sample is done where no check could say it: nothing was drawn, or what was left was erased."""
        now = self._clock.now()
        by = staff.staff_id(subject)
        found: list[Sample] = []

        async def work(session: Session) -> Outcome:
            view = await self._store.sampled(session, samples.sample_id(month, kind))
            sample = view.get(Sample, samples.sample_id(month, kind))
            if sample is None:
                raise Problem(404, "not-drawn", "nothing was drawn of this month yet")
            found[:] = [sample]
            if sample.done_at:
                return Outcome()
            if sample.waits_for:
                raise Problem(409, "not-checked", f"{sample.waits_for} of the sample are still to be checked")
            found[0], event = _done(sample, by, now)
            return written(view, Changes(puts=found), f"sample done {sample.id}", [event])

        await self._committing.commit(work)
        return found[0]


def _done(sample: Sample, by: str, now: datetime) -> tuple[Sample, Event]:
    return sample.model_copy(update={"done_at": now}), samples.done(sample, by, now)


def not_drawn() -> Problem:
    return Problem(404, "not-drawn", "this is not in the month's sample")
