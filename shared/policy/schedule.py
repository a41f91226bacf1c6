"""When a follow-up, a duty or a date of the regime is due: pure functions over rules and the calendar."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import chain, count
from typing import Any, Literal

from pydantic import BaseModel

from shared.contracts.events import Form
from shared.policy.conditions import field_of
from shared.policy.counting import Period, add_period, at_ten, end_of_day, local_day
from shared.policy.model import CalendarRule, DutyRule, FollowUpRule, Policy, ServiceHours, Switches
from shared.policy.workdays import Moved, WorkCalendar

_DATE_MOVES: Mapping[str, Literal["earlier-in-month", "working-day", "any-day"]] = {
    "earlier": "earlier-in-month",
    "later": "working-day",
    "not": "any-day",
}


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A follow-up's times in UTC. `provisional`: to be computed again once an unknown year is known."""

    scheduled_for: datetime
    complete_by: datetime
    forms: tuple[Form, ...]
    provisional: bool


@dataclass(frozen=True, slots=True)
class Due:
    """A deadline in UTC, and whether it needed a day of an unknown year."""

    at: datetime
    provisional: bool


def schedule(rule: FollowUpRule, anchor: datetime, calendar: WorkCalendar, policy: Policy) -> Scheduled:
    """When the follow-up that `rule` asks for is conducted, and by when it must be complete (F36-F42, A32).

    The day of `anchor` does not count. One that cannot be put on a working day inside its limit stays on the
    unmoved day, by questionnaire alone: no staff are there to call.
    """
    switches = policy.switches
    first = local_day(anchor, switches.zone)
    unmoved = later_by(first, rule.after, switches)
    forms = rule.forms
    if rule.within is not None:
        last = later_by(first, rule.within, switches)
        moved = _inside_limit(unmoved, first, last, calendar, switches)
        if not calendar.is_working(moved.day):
            forms = ("questionnaire",)
    else:
        moved = _on_a_working_day(rule, unmoved, first, calendar, switches)
        last = later_by(moved.day, rule.complete_after or Period(), switches)
    times = (at_ten(moved.day, switches.hour, switches.zone), end_of_day(last, switches.zone))
    return Scheduled(*times, forms, moved.provisional)


def later_by(day: date, period: Period, switches: Switches) -> date:
    """The day a period after another. The first day does not count, unless the switch says so (collision 7)."""
    moved = add_period(day, period, switches.month_end)
    return moved - timedelta(1) if switches.first_day_counts and moved > day else moved


def _inside_limit(
    unmoved: date, first: date, last: date, calendar: WorkCalendar, switches: Switches
) -> Moved:
    """Later but not after the limit; else earlier but after the anchor's day; else unmoved (F38, F42)."""
    if switches.within_on_days_off == "not":
        return Moved(unmoved, not calendar.known(unmoved))
    later = (unmoved + timedelta(n) for n in range((last - unmoved).days + 1))
    earlier = (unmoved - timedelta(n) for n in range(1, (unmoved - first).days))
    return calendar.first_working(chain(later, earlier), otherwise=unmoved)


def _on_a_working_day(
    rule: FollowUpRule, unmoved: date, first: date, calendar: WorkCalendar, switches: Switches
) -> Moved:
    """Moved on to the next working day, or as the switch says (collision 7)."""
    if rule.move == "any-day" or switches.follow_ups_on_days_off == "not":
        return Moved(unmoved, False)
    if switches.follow_ups_on_days_off == "later":
        return calendar.next_working_day(unmoved)
    earlier = (unmoved - timedelta(n) for n in range((unmoved - first).days))
    later = (unmoved + timedelta(n) for n in count())
    return calendar.first_working(chain(earlier, later), otherwise=unmoved)


def work_begins(scheduled_for: datetime, policy: Policy) -> datetime:
    """When `follow-up-due` is published, where there is that much time left."""
    return scheduled_for - policy.switches.work_begins_before


def working_limit(start: datetime, n: int, calendar: WorkCalendar, policy: Policy) -> Due:
    """The end of the n-th working day after the day of `start`; before it where n is negative."""
    first = local_day(start, policy.switches.zone)
    if policy.switches.first_day_counts and n:
        first -= timedelta(1 if n > 0 else -1)
    moved = calendar.add_working_days(first, n)
    return Due(end_of_day(moved.day, policy.switches.zone), moved.provisional)


def duty_due(
    rule: DutyRule,
    opened_at: datetime,
    event_data: Mapping[str, Any] | BaseModel,
    calendar: WorkCalendar,
    policy: Policy,
) -> Due:
    """By when a duty opened by that event must be fulfilled. Hours run at once; days end at 23:59:59.

    A limit `before` a time may lie before `opened_at`: then the duty is late from the start. Raises ValueError
    where the event lacks the field that the limit counts back from.
    """
    return due_from(rule, limit_start(rule, opened_at, event_data), calendar, policy)


def limit_start(rule: DutyRule, opened_at: datetime, event_data: Mapping[str, Any] | BaseModel) -> datetime:
    """The instant from which a duty's limit counts: its opening, or the time in the event's field `before`."""
    before = rule.limit.before
    return opened_at if before is None else _time_in(event_data, before, rule)


