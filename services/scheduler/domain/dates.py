"""The dates of the regime (F15, F44, F64 ...): when each comes next."""

from __future__ import annotations

from datetime import datetime

from services.scheduler.domain.agenda import Date, name_of
from services.scheduler.domain.planning import Regime
from shared.policy.counting import Period, add_period, local_day
from shared.policy.model import CalendarRule
from shared.policy.schedule import calendar_due_at, month_about


def next_date(rule: CalendarRule, after: datetime, regime: Regime) -> Date:
    """The first coming of a date that lies after an instant."""
    month = local_day(after, regime.policy.switches.zone).replace(day=1)
    for ahead in range(25):
        about = month_about(rule, f"{add_period(month, Period(months=ahead)):%Y-%m}")
        if about is None:
            continue
        due = calendar_due_at(rule, about, regime.calendar, regime.policy)
        if due.at > after:
            return Date(
                id=name_of("date", rule.name),
                rule=rule.name,
                clause=rule.clause,
                subject=rule.name,
                month=about,
                due_at=due.at,
                provisional=due.provisional,
                next_at=due.at,
            )
    raise ValueError(f"the date {rule.name} does not come within two years: check every_months")
