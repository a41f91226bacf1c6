"""The policy in plain words, and its mistakes by file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest

from aftercare.mistakes import Mistake
from aftercare.policy import explanation
from shared.policy.clauses import known_clauses
from shared.policy.model import REGIME, Policy, Switches
from shared.policy.versions import load
from shared.web.texts import LANGUAGES, Language
from tests.unit.aftercare.command_line import Invoke


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load()


def test_every_row_has_words_in_both_languages(policy: Policy) -> None:
    for row in policy.rows():
        for language in LANGUAGES:
            for said in explanation(policy, row.name, language):
                assert said.startswith(f"{row.clause}") or row.clause in said
                assert "{" not in said


def test_a_clause_is_told_by_each_row_that_carries_it(policy: Policy) -> None:
    zh = explanation(policy, "F42", "zh")
    assert len(zh) == 1
    assert "自中止之日起 3 天随访" in zh[0]
    assert "最迟不超过 7 天" in zh[0]
    english = explanation(policy, "f40", "en")
    assert len(english) == len(policy.of_clause("F40"))
    assert "a follow-up 6 months after the closing" in "\n".join(english)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("record-24h", "Operations must act within 24 h. Opened by milestone-reached follow-up-conducted"),
        ("complaint-3wd", "(flag complaint | satisfaction <= 2)"),
        ("prepare-1wd", 'at least 1 working day before "scheduled_for"'),
        ("prepare-1wd", "Cancelled by follow-up-recorded."),
        ("progress-3wd", "Once fulfilled it opens again"),
        ("classification-5th", 'must do "classification" every month, by day 5 of the month after'),
        ("session-reminder", '10 min before "starts_at"'),
        ("crisis-chain", "must be told within 10 min"),
        (
            "approval",
            "in force from 2026-01-01, was approved by the head of the psychological department on 2026-01-01",
        ),
        ("questionnaire-length", "At most 8 min."),
        ("session-length-individual", "At least 50 min, at most 1 h."),
        ("records-drawn", "30% of last month's items"),
        ("standard-3wd", "Only for workplace-adaptation."),
        ("eligible-individuals", "aged 18 to 60, in work or about to start work"),
        ("eligible-health", "in an acute crisis or seriously mentally ill is refused and referred"),
        ("sessions-a-week", "1 to 2 a week"),
        ("agreed-sessions", "3 to 6."),
        ("assessment", "Written by the counsellor, read by the counsellor or the supervisor."),
        (
            "assessment",
            "problem-type (any of cognitive | skill | interpersonal), severity (mild | moderate | severe)",
        ),
        ("assessment", "Filled in, it reports assessment-done as done. Only for workplace-adaptation."),
        ("first-talk", "minutes (minutes, marked outside first-talk-length)"),
        ("booking", "name (text; asked of individuals)"),
        ("intake-data", "culture (text; may be left out)"),
        ("phq-9-severe", "with phq-9 in severe, key attention is proposed"),
        ("silent-client", 'Whom "counsellor_id" names (the counsellor where unknown) is told'),
    ],
)
def test_a_rule_is_told_by_its_name(policy: Policy, rule: str, said: str) -> None:
    assert said in "\n".join(explanation(policy, rule, "en"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_switch_is_told_by_its_name_whatever_its_value(policy: Policy, language: Language) -> None:
    for name, field in Switches.model_fields.items():
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        for value in choices or (
            [True, False] if field.annotation is bool else [getattr(policy.switches, name)]
        ):
            switched = policy.switches.model_copy(update={name: value})
            (said,) = explanation(policy.model_copy(update={"switches": switched}), name, language)
            assert name in said


def test_where_a_day_off_leads_is_told_as_the_switches_stand(policy: Policy) -> None:
    switched = policy.switches.model_copy(
        update={"follow_ups_on_days_off": "earlier", "dates_on_days_off": "not", "within_on_days_off": "not"}
    )
    other = policy.model_copy(update={"switches": switched})
    for rule, usual, changed in (
        ("closed-15d", "the next working day", "the working day before"),
        ("dropped-7d", "inside the limit", "by questionnaire alone"),
        ("report-5th", "earlier within its month", "on any day"),
    ):
        assert usual in explanation(policy, rule, "en")[0]
        assert changed in explanation(other, rule, "en")[0]


@pytest.mark.parametrize(
    ("clause", "said"),
    [
        ("F4", ["F4: Operations (运营部) conducts and records. Carried by survey: api."]),
        (
            "F17",
            [
                "Carried by questions of the questionnaire: plan, state, progress; survey: domain.questionnaire."
            ],
        ),
        ("F8", ["F8: Ethics code for counsellors. It is out of software's reach."]),
        (
            "F23",
            ["F40, F23 key-15d (15d): ", "Survey refuses a video follow-up of any case but key attention"],
        ),
        ("W23", ["W23 ", "aged 18 to 60"]),
    ],
)
def test_a_clause_says_what_carries_it_besides_rows(policy: Policy, clause: str, said: list[str]) -> None:
    told = "\n".join(explanation(policy, clause, "en"))
    assert all(part in told for part in said)


def test_every_clause_is_told_in_both_languages(policy: Policy) -> None:
    for clause in known_clauses():
        for language in LANGUAGES:
            told = explanation(policy, clause, language)
            assert told
            assert all(clause in one for one in told)


def test_a_clause_that_is_none_is_a_mistake(policy: Policy) -> None:
    with pytest.raises(Mistake, match="there is no clause F99"):
        explanation(policy, "F99", "en")


def test_an_unknown_rule_suggests_near_ones(policy: Policy) -> None:
    with pytest.raises(Mistake, match="did you mean record-24h"):
        explanation(policy, "record-24", "zh")


def test_chinese_comes_first(aftercare: Invoke) -> None:
    assert "已结案" in aftercare("policy", "explain", "F36").output
    assert "Closed cases" in aftercare("policy", "explain", "F36", "--language", "en").output
    assert isinstance(aftercare("policy", "explain", "F36", "--language", "fr").exception, Mistake)


def test_the_shipped_policy_has_no_mistakes(aftercare: Invoke) -> None:
    result = aftercare("policy", "lint")
    assert result.exit_code == 0
    assert "no mistakes" in result.output


def test_a_folder_of_versions_is_checked_whole(aftercare: Invoke, tmp_path: Path) -> None:
    text = REGIME.read_text(encoding="utf-8")
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    later = text.replace('version: "2026-1"', 'version: "2027-1"')
    (tmp_path / "b.yaml").write_text(later, encoding="utf-8")
    clash = aftercare("policy", "lint", str(tmp_path))
    assert clash.exit_code == 1
    assert "effective_from: 2026-01-01 is that of" in clash.output
    (tmp_path / "b.yaml").write_text(later.replace("2026-01-01", "2027-01-01", 1), encoding="utf-8")
    told = aftercare("policy", "lint", str(tmp_path))
    assert told.exit_code == 0
    assert [line.split()[1] for line in told.output.splitlines()] == ["2026-1,", "2027-1,"]


def test_mistakes_are_told_with_file_and_line(aftercare: Invoke, tmp_path: Path) -> None:
    text = REGIME.read_text(encoding="utf-8").replace("move: inside-limit", "move: whenever", 1)
    broken = tmp_path / "mine.yaml"
    broken.write_text(text, encoding="utf-8")
    number = next(n for n, content in enumerate(text.splitlines(), 1) if "whenever" in content)
    result = aftercare("policy", "lint", str(broken))
    assert result.exit_code == 1
    assert f"mine.yaml:{number}: follow_ups." in result.output