def due_from(rule: DutyRule, start: datetime, calendar: WorkCalendar, policy: Policy) -> Due:
    """By when a duty must be fulfilled whose limit counts from (or back from) an instant."""
    limit = rule.limit
    sign = 1 if limit.before is None else -1
    if limit.working_days is not None:
        return working_limit(start, sign * limit.working_days, calendar, policy)
    if limit.hours is not None:
        span = timedelta(hours=limit.hours)
        open_hours = policy.switches.service_hours
        if limit.service_hours and open_hours and policy.switches.hours_run == "in-service-hours":
            return in_service_hours(start, span, open_hours, calendar, policy.switches.zone)
        if policy.switches.hours_on_days_off == "rest" and limit.before is None:
            return _after_working_hours(start.astimezone(UTC), span, calendar, policy)
        return Due(start.astimezone(UTC) + sign * span, False)
    zone = policy.switches.zone
    first = local_day(start, zone)
    if limit.before is not None:
        return Due(end_of_day(first - timedelta(limit.days or 0), zone), False)
    last = later_by(first, Period(limit.months or 0, limit.days or 0), policy.switches)
    return Due(end_of_day(last, zone), False)


def _after_working_hours(start: datetime, hours: timedelta, calendar: WorkCalendar, policy: Policy) -> Due:
    """The end of so many hours of which those on days off do not count. A working day has 24 of them."""
    zone, provisional = policy.switches.zone, False
    while True:
        day = local_day(start, zone)
        midnight = datetime.combine(day + timedelta(1), time(), zone).astimezone(UTC)
        provisional = provisional or not calendar.known(day)
        if calendar.is_working(day):
            if start + hours <= midnight:
                return Due(start + hours, provisional)
            hours -= midnight - start
        start = midnight


def in_service_hours(
    start: datetime, span: timedelta, hours: ServiceHours, calendar: WorkCalendar, zone: tzinfo
) -> Due:
    """When so much time has run in which somebody was there to answer. What is left at closing time runs on from the
    next opening; a span that ends with closing time ends there."""
    left, provisional = span, False
    for day in (local_day(start, zone) + timedelta(n) for n in count()):
        if hours.days == "working-days":
            provisional = provisional or not calendar.known(day)
            if not calendar.is_working(day):
                continue
        opens, closes = at_ten(day, hours.opens, zone), at_ten(day, hours.closes, zone)
        begins = max(opens, start.astimezone(UTC))
        if begins + left <= closes:
            return Due(begins + left, provisional)
        left -= max(closes - begins, timedelta())
    raise AssertionError("unreachable: there is always another day")


def within_hours(instant: datetime, hours: ServiceHours, calendar: WorkCalendar, zone: tzinfo) -> datetime:
    """The instant itself where it lies within the hours, closing time included, else the next opening."""
    return in_service_hours(instant, timedelta(0), hours, calendar, zone).at


def _time_in(event_data: Mapping[str, Any] | BaseModel, field: str, rule: DutyRule) -> datetime:
    value = field_of(event_data, field)
    instant = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(instant, datetime):
        raise ValueError(f"{rule.name}: its limit counts back from {field}, which the event does not carry")
    return instant


def calendar_due(rule: CalendarRule, month: str, calendar: WorkCalendar, policy: Policy) -> Moved:
    """The day on which the work about `month` (`2026-03`) is due.

    "By the 5th" moves earlier to a working day, but never out of its month: then it moves on (collision 7). The row
    may say otherwise for itself, the switch for all.
    """
    due_month = add_period(date.fromisoformat(f"{month}-01"), Period(months=rule.due.month_offset))
    day = due_month.replace(day=rule.due.day_of_month)
    move = move_of(rule, policy.switches)
    if move == "any-day":
        return Moved(day, False)
    if move == "working-day":
        return calendar.next_working_day(day)
    earlier = (day - timedelta(n) for n in range(day.day))
    later = (day + timedelta(n) for n in count(1))
    return calendar.first_working(chain(earlier, later), otherwise=day)


def move_of(rule: CalendarRule, switches: Switches) -> Literal["earlier-in-month", "working-day", "any-day"]:
    """Where a date goes that falls on a day off: as its row says, else as the switch does."""
    return rule.move or _DATE_MOVES[switches.dates_on_days_off]


def calendar_due_at(rule: CalendarRule, month: str, calendar: WorkCalendar, policy: Policy) -> Due:
    """`calendar_due` as an instant: at the regime's hour of that day."""
    moved = calendar_due(rule, month, calendar, policy)
    return Due(at_ten(moved.day, policy.switches.hour, policy.switches.zone), moved.provisional)


def month_about(rule: CalendarRule, month: str) -> str | None:
    """Which month's work is due in `month`; None where the rule rests in it (quarterly, half-yearly, yearly)."""
    about = add_period(date.fromisoformat(f"{month}-01"), Period(months=-rule.due.month_offset))
    return f"{about:%Y-%m}" if f"{about:%m}" in months_of(rule) else None


def months_of(rule: CalendarRule) -> tuple[str, ...]:
    """The months of a year, `03`, about which the rule asks: the last of each quarter, half-year or year."""
    return tuple(f"{month:02}" for month in range(rule.due.every_months, 13, rule.due.every_months))


def ahead_at(rule: CalendarRule, due_at: datetime, policy: Policy) -> datetime | None:
    """When the role is reminded of a date: days before, at the regime's hour; None where the rule asks for none."""
    if rule.ahead is None:
        return None
    switches = policy.switches
    before = Period(-rule.ahead.months, -rule.ahead.days)
    return at_ten(add_period(local_day(due_at, switches.zone), before), switches.hour, switches.zone)
