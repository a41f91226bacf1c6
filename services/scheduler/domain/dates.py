"""The dates of the regime (F15, F44, F64 ...): when each comes next."""

from __future__ import annotations

from datetime import datetime

from services.scheduler.domain.agenda import Date, Reminder, name_of
from services.scheduler.domain.planning import Regime
from shared.policy.counting import Period, add_period, local_day
from shared.policy.model import CalendarRule
from shared.policy.schedule import Due, ahead_at, calendar_due_at, month_about, months_of


def next_date(rule: CalendarRule, after: datetime, regime: Regime, beyond: str = "") -> Date:
    """The first coming of a date that lies after an instant, and is about a later month than `beyond`."""
    month = local_day(after, regime.policy.switches.zone).replace(day=1)
    for ahead in range(25):
        about = month_about(rule, f"{add_period(month, Period(months=ahead)):%Y-%m}")
        if about is None or about <= beyond:
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


def ahead(date: Date, regime: Regime) -> Reminder | None:
    """What reminds the role of a date some days before; None where its rule asks for nothing."""
    rule = regime.date_rules_ever[date.rule]
    at = ahead_at(rule, date.due_at, regime.policy)
    if at is None:
        return None
    return Reminder(
        id=name_of("date-ahead", rule.name, date.month),
        rule=rule.name,
        clause=rule.clause,
        subject=date.month,
        what="date-ahead",
        to=f"role:{rule.role}",
        next_at=at,
        pointless_from=date.due_at,
    )


def again(date: Date, regime: Regime) -> Date | None:
    """The same coming of a date, by the calendar and the policy as they now are; None where the policy asks for it no
    more. A version applies to what is due neither by the one before nor by its own rows when it begins."""
    found: Due | None = None
    for version in regime.versions:
        rule = version.date_rules.get(date.rule)
        asks = rule is not None and date.month[5:] in months_of(rule)
        own = calendar_due_at(rule, date.month, version.calendar, version.policy) if rule and asks else None
        early = [due for due in (found, own) if due and version.before and due.at < version.begins]
        found = found if early else own
    if found is None:
        return None
    return date.model_copy(update={"due_at": found.at, "provisional": found.provisional, "next_at": found.at})
