"""The classification of a month: every case as it stood at the end of it, by the facts of that time (F15, F16).

A date of the regime asks for it; it is then taken case by case, and never changed but by erasing a client.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from services.intake.domain import ledger
from services.intake.domain.ledger import Case, Client
from shared.contracts.events import CaseClass
from shared.mongo.documents import Document
from shared.policy.counting import month_span
from shared.policy.model import Policy

RULE = "classification-5th"
"""The date of the regime at which last month's clients are classified (F15)."""


class Snapshot(Document):
    """A month that is to be classified, and how far that has come. Its id is the month."""

    collection: ClassVar[str] = "snapshots"

    as_of: datetime
    """The end of the month: what happened before it counts."""
    after: str = ""
    """Cases up to this id are done."""
    done: bool = False

    @property
    def last_instant(self) -> datetime:
        """The last one of the month: the policy of then counts."""
        return self.as_of - timedelta(milliseconds=1)


class Line(Document):
    """One case in the classification of a month."""

    collection: ClassVar[str] = "snapshot_lines"

    month: str
    case_id: str
    client_id: str
    case_class: CaseClass
    counsellor_id: str | None
    enterprise_id: str | None
    body: bytes
    """The classification, as it would have stood on the bus."""


def end_of_month(month: str) -> datetime:
    """The first instant after a month (`2026-03`), in UTC."""
    return month_span(month)[1]


def wanted(month: str) -> Snapshot:
    return Snapshot(id=month, as_of=end_of_month(month))


def line(case: Case, client: Client, snapshot: Snapshot, policy: Policy) -> Line | None:
    """The case as it stood; None where nothing had happened in it by then."""
    then = case.as_of(snapshot.as_of)
    if then is None:
        return None
    then = then.model_copy(update={"classified_at": snapshot.as_of})
    told = ledger.classified(then, ledger.standing(then, client.as_of(snapshot.as_of), policy))
    return Line(
        id=f"{snapshot.id} {case.id}",
        month=snapshot.id,
        case_id=case.id,
        client_id=case.client_id,
        case_class=told.case_class,
        counsellor_id=told.counsellor_id,
        enterprise_id=told.enterprise_id,
        body=told.to_json(),
    )


def advanced(snapshot: Snapshot, last: str | None) -> Snapshot:
    """The snapshot with the cases up to `last` in it; None: there are no more."""
    return snapshot.model_copy(update={"done": True} if last is None else {"after": last})
