"""What one version of the policy does otherwise than another: rows, fields, switches, and the dates that come of it.

Names of versions, notes, the lists of roles and milestones, and the order of rows (but of classes) have no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from pydantic import BaseModel

from shared.policy.counting import Period, add_period
from shared.policy.lint import placed
from shared.policy.model import CalendarRule, DutyRule, FollowUpRule, Policy, Row
from shared.policy.schedule import Due, Scheduled, calendar_due_at, duty_due, schedule
from shared.policy.workdays import WorkCalendar

Key = tuple[str, str, str]
"""Section, name, and step of a row."""
Dates = Scheduled | Due

_WITHOUT_EFFECT = {"note"}
_AHEAD = timedelta(days=14)
"""How far after the example's opening the time lies that a limit counts back from."""
_DAYS = 366


@dataclass(frozen=True)
class FieldChange:
    """A field that has another value; None where one of the two does not have it. `limit.hours` lies inside another."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Example:
    """An anchor (a duty's opening, a month's first day) and the dates that both versions give it, None for none."""

    anchor: datetime
    old: Dates | None
    new: Dates | None


@dataclass(frozen=True)
class RowChange:
    """A row that is only in one of the two, has other fields, or leads to other dates without having changed itself."""

    old: Row | None
    new: Row | None
    fields: tuple[FieldChange, ...] = ()
    example: Example | None = None


@dataclass(frozen=True)
class Difference:
    """Everything that differs in effect."""

    settings: tuple[FieldChange, ...]
    """Switches, staffing, and the order of the classes."""
    rows: tuple[RowChange, ...]

    def __bool__(self) -> bool:
        return bool(self.settings or self.rows)


def difference(
    old: Policy, new: Policy, calendars: tuple[WorkCalendar, WorkCalendar], start: datetime
) -> Difference:
    """What `new` does otherwise. Each has its calendar, since what an unknown year is is a switch.

    An example is the first anchor within a year of `start` whose dates differ.
    """
    settings = [*_fields(old.switches, new.switches, "switches."), *_staffing(old, new), *_services(old, new)]
    settings += _order(old, new)
    dates_move = any(change.field.startswith("switches.") for change in settings)
    before, after = _rows(old), _rows(new)
    rows: list[RowChange] = []
    for key in sorted({*before, *after}, key=lambda key: _position(key, before, after)):
        one, other = before.get(key), after.get(key)
        fields = tuple(_fields(one, other)) if one and other else ()
        if one and other and not fields and not dates_move:
            continue
        example = _example(
            _dates(one, calendars[0], old), _dates(other, calendars[1], new), one or other, start
        )
        if fields or example or not (one and other):
            rows.append(RowChange(one, other, fields, example))
    return Difference(tuple(settings), tuple(rows))


def _rows(policy: Policy) -> Mapping[Key, Row]:
    return {
        (str(place[0]), row.name, row.step if isinstance(row, FollowUpRule) else ""): row
        for place, row in placed(policy)
    }


def _position(key: Key, before: Mapping[Key, Row], after: Mapping[Key, Row]) -> tuple[int, int]:
    """The order of the file, what is gone where it stood."""
    order = list(after)
    if key in after:
        return order.index(key), 0
    earlier = [other for other in list(before)[: list(before).index(key)] if other in after]
    return (order.index(earlier[-1]) if earlier else -1), 1 + list(before).index(key)


# --- fields ---------------------------------------------------------------------------------------------------


def _fields(old: BaseModel, new: BaseModel, prefix: str = "") -> Iterator[FieldChange]:
    one, other = dict(_flat(old, "")), dict(_flat(new, ""))
    for field in dict.fromkeys([*one, *other]):
        if field not in _WITHOUT_EFFECT and one.get(field) != other.get(field):
            yield FieldChange(prefix + field, one.get(field), other.get(field))


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The leaves under a value by their paths; what is absent is left out."""
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    elif isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
        value = {getattr(item, "name", str(index)): item for index, item in enumerate(value)}
    if isinstance(value, Mapping):
        for name, inside in value.items():
            yield from _flat(inside, f"{path}.{name}".lstrip("."))
    elif value is not None and value != ():
        yield path, value


def _staffing(old: Policy, new: Policy) -> Iterator[FieldChange]:
    for change in _fields(old.staffing, new.staffing, "staffing."):
        if not change.field.startswith(
            ("staffing.certificates", "staffing.expert_group")
        ):  # rows of their own
            yield change


def _services(old: Policy, new: Policy) -> Iterator[FieldChange]:
    """Which services refuse at all (W23, W26, W28)."""
    one, other = old.eligibility.services, new.eligibility.services
    if one != other:
        yield FieldChange("eligibility.services", one, other)


def _order(old: Policy, new: Policy) -> Iterator[FieldChange]:
    """The first class that fits holds: there the order has an effect."""
    one, other = (tuple(row.name for row in policy.classes) for policy in (old, new))
    if one != other:
        yield FieldChange("classes", one, other)


# --- dates ----------------------------------------------------------------------------------------------------

_Compute = Callable[[datetime], Dates]


def _dates(row: Row | None, calendar: WorkCalendar, policy: Policy) -> _Compute | None:
    """How the dates of a row are computed from an anchor; None for a row without dates."""
    match row:
        case FollowUpRule():
            return lambda anchor: schedule(row, anchor, calendar, policy)
        case DutyRule():
            return lambda anchor: duty_due(row, anchor, _opening(row, anchor), calendar, policy)
        case CalendarRule():
            return lambda anchor: calendar_due_at(
                row, f"{anchor.astimezone(policy.switches.zone):%Y-%m}", calendar, policy
            )
    return None


def _opening(rule: DutyRule, anchor: datetime) -> dict[str, datetime]:
    return {rule.limit.before: anchor + _AHEAD} if rule.limit.before else {}


def _example(old: _Compute | None, new: _Compute | None, row: Row | None, start: datetime) -> Example | None:
    if old is None and new is None:
        return None
    for anchor in _anchors(row, start):
        example = Example(anchor, old(anchor) if old else None, new(anchor) if new else None)
        if _instants(example.old) != _instants(example.new):
            return example
    return None


def _instants(dates: Dates | None) -> tuple[object, ...]:
    """What an example shows of dates: a follow-up that only changes its form comes at the same time."""
    match dates:
        case Scheduled():
            return (dates.scheduled_for, dates.complete_by, dates.provisional)
        case Due():
            return (dates.at, dates.provisional)
    return ()


def _anchors(row: Row | None, start: datetime) -> Iterator[datetime]:
    if isinstance(row, CalendarRule):
        first = start.date().replace(day=1)
        months = (add_period(first, Period(months=n)) for n in range(12))
        yield from (
            datetime.combine(month, time(), start.tzinfo).astimezone(UTC)
            for month in months
            if not month.month % row.due.every_months
        )
        return
    yield from (start + timedelta(n) for n in range(_DAYS))
