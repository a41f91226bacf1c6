"""Forms as rows: what they ask by their clauses, whose duties they fulfil, and mistakes in them."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from services.intake.domain.agreements import HEEDED
from services.intake.domain.sessions import AGREED
from services.intake.domain.why import UNCONFIRMED
from shared.policy.forms import ChoiceField, CodesField
from shared.policy.model import REGIME, SignedIn
from shared.policy.reading import PolicyError
from shared.policy.versions import load
from shared.web.auth import ROLES
from tests.unit.policy.regime import POLICY

TEXT = REGIME.read_text(encoding="utf-8")


@pytest.mark.clause("W30", "W31", "W35", "W36", "W37", "W42", "A6", "A18", "A24")
def test_what_each_form_asks() -> None:
    asked = {form.name: [field.name for field in form.fields] for form in POLICY.forms}
    assert asked == {
        "booking": ["name", "career-stage", "company", "contact", "headcount", "first-need"],
        "intake-data": ["age-band", "occupation", "culture", "purpose", "goal"],
        "first-talk": ["held-on", "minutes", "trouble"],
        "assessment": ["adaptation", "interpersonal-fit", "problem-type", "severity", "findings"],
        "plan": ["stage-goals", "methods", "tailored-to"],
        "plan-confirmation": ["confirmed-by", "channel"],
        "evaluation": ["emotion", "cognition", "behaviour", "remarks"],
    }
    codes = {
        field.name: field.codes
        for field in POLICY.form("assessment").fields
        if isinstance(field, ChoiceField | CodesField)
    }
    assert codes == {
        "problem-type": ("cognitive", "skill", "interpersonal"),
        "severity": ("mild", "moderate", "severe"),
    }


@pytest.mark.clause("W34", "W39")
def test_the_work_itself_fulfils_its_duty() -> None:
    fulfilled = {duty.fulfilled_by.milestone: duty.name for duty in POLICY.duties}
    assert fulfilled[POLICY.form("assessment").milestone] == "assessment-2wd"
    assert fulfilled[POLICY.form("plan").milestone] == "counselling-planned-1wd"


@pytest.mark.clause("W41")
def test_individuals_agree_on_three_to_six_sessions() -> None:
    (row,) = POLICY.counts
    assert (row.name, row.clause, row.at_least, row.at_most) == (AGREED, "W41", 3, 6)


def test_forms_are_for_roles_that_people_sign_in_with() -> None:
    assert set(get_args(SignedIn)) <= set(ROLES)


def test_what_intake_weighs_sessions_against_has_its_names_in_the_policy() -> None:
    assert set(POLICY.milestones) >= HEEDED
    assert UNCONFIRMED in {gate.name for gate in POLICY.gates}


def test_operations_read_the_de_identified_file_and_no_form() -> None:
    """F47: what a form says of a person is not for those who conduct follow-ups."""
    assert not [form.name for form in POLICY.forms if {"operations", "publisher"} & set(form.read_by)]


def test_a_policy_without_forms_still_loads(tmp_path: Path) -> None:
    start, end = TEXT.index("\ncounts:"), TEXT.index("# --- who is refused")
    file = tmp_path / "regime.yaml"
    file.write_text(TEXT[:start] + "\n" + TEXT[end:], encoding="utf-8")
    policy = load(file)
    assert (policy.forms, policy.counts) == ((), ())


@pytest.mark.parametrize(
    ("old", "new", "field", "says"),
    [
        ("    milestone: intake-complete\n", "    milestone: intake-compleet\n", "forms.1.milestone",
         "the milestone intake-compleet is not listed under milestones - did you mean intake-complete"),
        ("bound: first-talk-length}", "bound: first-talk-lenght}", "forms.2.fields.1.bound",
         "there is no row first-talk-lenght under bounds: nothing would ever be marked - did you mean first-talk"),
        ("    clause: W42\n", "    clause: W99\n", "forms.4.clause", "there is no clause W99"),
        ("{name: methods, type: text", "{name: stage-goals, type: text", "forms.4",
         "the form has two fields stage-goals"),
        ("    written_by: [publisher, customer-service]\n    read_by: [customer-service, counsellor]\n    fields:",
         "    services: [stress]\n    written_by: [publisher]\n    read_by: [counsellor]\n    fields:",
         "forms.0", "intake does not know a booking's"),
        ("codes: [about-to-start, new-hire, new-post, new-industry, settled]}",
         "codes: [settled], in_file: true}", "forms.0", "a booking has no case file"),
        ("{name: stage-goals, type: text, longest: 4000}", "{name: stage-goals, type: text, in_file: true}",
         "forms.4.fields.0.text.in_file", "remove it"),
        ("{name: adaptation, type: number, at_least: 0", "{name: adaptation, type: number, at_least: 200",
         "forms.3.fields.0.number", "must not be above at_most"),
        ("    read_by: [counsellor, supervisor, customer-service]", "    read_by: [butler]", "forms.4.read_by.0",
         "correct the value"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_form_is_told(tmp_path: Path, old: str, new: str, field: str, says: str) -> None:
    assert old in TEXT
    file = tmp_path / "regime.yaml"
    file.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        load(file)
    problem = next(found for found in caught.value.problems if found.field == field)
    assert says in str(problem)
    assert problem.line > TEXT[: TEXT.index("\nforms:")].count("\n")
