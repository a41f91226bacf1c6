"""`aftercare policy`: check a policy file, and say in plain words what a clause or rule makes us do."""

from __future__ import annotations

import difflib
from datetime import timedelta
from functools import singledispatch
from pathlib import Path
from typing import Annotated

import typer

from aftercare.mistakes import Mistake
from aftercare.terminal import out
from shared.policy.conditions import Condition
from shared.policy.counting import Period
from shared.policy.model import (
    REGIME,
    Bound,
    CalendarRule,
    Certificate,
    CrisisChain,
    DutyRule,
    Ending,
    EventRule,
    FollowUpRule,
    Limit,
    Policy,
    PolicyError,
    ReminderRule,
    Row,
    Sample,
    Target,
    Trigger,
    load,
)
from shared.web.texts import LANGUAGES, Language, choose, text

app = typer.Typer(no_args_is_help=True, help="The regime as data: check it, explain it.")

_UNITS = (
    (timedelta(days=1), "day"),
    (timedelta(hours=1), "hour"),
    (timedelta(minutes=1), "minute"),
    (timedelta(seconds=1), "second"),
)


@app.command()
def lint(
    file: Annotated[
        Path | None, typer.Argument(help="A policy; by default the one of this release.", show_default=False)
    ] = None,
) -> None:
    """Check a policy: every mistake with file, line, field and advice. Exit code 1 when there is one."""
    path = file or REGIME
    try:
        policy = load(path)
    except PolicyError as error:
        for problem in error.problems:
            out.print(str(problem), markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    rows = list(policy.rows())
    clauses = {clause for row in rows for clause in row.clauses}
    out.print(
        f"{path.name} {policy.version}, in force from {policy.effective_from}: "
        f"{len(rows)} rows for {len(clauses)} clauses, no mistakes",
        soft_wrap=True,
    )


@app.command()
def explain(
    what: Annotated[
        str, typer.Argument(help="A clause such as F40, or the name of a rule such as closed-15d.")
    ],
    language: Annotated[str, typer.Option(help="zh or en.")] = "zh",
    file: Annotated[
        Path | None, typer.Option(help="A policy; by default the one of this release.", show_default=False)
    ] = None,
) -> None:
    """Say in plain words what a clause or a rule makes us do."""
    if language not in LANGUAGES:
        raise Mistake(f"--language {language!r} is none of ours: choose {' or '.join(LANGUAGES)}")
    try:
        policy = load(file)
    except PolicyError as error:
        raise Mistake(f"the policy cannot be used:\n{error}") from None
    for line in explanation(policy, what, choose(language)):
        out.print(line, markup=False, soft_wrap=True)


def explanation(policy: Policy, what: str, language: Language) -> list[str]:
    """One line for each row that carries the clause or has the name. Raises Mistake for neither."""
    clause = what.upper()
    if clause[:1] in ("F", "A", "W") and clause[1:].isdigit():
        rows = policy.of_clause(clause)
        if not rows:
            return [text("policy.clause.none", language, clause=clause)]
    else:
        rows = tuple(row for row in policy.rows() if row.name == what)
        if not rows:
            near = difflib.get_close_matches(what, {row.name for row in policy.rows()}, 3)
            advice = f"did you mean {', '.join(near)}?" if near else "name a clause such as F40"
            raise Mistake(f"the policy has no rule {what!r}: {advice}")
    return [_line(row, language) for row in rows]


def _line(row: Row, language: Language) -> str:
    sentence = says(row, language)
    parts = [f"{', '.join(row.clauses)} {_name(row)}: {sentence[0].upper()}{sentence[1:]}"]
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


def _name(row: Row) -> str:
    return f"{row.name} ({row.step})" if isinstance(row, FollowUpRule) and row.name != row.step else row.name


# --- rows as sentences ----------------------------------------------------------------------------------------


@singledispatch
def says(row: Row, language: Language) -> str:
    """A row as a sentence."""
    raise TypeError(f"{type(row).__name__} has no words yet: add them here")


@says.register
def _(row: FollowUpRule, language: Language) -> str:
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
        move=text(f"policy.move.{row.move}", language),
        complete=complete,
        forms=_list([text(f"policy.form.{form}", language) for form in row.forms], language),
    )


@says.register
def _(row: DutyRule, language: Language) -> str:
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
def _(row: CalendarRule, language: Language) -> str:
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
        move=text(f"policy.move.{row.move}", language),
    )


@says.register
def _(row: ReminderRule, language: Language) -> str:
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
    return text(
        "policy.reminder",
        language,
        to=to,
        what=row.what,
        when=when,
        opened=_trigger(row.opened_by),
    )


@says.register
def _(row: Target, language: Language) -> str:
    value = (
        f"{row.value:.0%}"
        if row.unit == "share"
        else text(f"policy.unit.{row.unit}", language, count=f"{row.value:g}")
    )
    return text("policy.target", language, sense=text(f"policy.target.{row.sense}", language), value=value)


@says.register
def _(row: Bound, language: Language) -> str:
    return text(
        "policy.bound",
        language,
        least=_bounded("at_least", row.at_least, language),
        most=_bounded("at_most", row.at_most, language),
    )


def _bounded(which: str, limit: timedelta | None, language: Language) -> str:
    return text(f"policy.bound.{which}", language, duration=_duration(limit, language)) if limit else ""


@says.register
def _(row: Sample, language: Language) -> str:
    return text("policy.sample", language, share=f"{row.share:.0%}")


@says.register
def _(row: Certificate, language: Language) -> str:
    return text("policy.certificate", language)


@says.register
def _(row: CrisisChain, language: Language) -> str:
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


def _counted(count: int, unit: str, language: Language) -> str:
    several = count != 1 and unit in ("day", "month", "working-day")
    return text(f"policy.unit.{unit}{'s' * several}", language, count=count)


def _list(parts: list[str], language: Language) -> str:
    return ("、" if language == "zh" else ", ").join(parts)
