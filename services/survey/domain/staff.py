"""Who may conduct follow-ups (F28, F29, F32)."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Literal

from shared.contracts.envelope import Event
from shared.contracts.events import StaffUpdated
from shared.contracts.types import COMPANY_ZONE
from shared.contracts.types import staff_id as staff_id
from shared.mongo.documents import Document
from shared.policy.model import Staffing

from .clients import Rank

Objection = Literal["certificate", "experience", "exam"]


class StaffMember(Document):
    """A follow-up person as last reported."""

    collection: ClassVar[str] = "staff"

    rank: Rank
    roles: tuple[str, ...]
    certificate: str
    experience_months: int
    exam_passed_year: int | None = None
    training: int
    available: bool


def updated(known: StaffMember | None, event: Event, data: StaffUpdated) -> StaffMember:
    """The latest report holds."""
    if known and event.rank < known.rank:
        return known
    reported = data.model_dump(exclude={"staff_id", "changed_at"})
    return StaffMember(id=data.staff_id, rank=event.rank, **reported)


def objections(member: StaffMember, staffing: Staffing, conducted_at: datetime) -> list[Objection]:
    """What keeps a person from conducting a follow-up at that time; empty where nothing does.

    F28: a certificate of level 3 or higher, or one of the policy's equivalents. F29: experience. F32: the exam of
    the very year, counted in the company's zone. Training (F31) is a date of the calendar and bars nobody.
    """
    found: list[Objection] = []
    if member.certificate not in {certificate.name for certificate in staffing.certificates}:
        found.append("certificate")
    if member.experience_months < staffing.experience_months:
        found.append("experience")
    year = conducted_at.astimezone(COMPANY_ZONE).year
    if staffing.exam_every_year and member.exam_passed_year != year:
        found.append("exam")
    return found
