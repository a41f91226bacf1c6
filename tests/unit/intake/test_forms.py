"""What may be filled in on a form, when it is complete, and what that reports as done."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from bson import Binary

from services.intake.domain import forms
from services.intake.domain.forms import About, Sheet
from services.intake.domain.why import why
from shared.contracts.envelope import Refused
from shared.contracts.events import MilestoneReached
from tests.builders import at, case_opened
from tests.unit.intake.desk import Desk
from tests.unit.policy.regime import POLICY

CASE = About("case", "case-1", "client-1", service="workplace-adaptation", opened_at=at("2026-03-02 10:00"))
PERSON = About("booking", "booking-1", "client-1")
COMPANY = About("booking", "booking-1", None, "enterprise-1")

FULL: dict[str, dict[str, Any]] = {
    "intake-data": {"age-band": "26-to-35", "occupation": "焊工", "purpose": "settle in", "goal": "stay"},
    "first-talk": {"held-on": "2026-03-02", "minutes": 18, "trouble": "the new team"},
    "assessment": {
        "adaptation": 40,
        "interpersonal-fit": 55,
        "problem-type": ["skill", "cognitive"],
        "severity": "moderate",
    },
    "plan": {"stage-goals": "speak in meetings", "methods": "role play"},
    "plan-confirmation": {"confirmed-by": "client", "channel": "site"},
    "evaluation": {"emotion": "uneven", "cognition": "realistic", "behaviour": "coping"},
}
"""Every required field of the forms about a case, and no other."""


def sheet(form: str = "assessment", values: dict[str, Any] | None = None, about: About = CASE) -> Sheet:
    row = POLICY.form(form)
    filled = FULL[form] if values is None else values
    return Sheet(
        id=forms.sheet_id(form, about.kind, about.id),
        form=form,
        kind=about.kind,
        about=about.id,
        client_id=about.client_id,
        revision=1,
        missing=forms.missing(row, filled, about),
        marks=forms.marks(row, filled, POLICY),
        sealed=Binary(b"", 6),
        by="staff-1",
        at=at("2026-03-03 09:00"),
    )


@pytest.mark.clause("A6", "A18", "A24", "W35", "W36", "W37", "W42")
@pytest.mark.parametrize("form", FULL)
def test_a_form_is_complete_once_each_required_field_is_filled_in(form: str) -> None:
    row, values = POLICY.form(form), FULL[form]
    taken = forms.taken(row, values, CASE)
    assert set(taken) == set(values)
    assert forms.missing(row, taken, CASE) == ()
    for name in values:
        less = {key: value for key, value in taken.items() if key != name}
        assert forms.missing(row, less, CASE) == (name,)


@pytest.mark.clause("W30", "W31")
def test_individuals_and_enterprises_are_asked_for_other_things_when_they_book() -> None:
    row = POLICY.form("booking")
    assert forms.missing(row, {}, PERSON) == ("name", "career-stage", "first-need")
    assert forms.missing(row, {}, COMPANY) == ("company", "contact", "headcount", "first-need")
    person = {"name": "李明", "career-stage": "new-hire", "first-need": "fitting in"}
    company = {"company": "某厂", "contact": "head of training", "headcount": 120, "first-need": "new hires"}
    assert forms.taken(row, person, PERSON) == person
    assert forms.taken(row, company, COMPANY) == company
    with pytest.raises(Refused, match="asked of enterprises alone"):
        forms.taken(row, person | {"headcount": 120}, PERSON)


@pytest.mark.parametrize(
    ("form", "field", "value", "says"),
    [
        ("assessment", "severity", "SECRET", "it is one of mild, moderate, severe"),
        ("assessment", "severity", ["mild"], "it is one of"),
        ("assessment", "problem-type", "skill", "a list of some of cognitive, skill, interpersonal"),
        ("assessment", "problem-type", ["skill", "SECRET"], "a list of some of"),
        ("assessment", "problem-type", [], "a list of some of"),
        ("assessment", "adaptation", 101, "a whole number from 0 to 100"),
        ("assessment", "adaptation", -1, "a whole number from 0 to 100"),
        ("assessment", "adaptation", "40", "a whole number"),
        ("assessment", "adaptation", True, "a whole number"),
        ("assessment", "adaptation", 40.5, "a whole number"),
        ("first-talk", "minutes", 0, "a whole number from 1"),
        ("first-talk", "held-on", "2026-02-30", "a day such as"),
        ("first-talk", "held-on", "20260302", "a day such as"),
        ("first-talk", "held-on", "SECRET....", "a day such as"),
        ("first-talk", "trouble", " ", "it is a text"),
        ("first-talk", "trouble", 7, "it is a text"),
        ("first-talk", "trouble", "x" * 2001, "at most 2000 characters"),
        ("first-talk", "trouble", "SECRET 13800138000", "seems to hold a telephone number"),
        ("first-talk", "trouble", "secret@example.com", "seems to hold an e-mail address"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_name_of_its_field_and_not_repeated(
    form: str, field: str, value: object, says: str
) -> None:
    with pytest.raises(Refused, match=says) as caught:
        forms.taken(POLICY.form(form), FULL[form] | {field: value}, CASE)
    assert (caught.value.reason, caught.value.field) == ("invalid-field", field)
    assert "secret" not in str(caught.value).lower()
    assert "1380013" not in str(caught.value)


def test_an_unknown_field_is_refused_without_its_name() -> None:
    with pytest.raises(Refused) as caught:
        forms.taken(POLICY.form("plan"), {"李明": "x"}, CASE)
    assert caught.value.field == "(unknown field)"
    assert "stage-goals, methods" in caught.value.message
    assert "李明" not in str(caught.value)


def test_null_is_not_filled_in_and_a_list_is_kept_in_the_order_of_the_form() -> None:
    taken = forms.taken(
        POLICY.form("assessment"), {"findings": None, "problem-type": ["skill", "cognitive", "skill"]}, CASE
    )
    assert taken == {"problem-type": ["cognitive", "skill"]}


@pytest.mark.clause("W36")
@pytest.mark.parametrize(("minutes", "how"), [(14, "too-short"), (15, None), (20, None), (21, "too-long")])
def test_a_first_talk_outside_fifteen_to_twenty_minutes_is_taken_and_marked(
    minutes: int, how: str | None
) -> None:
    written = sheet("first-talk", FULL["first-talk"] | {"minutes": minutes})
    assert written.complete
    case = Desk().hears(case_opened(service="workplace-adaptation")).case()
    marks = why(case, POLICY, forms=[written])["marks"]
    expected = {
        "mark": "form-outside-bounds",
        "form": "first-talk",
        "field": "minutes",
        "bound": "first-talk-length",
        "how": how,
        "clauses": ["W36"],
    }
    assert marks == ([expected] if how else [])


@pytest.mark.clause("F47")
def test_the_de_identified_file_shows_type_and_severity_of_all_that_is_written() -> None:
    shown = {form.name: forms.in_file(form, FULL.get(form.name, {})) for form in POLICY.forms}
    assert {name: values for name, values in shown.items() if values} == {
        "assessment": {"problem-type": ["skill", "cognitive"], "severity": "moderate"}
    }
    assert forms.in_file(POLICY.form("booking"), {"name": "李明", "company": "某厂"}) == {}


@pytest.mark.clause("W34", "W39", "W43", "A18")
@pytest.mark.parametrize(
    ("form", "milestone"),
    [
        ("assessment", "assessment-done"),
        ("plan", "counselling-planned"),
        ("plan-confirmation", "plan-confirmed"),
        ("intake-data", "intake-complete"),
    ],
)
def test_a_complete_form_reports_its_milestone(form: str, milestone: str) -> None:
    row, now = POLICY.form(form), at("2026-03-03 09:00")
    done = forms.done(row, sheet(form), CASE, "staff-1", now)
    assert done
    assert done[1].data == MilestoneReached(
        milestone=milestone, subject="case-1", case_id="case-1", reached_at=now, by="staff-1"
    )
    assert forms.done(row, sheet(form, {}), CASE, "staff-1", now) is None


def test_it_is_told_once_for_each_opening_of_the_case() -> None:
    def named(opened: datetime, at_: str) -> tuple[str, str]:
        about = About("case", "case-1", "client-1", service="workplace-adaptation", opened_at=opened)
        done = forms.done(POLICY.form("assessment"), sheet(), about, "staff-1", at(at_))
        assert done
        return done[0], done[1].id

    first, again = at("2026-03-02 10:00"), at("2026-06-01 10:00")
    assert named(first, "2026-03-03 09:00") == named(first, "2026-03-04 09:00")
    assert named(first, "2026-03-03 09:00") != named(again, "2026-06-02 09:00")


def test_what_reports_nothing_reports_nothing() -> None:
    assert (
        forms.done(POLICY.form("evaluation"), sheet("evaluation"), CASE, "staff-1", at("2026-03-03")) is None
    )
