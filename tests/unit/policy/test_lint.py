"""A policy that names what is not there is refused: each kind of mistake by file, line, field and advice."""

from __future__ import annotations

import ast
from datetime import datetime
from pathlib import Path

import pytest

from shared.contracts.topics import TOPICS, consumed_by
from shared.policy.lint import SEEN_BY_SCHEDULER, field_type, mistakes
from shared.policy.model import REGIME
from shared.policy.reading import PolicyError, Problem
from shared.policy.versions import load
from tests.unit.policy.regime import POLICY

ROOT = Path(__file__).parents[3]
TEXT = REGIME.read_text(encoding="utf-8")


def lint(tmp_path: Path, old: str, new: str, row: str = "") -> list[Problem]:
    """What is told of the regime with `old` replaced where it first stands behind the row of that name."""
    start = TEXT.index(f"name: {row}") if row else 0
    assert old in TEXT[start:]
    file = tmp_path / "regime.yaml"
    file.write_text(TEXT[:start] + TEXT[start:].replace(old, new, 1), encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        load(file)
    return list(caught.value.problems)


def test_the_shipped_regime_names_only_what_is_there() -> None:
    assert list(mistakes(POLICY)) == []


@pytest.mark.parametrize(
    ("row", "old", "new", "field", "reason", "advice"),
    [
        ("match-2wd", "milestone: counsellor-matched", "milestone: counsellor-mached", "fulfilled_by.milestone",
         "nobody reports the milestone counsellor-mached: the duty would never be fulfilled",
         "did you mean counsellor-matched"),
        ("record-24h", "milestone: follow-up-conducted", "milestone: moon-landing", "opened_by.milestone",
         "would never be opened", "list it"),
        ("prepare-1wd", "cancelled_by: {event: follow-up-recorded}",
         "cancelled_by: {event: milestone-reached, milestone: moon-landing}", "cancelled_by.0.milestone",
         "would never be cancelled", "list it"),
        ("handle-5wd", "opened_by: {event: follow-up-recorded}", "opened_by: {event: follow-up-recordet}",
         "opened_by.event", "nobody publishes follow-up-recordet", "did you mean follow-up-recorded"),
        ("handle-5wd", "opened_by: {event: follow-up-recorded}", "opened_by: {event: duty-changed}",
         "opened_by.event", "the scheduler does not read duty-changed", "let it read this one"),
        ("match-2wd", "subject: follow_up_id", "subject: followup_id", "subject",
         "follow-up-recorded has no field followup_id", "it has follow_up_id, case_id"),
        ("effect-1m", "opened_by: {event: case-closed}", "opened_by: {event: staff-updated}", "subject",
         "staff-updated has no field case_id", "staff_id"),
        ("standard-3wd", "equals: {session_no: 1}", "equals: {session: 1}", "opened_by.when.equals.session",
         "session-scheduled has no field session: the condition never holds", "session_no"),
        ("standard-3wd", "equals: {session_no: 1}", "equals: {session_no: first}",
         "opened_by.when.equals.session_no", "is never first", "correct the value"),
        ("respond-2h", "service: workplace-adaptation", "service: adaptation", "opened_by.when.equals.service",
         "is never adaptation", "correct the value"),
        ("plan-detailed", "rule: plan-28th", "rule: plan-29th", "opened_by.when.equals.rule",
         "there is no row plan-29th under calendar", "did you mean plan-28th"),
        ("complaint-3wd", "at_most: {satisfaction: 2}", "at_most: {outcome: 2}",
         "opened_by.when.any.1.at_most.outcome", "is no number", "correct the value"),
        ("complaint-3wd", "event: follow-up-recorded", "event: follow-up-due",
         "opened_by.when.any.0.flag", "follow-up-due has no flags", "another test"),
        ("questionnaire-invitation", "first: {forms: questionnaire}", "first: {forms: letter}",
         "opened_by.when.first.forms", "is never letter", "correct the value"),
        ("questionnaire-invitation", "first: {forms: questionnaire}", "first: {rule: questionnaire}",
         "opened_by.when.first.rule", "is no list", "correct the value"),
        ("prepare-1wd", "before: scheduled_for", "before: starts_at", "limit.before",
         "follow-up-due has no field starts_at: no limit can be counted", "scheduled_for"),
        ("prepare-1wd", "before: scheduled_for", "before: template", "limit.before",
         "template of follow-up-due is no time", "it has scheduled_for, complete_by"),
        ("session-reminder", "field: starts_at", "field: begins_at", "field",
         "session-scheduled has no field begins_at: the reminder would never go out", "starts_at"),
        ("care-2m", "field: closed_at", "field: outcome", "field", "is no time", "it has closed_at"),
        ("match-2wd", "clause: F62", "clause: F99", "clause", "there is no clause F99", "docs/clauses.md"),
        ("match-2wd", "also: [F57]", "also: [W99]", "also.0", "there is no clause W99", "docs/clauses.md"),
        ("match-2wd", "role: operations", "role: operation", "role",
         "the role operation is not listed under roles", "did you mean operations"),
        ("match-2wd", "escalate_to: department-manager", "escalate_to: butler", "escalate_to",
         "the role butler is not listed under roles", "list it"),
        ("preparation", "to: role:operations", "to: role:butler", "to", "the role butler is not listed", "list it"),
        ("report-5th", "role: operations", "role: butler", "role", "the role butler is not listed", "list it"),
        ("match-2wd", "flag: needs-counselling", "flag: needs-counseling", "opened_by.when.flag",
         "nobody sets the flag needs-counseling: the condition never holds", "did you mean needs-counselling"),
        ("gad-7-severe", "clause: F13", "clause: F99", "1.clause", "there is no clause F99", "docs/clauses.md"),
        ("handle-5wd", "name: handle-5wd", "name: record-24h", "name",
         "more than one row is named record-24h", "a name of its own"),
        ("closed-3m", "step: 3m", "step: 15d", "step", "another row for closed has the step 15d: one would be lost",
         "a step of its own"),
    ],
)  # fmt: skip
def test_a_row_that_names_what_is_not_there(
    tmp_path: Path, row: str, old: str, new: str, field: str, reason: str, advice: str
) -> None:
    problems = lint(tmp_path, old, new, row)
    problem = next(found for found in problems if found.field.split(".", 2)[2] == field)
    assert reason in problem.reason
    assert advice in problem.advice
    written = (tmp_path / "regime.yaml").read_text(encoding="utf-8").splitlines()
    assert field.rpartition(".")[2].strip("0123456789.") in written[problem.line - 1]
    assert str(problem).startswith(f"{tmp_path / 'regime.yaml'}:{problem.line}: {problem.field}: ")


@pytest.mark.clause("W7")
def test_a_version_is_approved_before_it_begins(tmp_path: Path) -> None:
    said = 'approved: {by: "role:head-of-psychology", day: 2026-01-01}'
    (late,) = lint(tmp_path, said, said.replace("2026-01-01", "2026-01-02"))
    assert (late.field, late.reason) == (
        "approved.day",
        "it was approved on 2026-01-02, after it had begun on 2026-01-01",
    )
    (missing,) = lint(tmp_path, said, "")
    assert (missing.field, missing.advice) == ("approved", "add it")
    (unknown,) = lint(tmp_path, said, said.replace("head-of-psychology", "butler"))
    assert (unknown.field, unknown.reason) == ("approved.by", "the role butler is not listed under roles")
    (name,) = lint(tmp_path, said, said.replace("role:head-of-psychology", "Wang Fang"))
    assert name.field == "approved.by"


def test_an_unknown_role_in_the_crisis_chain(tmp_path: Path) -> None:
    (problem,) = lint(tmp_path, "{name: second, role: on-call-second", "{name: second, role: nobody")
    assert (problem.field, problem.line) == (
        "crisis.escalation.1.role",
        1 + TEXT[: TEXT.index("name: second, role")].count("\n"),
    )


def test_a_mistake_in_a_merged_row_is_told_where_the_row_stands(tmp_path: Path) -> None:
    (problem,) = lint(tmp_path, "{<<: *aftercare, step: 3d,", "{<<: *aftercare, clause: A99, step: 3d,")
    assert problem.line == 1 + TEXT[: TEXT.index("step: 3d")].count("\n")


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "regime.yaml"
    file.write_text(TEXT.replace("escalate_to: department-manager", "escalate_to: butler"), encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        load(file)
    assert len(caught.value.problems) == TEXT.count("escalate_to: department-manager")


@pytest.mark.parametrize(
    ("old", "new", "field", "reason"),
    [
        (
            "effective_from: 2026-01-01",
            "effective_from: 2026-02-30",
            "effective_from",
            "outside expected range",
        ),
        ("limit: {hours: 24}", "limit: {hours: 0x_}", "file", "no valid YAML"),
        ("milestones:", "milestones: &all\n  - *all", "file", "no valid YAML"),
        ("switches:", "? [switches]\n:", "file", "no valid YAML"),
        ("anchor: closed_at", "anchor: dropped_at", "follow_ups.0", "closed counts from closed_at"),
        ("within: 7 days", "within: 1 day", "follow_ups.6", "past its own limit"),
        ("warn_before: 4 h", "warn_before: 24 h", "duties.0", "nobody would ever be warned"),
        ("value: 0.9}", "value: 90}", "targets.0", "90 % is 0.9"),
    ],
)
def test_what_no_sense_can_be_made_of_is_told_and_not_thrown(
    tmp_path: Path, old: str, new: str, field: str, reason: str
) -> None:
    problem = next(found for found in lint(tmp_path, old, new) if found.field == field)
    assert reason in problem.reason


def test_what_the_scheduler_sees_of_its_own_is_what_it_tells_its_rules() -> None:
    """Read from its code, which `shared` may not import."""
    told = {
        call.args[0].value
        for file in (ROOT / "services" / "scheduler" / "deciding").glob("*.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "happened"
        and isinstance(call.args[0], ast.Constant)
    }
    assert frozenset((*consumed_by("scheduler"), *told)) == SEEN_BY_SCHEDULER


@pytest.mark.parametrize(
    ("topic", "path", "kind"),
    [
        ("case-opened", "opened_at", datetime),
        ("case-opened", "enterprise_id", str),
        ("case-opened", "eligibility.age", int),
        ("case-opened", "eligibility.name", None),
        ("case-classified", "class", "closed"),
        ("case-classified", "case_class", None),  # its name in Python, not on the wire
        ("report-published", "figures.anything", float),
        ("case-opened", "case_id.deeper", None),
    ],
)
def test_the_type_of_a_field_is_found_by_its_name_on_the_wire(topic: str, path: str, kind: object) -> None:
    found = field_type(TOPICS[topic].model, path)
    assert kind in found.__args__ if isinstance(kind, str) else found is kind
