"""HTTP for the psychological department: what was drawn of a month's records and recordings, and its check."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel

from services.survey.api import OpenedRecord, opened_record
from services.survey.domain.samples import Check, Item, Sample
from services.survey.sampling import Sampling
from services.survey.store import Store
from shared.contracts.sampling import SampleKind
from shared.contracts.types import Id, Month, Timestamp
from shared.mongo.encryption import Sealed
from shared.web.auth import Principal, allowed
from shared.web.problems import Problem

Psychology = Annotated[Principal, Depends(allowed("psychology"))]
OfMonth = Annotated[Month, Path(description="The month whose records were drawn, `2026-03`.")]


class DrawnItem(BaseModel):
    """One record sheet or recording that was drawn."""

    follow_up_id: str
    check: Check | None
    checked_at: Timestamp | None
    checked_by: str | None


class DrawnSample(BaseModel):
    """What was drawn of one kind."""

    kind: SampleKind
    of: int
    """How many there were to draw from."""
    drawn: int
    drawn_at: Timestamp
    waits_for: int
    """How many are still to be checked."""
    done_at: Timestamp | None


class MonthSamples(BaseModel):
    month: str
    samples: list[DrawnSample]


class SampleItems(DrawnSample):
    month: str
    items: list[DrawnItem]


class SampledRecord(DrawnItem):
    """An item with the record sheet that it is about. A recording itself lies where calls are recorded."""

    record: OpenedRecord


def routes(store: Store, sampling: Sampling) -> APIRouter:
    """The routes under `/v1/samples`."""
    router = APIRouter(prefix="/v1/samples", tags=["samples"])

    @router.get("/{month}", summary="What was drawn of a month (F71, F72)")
    async def month_samples(month: OfMonth, _: Psychology) -> MonthSamples:
        return MonthSamples(month=month, samples=[_sample(one) for one in await store.samples(month)])

    @router.get("/{month}/{kind}", summary="The items of a sample, checked or not")
    async def items(month: OfMonth, kind: SampleKind, _: Psychology) -> SampleItems:
        found = next((one for one in await store.samples(month) if one.kind == kind), None)
        if found is None:
            raise Problem(404, "not-drawn", "nothing was drawn of this month yet")
        drawn = [_item(one) for one in await store.items(found.id)]
        return SampleItems(**_sample(found).model_dump(), month=month, items=drawn)

    @router.post(
        "/{month}/{kind}/done", summary="Nothing is left to be checked (nothing was drawn, or erased)"
    )
    async def done(month: OfMonth, kind: SampleKind, who: Psychology) -> DrawnSample:
        """The last check says it by itself. Repeating it changes nothing."""
        return _sample(await sampling.done(month, kind, who.subject))

    @router.get(
        "/{month}/{kind}/{follow_up_id}", summary="A record that was drawn; the reading is logged (F6)"
    )
    async def read(month: OfMonth, kind: SampleKind, follow_up_id: Id, who: Psychology) -> SampledRecord:
        try:
            item, opened = await sampling.read(month, kind, follow_up_id, who.subject)
        except Sealed:
            raise Problem(410, "erased", "the client was erased: nobody can read this any more") from None
        return SampledRecord(**_item(item).model_dump(), record=opened_record(opened))

    @router.put("/{month}/{kind}/{follow_up_id}/check", summary="What the check found (F73, A22, A27, A28)")
    async def check(
        month: OfMonth, kind: SampleKind, follow_up_id: Id, body: Check, who: Psychology
    ) -> DrawnItem:
        """Idempotent: the same findings again get the same answer, others 409. The last one fulfils the duty."""
        return _item(await sampling.check(month, kind, follow_up_id, body, who.subject))

    return router


def _sample(sample: Sample) -> DrawnSample:
    return DrawnSample(**sample.model_dump(include=set(DrawnSample.model_fields)), waits_for=sample.waits_for)


def _item(item: Item) -> DrawnItem:
    return DrawnItem(**item.model_dump(include=set(DrawnItem.model_fields)))
