"""What is asked, how long that takes, and what the answers come to."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.survey.domain import questionnaire
from services.survey.domain.questionnaire import InvalidAnswer
from shared.contracts.ratings import RATED
from shared.policy.versions import load
from shared.web.texts import LANGUAGES, text

POLICY = load()
LONGEST = POLICY.bound("questionnaire-length").at_most or timedelta()
FORMS = questionnaire.load(LONGEST)
QUESTIONS = {question.id: question for question in FORMS.questions}


@pytest.mark.clause("F21")
def test_the_limit_is_eight_minutes() -> None:
    assert timedelta(minutes=8) == LONGEST  # F21


@pytest.mark.clause("F21")
@pytest.mark.parametrize("template", FORMS.templates)
def test_every_questionnaire_stays_within_it(template: str) -> None:
    asked = FORMS.asked(template, "")
    assert questionnaire.expected_time(asked) <= LONGEST
    assert questionnaire.expected_time(asked) <= timedelta(minutes=questionnaire.minutes(asked)) <= LONGEST


@pytest.mark.clause("F21")
def test_a_questionnaire_that_takes_longer_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="F21: the questionnaire"):
        questionnaire.load(timedelta(minutes=3))


@pytest.mark.clause("F26")
def test_each_template_of_the_policy_has_its_questionnaire() -> None:
    assert {rule.template for rule in POLICY.follow_ups} <= set(FORMS.templates)  # F26


@pytest.mark.clause("F17", "F18", "F19", "F43", "F58")
@pytest.mark.parametrize("template", FORMS.templates)
def test_effect_need_satisfaction_and_risk_are_asked(template: str) -> None:
    asked = FORMS.asked(template, "")
    clauses = {question.clause for question in asked}
    wanted = {"F17", "F18", "F58"} if template == "crisis-aftercare" else {"F17", "F18", "F19", "F58"}
    assert wanted <= clauses
    assert ("F43" in clauses) == (template == "dropped")


@pytest.mark.clause("F54")
@pytest.mark.parametrize("template", FORMS.templates)
def test_needs_are_confirmed_after_the_follow_up_itself(template: str) -> None:
    asked = FORMS.asked(template, "")
    need = next(place for place, question in enumerate(asked) if question.id == "need")
    assert all(question.clause not in ("F17", "F43", "F58") for question in asked[need:])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_question_and_answer_has_its_words(language: Any) -> None:
    for question in FORMS.questions:
        assert text(f"survey.question.{question.id}", language)
        for option in question.options:
            assert text(f"survey.answer.{question.id}.{option}", language)


def test_an_unknown_template_falls_back_on_the_class_and_then_on_the_plain_one() -> None:
    assert FORMS.asked("no-such", "dropped") == FORMS.asked("dropped", "")
    assert FORMS.asked(None, "new") == FORMS.asked("closed", "")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("templates: {closed: [plan]}", "risk item"),
        ("templates: {closed: [risk, weather]}", "weather, which is no question"),
        ("templates: {dropped: [risk]}", "closed is needed"),
    ],
)
def test_a_spoilt_questionnaire_is_refused(tmp_path: Path, document: str, message: str) -> None:
    questions = (
        "questions:\n"
        "  - {id: plan, clause: F17, kind: scale, options: ['1', '2'], seconds: 30}\n"
        "  - {id: risk, clause: F58, kind: choice, options: [never, often], seconds: 30}\n"
    )
    (tmp_path / "forms.yaml").write_text(questions + document)
    with pytest.raises(ValueError, match=message):
        questionnaire.load(LONGEST, tmp_path / "forms.yaml")


@pytest.mark.clause("F58")
def test_any_thought_of_self_harm_is_a_crisis_and_nothing_else_is() -> None:
    risk = QUESTIONS["risk"]
    assert [questionnaire.is_crisis(risk, option) for option in risk.options] == [False, True, True, True]
    for question in FORMS.questions:
        if question.id != "risk":
            assert not any(questionnaire.is_crisis(question, option) for option in question.options)


@given(st.lists(st.text(max_size=20), max_size=4), st.sampled_from(FORMS.questions))
def test_an_answer_is_one_of_those_offered_or_refused(given_: list[str], question: Any) -> None:
    try:
        answer = question.read(given_)
    except InvalidAnswer:
        return
    if question.kind != "text":
        assert set([answer] if isinstance(answer, str) else answer) <= set(question.options)


def test_the_comment_may_be_empty_but_not_endless() -> None:
    comment = QUESTIONS["comment"]
    assert comment.read([]) == ""
    assert comment.read(["好" * questionnaire.LONGEST_COMMENT])
    with pytest.raises(InvalidAnswer, match="too-long"):
        comment.read(["好" * (questionnaire.LONGEST_COMMENT + 1)])


@pytest.mark.clause("F18", "F57")
@pytest.mark.parametrize(
    ("needs", "flags"),
    [
        (("nothing",), ()),
        (("more-sessions",), ("needs-counselling",)),
        (("complaint",), ("complaint",)),
        (("new-trouble",), ("special-need",)),
        (("resources", "more-sessions", "complaint"), ("needs-counselling", "complaint", "special-need")),
    ],
)
def test_needs_become_flags(needs: tuple[str, ...], flags: tuple[str, ...]) -> None:
    assert questionnaire.result({"need": needs}).flags == flags


@pytest.mark.clause("F19")
@given(st.integers(1, 5), st.integers(1, 5))
def test_a_bad_score_does_not_disappear_in_an_average(counsellor: int, process: int) -> None:
    got = questionnaire.result({"counsellor": str(counsellor), "process": str(process)})
    assert got.satisfaction == min(counsellor, process)


@pytest.mark.clause("F17")
@pytest.mark.parametrize(
    ("points", "band"),
    [("111", "low"), ("232", "low"), ("332", "medium"), ("443", "medium"), ("444", "high")],
)
def test_effect_is_one_band(points: str, band: str) -> None:
    answers = dict(zip(("plan", "state", "progress"), points, strict=True))
    assert questionnaire.result(answers).bands == {"effect": band}


def test_without_all_three_items_there_is_no_band() -> None:
    assert questionnaire.result({"state": "5"}).bands == {}


@pytest.mark.clause("A15", "A20", "A21", "A23", "A26")
def test_what_is_rated_goes_out_as_one_of_three_bands() -> None:
    assert {key: QUESTIONS[key].clause for key in RATED} == {
        "recommendation": "A15", "setting": "A20", "communication": "A21", "emotion": "A23", "result-feedback": "A26",
    }  # fmt: skip
    for key in RATED:
        bands = [questionnaire.result({key: points}).bands for points in QUESTIONS[key].options]
        assert bands == [{key: band} for band in ("poor", "poor", "fair", "good", "good")]


@pytest.mark.clause("A15", "A20", "A21", "A23", "A26")
def test_who_is_asked_to_rate_what() -> None:
    rated = {
        name: [question.id for question in FORMS.asked(name, "") if question.id in RATED]
        for name in FORMS.templates
    }
    assert rated == {
        "closed": ["emotion", "communication", "setting", "result-feedback", "recommendation"],
        "in-counselling": ["emotion", "communication", "setting"],
        "key-attention": ["emotion", "communication"],
        "dropped": ["communication", "setting"],
        "crisis-aftercare": [],
    }
