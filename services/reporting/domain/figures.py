"""The figures of a month, as they are stored, served as JSON and shown in the report.

A share is `None` where nothing could be counted: neither 0 nor 100 % would be true.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.contracts.sampling import Finding, SampleKind

Group = Literal["closed", "in-counselling", "key-attention", "dropped", "crisis-aftercare"]


class Shown(BaseModel):
    """A frozen part of the figures."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Rate(Shown):
    """A share, with what it was counted from."""

    reached: int
    of: int
    value: float | None
    """`reached / of`, between 0 and 1; null where `of` is 0."""


class ClassFigures(Shown):
    """The follow-ups of one class that are scheduled in the month."""

    group: Group
    clause: str
    """The clause that sets the target, or where none does, the one that asks for the follow-up."""
    target: float | None
    planned: int
    """All that stand: due and open ones."""
    open: int
    """Not recorded, and still within their time: not counted as due yet."""
    due: int
    """Recorded in any way, or their time has run out."""
    completed: int
    completed_late: int
    """Of the completed ones, those conducted after their time had run out."""
    refused: int
    unreachable: int
    stopped_for_crisis: int
    missed: int
    """Not attempted: no record, and the time has run out."""
    superseded: int
    cancelled: int
    rate: Rate
    """Completed, of those due."""
    rate_less_refusals: Rate
    """Completed, of those due less refusals: nobody may be forced (F10)."""
    held_by: Literal["due", "due-less-refusals"] = "due"
    """Which of the two rates is held against the target (the policy's switch `coverage_of`)."""
    met: bool | None
    """Whether that rate reaches the target; null without data or target."""

    @property
    def held(self) -> Rate:
        """The rate that is held against the target."""
        return self.rate if self.held_by == "due" else self.rate_less_refusals


class Satisfaction(Shown):
    """Satisfaction with follow-ups, out of 5 (F74)."""

    clause: str
    target: float
    mean: float | None
    answers: int
    scores: dict[str, int]
    """How often each score from 1 to 5 was given."""
    met: bool | None


class DutyFigures(Shown):
    """The duties of one rule that are due in the month."""

    rule: str
    clause: str
    opened: int
    """All of them but the cancelled ones."""
    fulfilled: int
    late: int
    """Those that ran late, whether or not they were fulfilled afterwards."""
    open: int
    """Not fulfilled and not late."""
    cancelled: int
    in_time: Rate
    """Fulfilled in time, of those fulfilled or late."""


class EscalationFigures(Shown):
    """Escalations of one rule in the month."""

    rule: str
    clause: str
    notified: int
    paged: int


class Timing(Shown):
    """How long something took after the flag, in seconds."""

    incidents: int
    median: float | None
    longest: float | None


class IncidentFigures(Shown):
    """Incidents opened in the month; drills are not on the bus."""

    opened: int
    resolved: int
    first_page: Timing
    acknowledged: Timing
    intervening: Timing
    head_told_in_time: Rate
    """Head of the psychological department told within the limit (F59)."""
    intervention_in_time: Rate
    """Intervention begun, or the incident resolved, within the limit (A30)."""
    assessed: Rate | None = None
    """Incidents that were assessed in all three steps (A29). None, as below, in reports of before it was counted."""
    answered: Rate | None = None
    """Referrals to hospitals and agencies that were answered (A31)."""


class SampleFigures(Shown):
    """What was drawn in the month of the records or recordings of the month before, and what the checks found."""

    kind: SampleKind
    clause: str
    of_month: str
    """The month of whose records it was drawn."""
    share: float
    """How much the policy has drawn."""
    drawn: int
    checked: int
    findings: dict[Finding, Rate]
    """Found good, of those for which the check says it."""


class SeatFigures(Shown):
    """One thing for which somebody sits in the expert group (W6)."""

    name: str
    clause: str
    needed: int
    filled: int
    met: bool


class StaffFigures(Shown):
    """Staff as they were known at the end of the month."""

    qualified: Rate
    """Counsellors with a certificate that the policy accepts (A3)."""
    experienced: Rate | None = None
    """Counsellors who know what it is to start or to change a post (W9); of none where it was told of nobody. None in
    reports of before it was counted."""
    expert_group: tuple[SeatFigures, ...]


class RatedStaff(Shown):
    """A member of staff with what clients gave for the calls that they conducted in a year."""

    staff_id: str
    mean: float
    ratings: int


class Reward(Shown):
    """F76: the best by satisfaction in a year."""

    year: str
    ranked: int
    """How many were rated often enough."""
    from_ratings: int
    staff: tuple[RatedStaff, ...]


class BudgetFigures(Shown):
    """The year's budget for follow-ups, as far as it has been told (F66, F67). Amounts are fen."""

    year: str
    clause: str
    served: int
    """Cases with a session in the year so far."""
    allowed: int
    """The policy's amount for each of them."""
    spent: dict[str, int]
    """By purpose."""
    total: int
    met: bool | None
    """Whether no more was spent than allowed; null where nobody was served."""
    as_meant: bool | None
    """Whether all of it was spent on what the budget is for (F67); null where nothing was spent."""


class CaseFigures(Shown):
    """Cases opened, closed and dropped in the month."""

    opened: int
    closed: int
    dropped: int
    followed_up: int
    """Cases with at least one completed follow-up that was scheduled in the month."""


class Indicator(Shown):
    """A figure that the regime sets a target for."""

    name: str
    clause: str
    value: float | None
    """Null where nothing was counted, or where no event tells it."""
    counted: int
    target: float
    unit: Literal["share", "points", "yuan"]
    sense: Literal["at-least", "at-most"]
    met: bool | None


class TrendMonth(Shown):
    """An earlier month as it stands now, late events included."""

    month: str
    rates: dict[Group, float | None]
    satisfaction: float | None


class Figures(Shown):
    """Everything that is reported about one month."""

    month: str
    as_of: datetime
    """The instant these figures describe: what happened or was told later is not in them."""
    policy_version: str
    classes: tuple[ClassFigures, ...]
    satisfaction: Satisfaction
    flags: dict[str, int]
    """Flags of the month's records, by code (F57)."""
    dropped_reasons: dict[str, int]
    """Why clients stopped, by code (F43); `not-recorded` for completed follow-ups that did not learn it."""
    record_in_time: Rate
    """Records written within the limit of F60 after the follow-up was conducted."""
    duties: tuple[DutyFigures, ...]
    escalations: tuple[EscalationFigures, ...]
    incidents: IncidentFigures
    cases: CaseFigures
    indicators: tuple[Indicator, ...]
    samples: tuple[SampleFigures, ...] = ()
    """F71, F72; empty in a report from before they were counted."""
    staff: StaffFigures | None = None
    """Null where nobody is known."""
    reward: Reward | None = None
    """In the report of December."""
    budget: BudgetFigures | None = None
    """Of the month's year; null where finance has told nothing of it."""
    trend: tuple[TrendMonth, ...]
    """Up to six months, this one last."""
