"""What is drawn of last month's records and recordings to be checked (F71, F72), and what the check finds (F73)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from math import ceil
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, StrictBool

from shared.contracts import sampling
from shared.contracts.envelope import Event, derive
from shared.contracts.events import MilestoneReached
from shared.contracts.sampling import Finding, SampleKind
from shared.mongo.documents import Document
from shared.policy.versions import Policies

from .clients import Client
from .records import BY_QUESTIONNAIRE, SOURCE, Sheet

WHAT: Mapping[str, SampleKind] = {"record-sample": "record", "recording-sample": "recording"}
"""What a date of the policy's calendar asks for."""

SHARES: Mapping[SampleKind, str] = {"record": "records-drawn", "recording": "recordings-drawn"}
"""The policy's row with the share that is drawn."""

CHECKED: Mapping[SampleKind, str] = {"record": "records-checked", "recording": "recordings-checked"}
"""The milestone that says that a month's sample is checked; its subject is the month."""


class Recorded(Document):
    """As much of a record sheet as a draw needs."""

    collection: ClassVar[str] = Sheet.collection

    client_id: str
    by: str
    conducted_at: datetime
    recorded_at: datetime
    recorded: bool | None = None


class Check(BaseModel):
    """What the psychological department found. What does not apply to a call is left out."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    complete: StrictBool
    """F73: nothing is missing."""
    standard: StrictBool
    """F73: the way of speaking keeps to the communication standard."""
    accurate: StrictBool | None = None
    """A22: what is written down is what happened."""
    warning_signs: StrictBool | None = None
    """A27: the warning signs that there were have been recognised."""
    crisis_judged: StrictBool | None = None
    """A28: whether there was a crisis was judged rightly."""

    def findings(self) -> list[tuple[Finding, bool]]:
        found = {name: getattr(self, name.replace("-", "_")) for name in sampling.FINDINGS}
        return [(name, good) for name, good in found.items() if good is not None]


class Item(Document):
    """One record sheet or recording that was drawn."""

    collection: ClassVar[str] = "sample_items"

    sample: str
    kind: SampleKind
    month: str
    follow_up_id: str
    client_id: str
    check: Check | None = None
    checked_at: datetime | None = None
    checked_by: str | None = None


class Sample(Document):
    """What was drawn of a month. It is written with every check, so that the last two cannot pass each other by."""

    collection: ClassVar[str] = "samples"

    month: str
    """The month whose records these are; they are drawn in the next."""
    kind: SampleKind
    of: int
    """How many there were to draw from."""
    drawn: int
    drawn_at: datetime
    checked: int = 0
    erased: int = 0
    """Drawn, and gone with their client before they were checked."""
    done_at: datetime | None = None

    @property
    def waits_for(self) -> int:
        """How many are still to be checked."""
        return self.drawn - self.checked - self.erased


def sample_id(month: str, kind: SampleKind) -> str:
    return f"{month}:{kind}"


def rules(policies: Policies) -> dict[str, SampleKind]:
    """The dates of the policy, in any of its versions, that ask for a sample."""
    dates = (rule for policy in policies.versions for rule in policy.calendar)
    return {rule.name: WHAT[rule.what] for rule in dates if rule.what in WHAT}


def candidates(sheets: Iterable[Recorded], kind: SampleKind, clients: Mapping[str, Client]) -> list[Recorded]:
    """What may be drawn: sheets that a person wrote; recordings of calls whose client had agreed to it by then."""
    written = [sheet for sheet in sheets if sheet.by != BY_QUESTIONNAIRE]
    if kind == "record":
        return written
    return [
        sheet
        for sheet in written
        if sheet.recorded
        and (client := clients.get(sheet.client_id))
        and client.recording_allowed(sheet.conducted_at)
    ]


def draw(
    month: str, kind: SampleKind, among: Sequence[Recorded], share: float, now: datetime
) -> tuple[Sample, list[Item]]:
    """The share of them, rounded up, whose lots are the lowest: drawing twice draws the same."""
    count = ceil(Fraction(str(share)) * len(among))  # 0.1 * 70 is more than 7 to a computer
    chosen = sorted(among, key=lambda sheet: sampling.lot(month, kind, sheet.id))[:count]
    key = sample_id(month, kind)
    sample = Sample(id=key, month=month, kind=kind, of=len(among), drawn=count, drawn_at=now)
    items = [
        Item(
            id=sampling.item_id(month, kind, sheet.id),
            sample=key,
            kind=kind,
            month=month,
            follow_up_id=sheet.id,
            client_id=sheet.client_id,
        )
        for sheet in chosen
    ]
    return sample, items


def drawn(item: Item, now: datetime) -> Event:
    """Reporting counts what is drawn."""
    return _said(sampling.drawn(item.kind), item.id, "survey", now)


def found(item: Item, check: Check, by: str, now: datetime) -> list[Event]:
    """One milestone for each finding: codes, and nothing that leads to a client."""
    return [_said(sampling.found(item.kind, name, good), item.id, by, now) for name, good in check.findings()]


def done(sample: Sample, by: str, now: datetime) -> Event:
    """F71, F72: the sample is checked, which fulfils the duty."""
    return _said(CHECKED[sample.kind], sample.month, by, now)


def _said(milestone: str, subject: str, by: str, now: datetime) -> Event:
    data = MilestoneReached(milestone=milestone, subject=subject, reached_at=now, by=by)
    return derive(f"sample {milestone}", SOURCE, data, time=now, topic="milestone-reached")
