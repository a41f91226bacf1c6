"""The rows of the policy in plain words, by the texts of each language."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import singledispatch

from shared.policy.conditions import Condition
from shared.policy.counting import Period
from shared.policy.forms import AnyField, ChoiceField, CodesField, MinutesField, NumberField
from shared.policy.model import (
    Approval,
    Bound,
    CalendarRule,
    Certificate,
    ClassRule,
    CountBound,
    CrisisChain,
    DutyRule,
    Ending,
    EnterprisesGate,
    EventRule,
    FollowUpRule,
    Frequency,
    Gate,
    HealthGate,
    IndividualsGate,
    IntakeForm,
    Limit,
    Policy,
    ReminderRule,
    Row,
    Sample,
    Seat,
    ServiceHours,
    Severe,
    Target,
    Trigger,
)
from shared.policy.schedule import move_of
from shared.web.texts import Language, text

_UNITS = (
    (timedelta(days=1), "day"),
    (timedelta(hours=1), "hour"),
    (timedelta(minutes=1), "minute"),
    (timedelta(seconds=1), "second"),
)


def in_words(row: Row, language: Language, policy: Policy) -> str:
    """A row as one line: its clauses, its name, and what it makes us do."""
    sentence = says(row, language, policy)
    parts = [f"{', '.join(row.clauses)} {name_of(row)}: {sentence[0].upper()}{sentence[1:]}"]
    if isinstance(row, EventRule) and row.cancelled_by:
        endings = " | ".join(_ending(ending, language) for ending in row.cancelled_by)
        parts.append(text("policy.cancelled", language, trigger=endings))
    if isinstance(row, DutyRule) and row.service:
        parts.append(text("policy.duty.service", language, service=row.service))
    if isinstance(row, CalendarRule) and row.ahead:
        parts.append(text("policy.calendar.ahead", language, span=_span(row.ahead, language)))
    if row.note:
        parts.append(text("policy.note", language, note=row.note))
    return " ".join(part.strip() for part in parts)


def name_of(row: Row) -> str:
    """The name of a row, with its step where several share the name."""
    return f"{row.name} ({row.step})" if isinstance(row, FollowUpRule) and row.name != row.step else row.name


# --- rows as sentences ----------------------------------------------------------------------------------------


@singledispatch
def says(row: Row, language: Language, policy: Policy) -> str:
    """A row as a sentence."""
    raise TypeError(f"{type(row).__name__} has no words yet: add them here")


@says.register
def _(row: Approval, language: Language, policy: Policy) -> str:
    by = (
        _role(row.by.removeprefix("role:"), language)
        if row.by.startswith("role:")
        else row.by.removeprefix("staff:")
    )
    begins = policy.effective_from
    return text("policy.approval", language, version=policy.version, begins=begins, by=by, day=row.day)


@says.register
def _(row: ClassRule, language: Language, policy: Policy) -> str:
    statuses = [text(f"policy.status.{status}", language) for status in row.status]
    what = [text("policy.class.status", language, status=_list(statuses, language))]
    if row.attention:
        what.append(text("policy.class.attention", language))
    if row.sessions_from:
        what.append(text("policy.class.sessions", language, count=row.sessions_from))
    if row.marks:
        what.append(text("policy.class.marks", language, marks=_list(list(row.marks), language)))
    return text("policy.class", language, name=row.name, what=text("policy.class.joint", language).join(what))


@says.register
def _(row: Gate, language: Language, policy: Policy) -> str:
    what = text(f"policy.gate.{row.name}", language)
    return text("policy.gate", language, service=row.service, what=what, reason=row.reason)


@says.register
def _(row: FollowUpRule, language: Language, policy: Policy) -> str:
    who = text(f"policy.applies.{row.applies_to}", language)
    if row.every_sessions:
        who = text("policy.follow-up.every", language, who=who, count=row.every_sessions)
    complete = (
        text("policy.follow-up.within", language, span=_span(row.within, language))
        if row.within
        else text("policy.follow-up.complete", language, span=_span(row.complete_after or Period(), language))
    )
    return text(
        "policy.follow-up",
        language,
        who=who,
        anchor=text(f"policy.anchor.{row.anchor}", language),
        after=_span(row.after, language),
        move=text(f"policy.move.{_moves(row, policy)}", language),
        complete=complete,
        forms=_list([text(f"policy.form.{form}", language) for form in row.forms], language),
    )


def _moves(row: FollowUpRule, policy: Policy) -> str:
    """Which words tell where a follow-up on a day off goes: as its row and the switches say (collision 7)."""
    if row.move == "inside-limit":
        return "inside-limit" if policy.switches.within_on_days_off == "inside-limit" else "unmoved"
    if row.move == "any-day" or policy.switches.follow_ups_on_days_off == "not":
        return "any-day"
    return "working-day" if policy.switches.follow_ups_on_days_off == "later" else "earlier-working-day"


@says.register
def _(row: DutyRule, language: Language, policy: Policy) -> str:
    warn = (
        text("policy.duty.warn", language, duration=_duration(row.warn_before, language))
        if row.warn_before
        else ""
    )
    return text(
        "policy.duty",
        language,
        role=_role(row.role, language),
        limit=_limit(row.limit, language),
        opened=_trigger(row.opened_by),
        fulfilled=_trigger(row.fulfilled_by),
        warn=warn,
        escalate=_role(row.escalate_to, language),
        urgency=text("policy.duty.page", language) if row.urgency == "page" else "",
        repeats=text("policy.duty.repeats", language) if row.repeats else "",
    )


@says.register
def _(row: CalendarRule, language: Language, policy: Policy) -> str:
    offset = row.due.month_offset
    key = str(offset) if offset in (-1, 0, 1) else "other"
    params = {"count": offset} if key == "other" else {}
    return text(
        "policy.calendar",
        language,
        role=_role(row.role, language),
        what=row.what,
        months=text(f"policy.calendar.every.{row.due.every_months}", language),
        offset=text(f"policy.calendar.offset.{key}", language, **params),
        day=row.due.day_of_month,
        move=text(f"policy.move.{move_of(row, policy.switches)}", language),
    )


@says.register
def _(row: ReminderRule, language: Language, policy: Policy) -> str:
    if row.before:
        when = text(
            "policy.reminder.before", language, duration=_duration(row.before, language), field=row.field
        )
    elif row.after:
        when = text(
            "policy.reminder.after", language, duration=_duration(row.after, language), field=row.field
        )
    else:
        when = text("policy.reminder.at", language, field=row.field)
    client = row.to == "client"
    to = text("policy.reminder.client", language) if client else _role(row.to.removeprefix("role:"), language)
    if row.to_staff:
        to = text("policy.reminder.staff", language, field=row.to_staff, otherwise=to)
    return text(
        "policy.reminder",
        language,
        to=to,
        what=row.what,
        when=when,
        opened=_trigger(row.opened_by),
    )


@says.register
def _(row: Target, language: Language, policy: Policy) -> str:
    value = (
        f"{row.value:.0%}"
        if row.unit == "share"
        else text(f"policy.unit.{row.unit}", language, count=f"{row.value:g}")
    )
    return text("policy.target", language, sense=text(f"policy.target.{row.sense}", language), value=value)


@says.register
def _(row: Bound, language: Language, policy: Policy) -> str:
    limits = {"at_least": row.at_least, "at_most": row.at_most}
    said = [
        text(f"policy.bound.{which}", language, duration=_duration(limit, language))
        for which, limit in limits.items()
        if limit
    ]
    return text("policy.bound", language, limits=text("policy.bound.joint", language).join(said))


@says.register
def _(row: Frequency, language: Language, policy: Policy) -> str:
    return text("policy.frequency", language, least=row.at_least, most=row.at_most)


@says.register
def _(row: CountBound, language: Language, policy: Policy) -> str:
    return text("policy.count", language, least=row.at_least, most=row.at_most)


@says.register
def _(row: IntakeForm, language: Language, policy: Policy) -> str:
    parts = [
        text(
            "policy.intake-form",
            language,
            about=text(f"policy.intake-form.{row.about}", language),
            writers=_either([_signed_in(role, language) for role in row.written_by], language),
            readers=_either([_signed_in(role, language) for role in row.read_by], language),
            fields=_list([_field(field, language) for field in row.fields], language),
        )
    ]
    if row.milestone:
        parts.append(text("policy.intake-form.milestone", language, milestone=row.milestone))
    if row.services:
        parts.append(text("policy.duty.service", language, service=_list(list(row.services), language)))
    return " ".join(parts)


def _signed_in(role: str, language: Language) -> str:
    return text(f"policy.signed-in.{role}", language)


def _field(field: AnyField, language: Language) -> str:
    """A field by its name, and in brackets what may stand there and who is asked."""
    match field:
        case ChoiceField():
            what = " | ".join(field.codes)
        case CodesField():
            what = text("policy.field.codes", language, codes=" | ".join(field.codes))
        case NumberField():
            what = f"{field.at_least}-{field.at_most}"
        case MinutesField(bound=str(bound)):
            what = text("policy.field.bound", language, bound=bound)
        case _:
            what = text(f"policy.field.{field.type}", language)
    asked = [
        *([text(f"policy.field.of.{field.of}", language)] if field.of else []),
        *([] if field.required else [text("policy.field.optional", language)]),
    ]
    return f"{field.name} ({'; '.join([what, *asked])})"


@says.register
def _(row: HealthGate, language: Language, policy: Policy) -> str:
    grounds = _either([text(f"policy.gate.{ground}", language) for ground in row.refused], language)
    return text("policy.gate.health", language, grounds=grounds)


@says.register
def _(row: IndividualsGate, language: Language, policy: Policy) -> str:
    employment = _either([text(f"policy.gate.{one}", language) for one in row.employment], language)
    return text(
        "policy.gate.individuals",
        language,
        youngest=row.youngest,
        oldest=row.oldest,
        employment=employment,
    )


@says.register
def _(row: EnterprisesGate, language: Language, policy: Policy) -> str:
    which = "agreements" if row.agreements else "nothing"
    return text("policy.gate.enterprises", language, needed=text(f"policy.gate.{which}", language))


@says.register
def _(row: Severe, language: Language, policy: Policy) -> str:
    return text("policy.severe", language, scale=row.scale, bands=_either(row.bands, language))


@says.register
def _(row: Sample, language: Language, policy: Policy) -> str:
    return text("policy.sample", language, share=f"{row.share:.0%}")


@says.register
def _(row: Certificate, language: Language, policy: Policy) -> str:
    return text("policy.certificate", language)


@says.register
def _(row: Seat, language: Language, policy: Policy) -> str:
    roles = _list([_role(role, language) for role in row.roles], language)
    key = "policy.seat.experienced" if row.experience_months else "policy.seat"
    return text(key, language, count=row.count, roles=roles, months=row.experience_months)


@says.register
def _(row: CrisisChain, language: Language, policy: Policy) -> str:
    steps = [
        text(
            "policy.crisis.step",
            language,
            role=_role(step.role, language),
            after=text("policy.crisis.after", language, duration=_duration(step.after, language))
            if step.after
            else text("policy.crisis.at-once", language),
        )
        for step in row.escalation
    ]
    return text(
        "policy.crisis",
        language,
        steps=_list(steps, language),
        head=_role(row.head_role, language),
        head_within=_duration(row.head_within, language),
        intervention=_duration(row.intervention_within, language),
    )


# --- parts of sentences ---------------------------------------------------------------------------------------


def _role(role: str, language: Language) -> str:
    return text(f"policy.role.{role}", language)


def _trigger(trigger: Trigger) -> str:
    """An event by its name in the contract."""
    name = f"{trigger.event} {trigger.milestone}" if trigger.milestone else trigger.event
    if trigger.when is None:
        return name
    return f"{name} ({_condition(trigger.when)})"


def _ending(ending: Ending, language: Language) -> str:
    """An event that cancels, and what undoes it."""
    if ending.undone_by is None:
        return _trigger(ending)
    undone = text("policy.undone", language, trigger=_trigger(ending.undone_by))
    return f"{_trigger(ending)} ({undone})"


def _condition(condition: Condition) -> str:
    """A condition by the names of the contract: `service = stress`, `satisfaction <= 2 | flag complaint`."""
    signs = (("equals", "="), ("first", "begins with"), ("at_most", "<="), ("below", "<"))
    parts = [
        f"{field} {sign} {value:g}" if isinstance(value, float) else f"{field} {sign} {value}"
        for test, sign in signs
        for field, value in (getattr(condition, test) or {}).items()
    ]
    parts += [f"flag {condition.flag}"] if condition.flag else []
    parts += [" | ".join(map(_condition, condition.any))] if condition.any else []
    parts += [f"({_condition(part)})" for part in condition.all or ()]
    return " & ".join(parts)


def _limit(limit: Limit, language: Language) -> str:
    unit, count = next(
        (unit, count)
        for unit, count in (
            ("hour", limit.hours),
            ("day", limit.days),
            ("working-day", limit.working_days),
            ("month", limit.months),
        )
        if count is not None
    )
    measure = _counted(count, unit, language)
    if limit.days == 0 and limit.before is None:
        return text("policy.limit.same-day", language)
    if limit.before is None:
        key = "policy.limit.after.service" if limit.service_hours else "policy.limit.after"
        return text(key, language, measure=measure)
    if not count:
        return text("policy.limit.before.none", language, field=limit.before)
    return text("policy.limit.before", language, field=limit.before, measure=measure)


def _span(period: Period, language: Language) -> str:
    parts = ((period.months, "month"), (period.days, "day"))
    return " ".join(_counted(count, unit, language) for count, unit in parts if count)


def _duration(duration: timedelta, language: Language) -> str:
    """In the largest unit that measures it exactly."""
    measure, unit = next((measure, unit) for measure, unit in _UNITS if not duration % measure)
    return _counted(duration // measure, unit, language)


def span_of(value: Period | timedelta, language: Language) -> str:
    """A stretch of days and months, or of exact time."""
    if isinstance(value, Period):
        return _span(value, language)
    return _duration(value, language)


def _counted(count: int, unit: str, language: Language) -> str:
    several = count != 1 and unit in ("day", "month", "working-day")
    return text(f"policy.unit.{unit}{'s' * several}", language, count=count)


def _either(parts: Sequence[str], language: Language) -> str:
    return ("或" if language == "zh" else " or ").join(parts)


def _list(parts: list[str], language: Language) -> str:
    return ("、" if language == "zh" else ", ").join(parts)


# --- switches -------------------------------------------------------------------------------------------------


def switch_in_words(name: str, language: Language, policy: Policy) -> str:
    """A switch as it stands, and what that means."""
    value = getattr(policy.switches, name)
    shown = str(value).lower() if isinstance(value, bool) else _shown(value, language)
    chosen = f".{shown}" if isinstance(value, bool | str) else ""
    return text(
        "policy.switch",
        language,
        name=name,
        value=shown,
        says=text(f"policy.switch.{name}{chosen}", language),
    )


def _shown(value: object, language: Language) -> str:
    if isinstance(value, ServiceHours):
        days = text(f"policy.days.{value.days}", language)
        return f"{value.opens:%H:%M}-{value.closes:%H:%M} {days}"
    return _duration(value, language) if isinstance(value, timedelta) else str(value)
