"""What a new version of the policy would change, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from aftercare.policy_words import in_words, name_of, span_of, switch_in_words
from shared.policy.counting import TEN, Period
from shared.policy.difference import Dates, Example, FieldChange, RowChange, difference
from shared.policy.model import Policy, Row
from shared.policy.schedule import Due, Scheduled
from shared.policy.workdays import load_calendar
from shared.web.texts import Language, text

_CLAUSES = {
    "eligibility.services": "W23, W26, W28 ",
    "staffing.experience_months": "F29 ",
    "staffing.training_hours_a_month": "F31 ",
    "staffing.exam_every_year": "F32 ",
    "staffing.rewarded_from_ratings": "F76 ",
}
"""The clauses of what stands in no row."""


def changes_in_words(old: Policy, new: Policy, language: Language) -> list[str]:
    """Every difference in effect, line by line; empty where there is none.

    Example dates are the first within a year of the new version's day, at ten, that differ.
    """
    calendars = (
        load_calendar(unknown_year=old.switches.unknown_year),
        load_calendar(unknown_year=new.switches.unknown_year),
    )
    zone = new.switches.zone
    found = difference(old, new, calendars, datetime.combine(new.effective_from, TEN, zone))
    lines: list[str] = []
    for change in found.settings:
        lines += _setting(change, new, language)
    for row in found.rows:
        lines += _row(row, old, new, language)
    return lines


def _setting(change: FieldChange, new: Policy, language: Language) -> Iterator[str]:
    clause = _CLAUSES.get(change.field, "")
    yield f"~ {clause}{change.field}: {_value(change.old, language)} → {_value(change.new, language)}"
    if change.field.startswith("switches."):
        yield "    " + switch_in_words(change.field.removeprefix("switches."), language, new)


def _row(change: RowChange, old: Policy, new: Policy, language: Language) -> Iterator[str]:
    if change.old is None and change.new is not None:
        yield "+ " + in_words(change.new, language, new)
    elif change.new is None and change.old is not None:
        yield "- " + in_words(change.old, language, old)
    elif change.new is not None:
        key = "policy.diff.changed" if change.fields else "policy.diff.led-elsewhere"
        yield "~ " + text(key, language, row=_title(change.new))
        for field in change.fields:
            yield f"    {field.field}: {_value(field.old, language)} → {_value(field.new, language)}"
    if change.example:
        yield "    " + _example(change.example, new.switches.zone, language)


def _title(row: Row) -> str:
    return f"{', '.join(row.clauses)} {name_of(row)}"


def _example(example: Example, zone: ZoneInfo, language: Language) -> str:
    local = example.anchor.astimezone(zone)
    anchor = f"{local:%Y-%m}" if local.time() == time() and local.day == 1 else f"{local:%Y-%m-%d %H:%M}"
    return text(
        "policy.diff.example",
        language,
        anchor=anchor,
        old=_dates(example.old, zone, language),
        new=_dates(example.new, zone, language),
    )


def _dates(dates: Dates | None, zone: ZoneInfo, language: Language) -> str:
    match dates:
        case Scheduled():
            said = text(
                "policy.diff.scheduled",
                language,
                scheduled=_local(dates.scheduled_for, zone),
                complete=_local(dates.complete_by, zone),
            )
        case Due():
            said = _local(dates.at, zone)
        case None:
            return text("policy.diff.nothing", language)
    return said + (text("policy.diff.provisional", language) if dates.provisional else "")


def _local(instant: datetime, zone: ZoneInfo) -> str:
    return f"{instant.astimezone(zone):%Y-%m-%d %H:%M}"


def _value(value: object, language: Language) -> str:
    match value:
        case None:
            return text("policy.diff.nothing", language)
        case bool():
            return str(value).lower()
        case Period() | timedelta():
            return span_of(value, language)
        case tuple():
            return ", ".join(map(str, value))
        case _:
            return str(value)
