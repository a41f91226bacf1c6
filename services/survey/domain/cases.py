"""What the worklist shows of a case: kind of counselling and standing, nothing private (F47, F48)."""

from __future__ import annotations

from typing import ClassVar

from shared.contracts.events import CaseClassified
from shared.mongo.documents import Document


class Case(Document):
    """A case as last classified."""

    collection: ClassVar[str] = "cases"

    client_id: str
    revision: int
    case_class: str
    service: str | None = None
    counsellor_id: str | None = None
    sessions: int
    attention: str | None = None
    """The reason for key attention, while it is proposed or decided."""


def classified(known: Case | None, data: CaseClassified) -> Case:
    """`case-classified` carries the whole case: an older revision changes nothing."""
    if known and data.revision <= known.revision:
        return known
    attention = data.attention.reason if data.attention and data.attention.state != "lifted" else None
    return Case(
        id=data.case_id,
        client_id=data.client_id,
        revision=data.revision,
        case_class=data.case_class,
        service=data.service,
        counsellor_id=data.counsellor_id,
        sessions=len(data.session_ends),
        attention=attention,
    )
