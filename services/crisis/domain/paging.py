"""What became of a page, as a line of the timeline."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from services.crisis.domain.chain import Page
from services.crisis.domain.fold import extend, next_line
from services.crisis.domain.incident import Contact, Incident, Kind, Moment

Doubt = Literal[
    "sent-before",  # a replica had begun to send it and has not said how that ended
    "no-answer",  # a provider did not answer the attempt before, and may have taken it
    "unclaimed",  # the database was away: other replicas could not be asked, and sent it as well
]
"""Why a page may have come twice."""


def sent(
    incident: Incident,
    page: Page,
    now: datetime,
    channel: str,
    reached: int,
    contacts: tuple[Contact, ...] = (),
) -> Incident:
    """The page went out and a provider accepted it for `reached` people: the `contacts`, where they are known."""
    line = _page_line(incident, page, "paged", now)
    update = {"channel": channel, "reached": reached, "contacts": contacts}
    return extend(incident, [line.model_copy(update=update)])


def failed(incident: Incident, page: Page, now: datetime, reason: str) -> Incident:
    """The page reached nobody; `reason` is a code."""
    line = _page_line(incident, page, "page-failed", now)
    note = line.note or reason
    return extend(incident, [line.model_copy(update={"note": note, "channel": reason})])


def repeated(incident: Incident, page: Page, now: datetime, by: str, why: Doubt) -> Incident:
    """Somebody may have got this page before: the line that explains it, one for each replica `by` name."""
    line = _page_line(incident, page, "repeated", now)
    return extend(incident, [line.model_copy(update={"id": f"{line.id} {by}", "note": why})])


def escalate(incident: Incident, page: Page, now: datetime) -> Incident:
    """The chain goes on to a further step."""
    if page.index < 0 or page.opens or page.stage:
        return incident
    return extend(incident, [_page_line(incident, page, "escalated", now)])


def _page_line(incident: Incident, page: Page, kind: Kind, now: datetime) -> Moment:
    note = page.key if page.key.startswith("worse ") else None
    return next_line(
        incident, f"{kind} {page.key}", kind, now, run=page.run, round=page.round, index=page.index,
        step=page.step, role=page.roles[0], note=note, stage=page.stage,
    )  # fmt: skip
