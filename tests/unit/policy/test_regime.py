"""The shipped regime says what the contracts publish, and mistakes in one are told plainly."""

from datetime import timedelta
from pathlib import Path

import pytest

from shared.policy.model import REGIME, Policy
from shared.policy.reading import PolicyError
from shared.policy.versions import load
from tests.unit.policy.regime import POLICY

TEXT = REGIME.read_text(encoding="utf-8")


@pytest.mark.clause("F36", "F38", "F40", "F42", "A32")
def test_the_follow_up_rules_are_those_of_the_contract() -> None:
    questionnaire, phone, video = "questionnaire", "phone", "video"
    key = (phone, video, questionnaire)
    found = [
        (
            r.name,
            r.clause,
            r.applies_to,
            r.anchor,
            r.step,
            str(r.after),
            str(r.within or r.complete_after),
            r.forms,
        )
        for r in POLICY.follow_ups
    ]
    assert found == [
        ("closed-15d", "F36", "closed", "closed_at", "15d", "15 days", "7 days", (questionnaire, phone)),
        ("closed-3m", "F36", "closed", "closed_at", "3m", "3 months", "7 days", (questionnaire, phone)),
        ("key-15d", "F40", "closed-with-attention", "closed_at", "15d", "15 days", "7 days", key),
        ("key-1m", "F40", "closed-with-attention", "closed_at", "1m", "1 month", "7 days", key),
        ("key-3m", "F40", "closed-with-attention", "closed_at", "3m", "3 months", "7 days", key),
        ("key-6m", "F40", "closed-with-attention", "closed_at", "6m", "6 months", "7 days", key),
        (
            "counselling-every-3",
            "F38",
            "open",
            "session-end",
            "every-3",
            "2 days",
            "7 days",
            (questionnaire, phone),
        ),
        ("dropped-7d", "F42", "dropped", "dropped_at", "7d", "3 days", "7 days", (phone, questionnaire)),
        ("crisis-aftercare", "A32", "incident-resolved", "resolved_at", "1d", "1 day", "2 days", (phone,)),
        ("crisis-aftercare", "A32", "incident-resolved", "resolved_at", "3d", "3 days", "2 days", (phone,)),
        ("crisis-aftercare", "A32", "incident-resolved", "resolved_at", "7d", "7 days", "2 days", (phone,)),
        ("crisis-aftercare", "A32", "incident-resolved", "resolved_at", "30d", "30 days", "2 days", (phone,)),
    ]


@pytest.mark.clause("F52", "F60", "F62", "F63", "F65")
@pytest.mark.parametrize(
    ("name", "clause", "opened", "fulfilled"),
    [
        ("record-24h", "F60", ("milestone-reached", "follow-up-conducted"), ("follow-up-recorded", None)),
        ("match-2wd", "F62", ("follow-up-recorded", None), ("milestone-reached", "counsellor-matched")),
        (
            "complaint-3wd",
            "F63",
            ("follow-up-recorded", None),
            ("milestone-reached", "rectification-planned"),
        ),
        ("handle-5wd", "F65", ("follow-up-recorded", None), ("milestone-reached", "result-handled")),
        ("prepare-1wd", "F52", ("follow-up-due", None), ("milestone-reached", "follow-up-prepared")),
    ],
)
def test_the_duty_rules_are_those_of_the_contract(
    name: str, clause: str, opened: tuple, fulfilled: tuple
) -> None:
    rule = POLICY.duty(name)
    assert rule.clause == clause
    assert (rule.opened_by.event, rule.opened_by.milestone) == opened
    assert (rule.fulfilled_by.event, rule.fulfilled_by.milestone) == fulfilled


def test_a_duty_is_joined_by_its_subject_whichever_event_names_it() -> None:
    rule = POLICY.duty("record-24h")
    assert rule.subject_of("milestone-reached", {"subject": "f1"}) == "f1"
    assert rule.subject_of("follow-up-recorded", {"follow_up_id": "f1"}) == "f1"
    joined = POLICY.duty("session-record-2h")
    assert joined.subject_of("session-completed", {"case_id": "k1", "session_no": 3}) == "k1:3"
    assert joined.subject_of("session-completed", {"case_id": "k1"}) is None


@pytest.mark.clause("F37", "F39", "F41", "F74")
@pytest.mark.parametrize(
    ("name", "value"),
    [("coverage-closed", 0.9), ("coverage-in-counselling", 1.0), ("coverage-key-attention", 1.0),
     ("follow-up-satisfaction", 4.0)],
)  # fmt: skip
def test_targets(name: str, value: float) -> None:
    assert POLICY.target(name).value == value


@pytest.mark.clause("F59", "A30")
def test_the_head_is_told_in_time_and_the_chain_never_falls_silent() -> None:
    crisis = POLICY.crisis
    assert [(s.name, s.after) for s in crisis.escalation] == [
        ("on-call", timedelta(0)),
        ("second", timedelta(minutes=5)),
        ("head", timedelta(minutes=10)),
        ("everyone", timedelta(minutes=15)),
    ]
    assert crisis.intervention_within == timedelta(minutes=30)
    ages = [timedelta(hours=age) for age in (0, 1.9, 2, 23, 24, 7 * 24, 30 * 24, 400 * 24)]
    repetitions = [crisis.repetition(age) for age in ages]
    assert [repeat.every / timedelta(hours=1) for repeat in repetitions] == [
        0.25, 0.25, 0.5, 0.5, 4, 24, 7 * 24, 7 * 24,
    ]  # fmt: skip
    assert [repeat.begin_at for repeat in repetitions] == [None, None, *["everyone"] * 6]


def test_rows_are_found_by_name_and_by_clause() -> None:
    assert [row.name for row in POLICY.of_clause("F40")] == ["key-15d", "key-1m", "key-3m", "key-6m"]
    assert [row.name for row in POLICY.of_clause("A30")] == ["crisis-chain"]
    assert POLICY.rule("crisis-aftercare", "7d").clause == "A32"
    for missing in (("nothing", None), ("crisis-aftercare", None), ("closed-15d", "3m")):
        with pytest.raises(KeyError, match="rows named"):
            POLICY.rule(*missing)
    with pytest.raises(KeyError, match="is a FollowUpRule, not a DutyRule"):
        POLICY.duty("closed-15d")


def test_w23_w26_w28_who_is_refused() -> None:
    rules = POLICY.eligibility
    assert rules.services == ("workplace-adaptation",)
    assert (rules.health.clause, rules.health.refused) == ("W26", ("acute_crisis", "severe_illness"))
    individuals = rules.individuals
    assert (individuals.clause, individuals.youngest, individuals.oldest) == ("W23", 18, 60)
    assert individuals.employment == ("employed", "about-to-start")
    assert (rules.enterprises.clauses, rules.enterprises.agreements) == (("W28", "W27"), True)


@pytest.mark.clause("F13", "W40")
def test_f13_what_calls_for_attention_and_w40_how_often_sessions_are_held() -> None:
    assert [(row.clause, row.scale, row.bands) for row in POLICY.attention.severe] == [
        ("F13", "phq-9", ("severe",)), ("F13", "gad-7", ("severe",)),
    ]  # fmt: skip
    weekly = POLICY.frequency("sessions-a-week")
    assert (weekly.clause, weekly.at_least, weekly.at_most) == ("W40", 1, 2)


def test_how_long_a_client_may_be_silent_is_said_once(tmp_path: Path) -> None:
    assert POLICY.reminder("silent-client").after == POLICY.switches.silent_after == timedelta(days=30)
    never = load(changed(tmp_path, "silent_after: &silent 30 days", "silent_after: &silent 0 days"))
    assert never.reminder("silent-client").after == timedelta(0)


# --- mistakes -----------------------------------------------------------------------------------------------------


def changed(tmp_path: Path, old: str, new: str) -> Path:
    assert old in TEXT
    file = tmp_path / "regime.yaml"
    file.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    return file


def line_of(text: str) -> int:
    return TEXT[: TEXT.index(text)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "field", "says"),
    [
        ("    anchor: closed_at", "    ancor: closed_at", "follow_ups.0.ancor", "remove it or correct"),
        (
            "    after: 15 days",
            "    after: 15 weeks",
            "follow_ups.0.after",
            "is no period of days and months",
        ),
        ("    move: working-day", "    move: sideways", "follow_ups.0.move", "'inside-limit'"),
        ('  hour: "10:00" ', "  hour: 10:00 ", "switches.hour", "correct the value"),
        ("  zone: Asia/Shanghai", "  zone: Asia/Atlantis", "switches.zone", "is no time zone"),
        ("    limit: {hours: 24}", "    limit: {hours: 24, days: 1}", "duties.0.limit", "exactly one of"),
        ("{flag: needs-counselling}", "{}", "duties.1.opened_by.when", "exactly one of"),
        (
            "  intervention_within: 30 min",
            "  intervention_within: soon",
            "crisis.intervention_within",
            "unit",
        ),
        ("{day_of_month: 5, ", "{day_of_month: 31, ", "calendar.0.due.day_of_month", "28"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_field(
    tmp_path: Path, old: str, new: str, field: str, says: str
) -> None:
    file = changed(tmp_path, old, new)
    with pytest.raises(PolicyError) as caught:
        load(file)
    problem = next(p for p in caught.value.problems if p.field == field)
    assert problem.line == line_of(old)
    assert str(problem).startswith(f"{file}:{problem.line}: {field}: ")
    assert says in str(problem)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    clause: F36\n", "", "clause: Field required - add it"),
        ("    complete_after: 7 days\n", "", "either within or complete_after"),
        ("    every_sessions: 3\n", "", "every_sessions is given exactly where"),
        ("name: closed-3m", "name: closed-15d\n    note: x", None),
        ("name: match-2wd", "name: record-24h", "more than one row is named record-24h"),
        ("role: administration", "role: butler", "the role butler is not listed"),
        ("after: 10 min}", "after: 12 min}", "F59"),
        ("    - {every: 7 days, begin_at: everyone}\n", "", "repeat"),
        ("begin_at: everyone", "begin_at: nobody", "names no step of the escalation: nobody"),
        ("youngest: 18", "youngest: 81", "youngest must not be above oldest"),
        ("milestone: counsellor-matched", "when: {flag: x}", "milestone is given exactly where"),
        ("before: 10 min", "before: 10 min\n    after: 1 h", "either before or after"),
    ],
)
def test_a_regime_that_contradicts_itself_is_refused(
    tmp_path: Path, old: str, new: str, says: str | None
) -> None:
    file = changed(tmp_path, old, new)
    if says is None:
        assert isinstance(load(file), Policy)  # the same name with another step is no contradiction
        return
    with pytest.raises(PolicyError, match=says):
        load(file)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "regime.yaml"
    file.write_text("version: 1\nroles: []\nsurprise: yes\n", encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        load(file)
    fields = {p.field: p.line for p in caught.value.problems}
    assert fields["version"] == 1
    assert fields["surprise"] == 3
    assert {"switches", "crisis", "duties"} <= set(fields)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a: 1\nb: [\n", r"regime.yaml:3: file: no valid YAML"),
        ("version: a\nroles: []\nroles: []\n", r"regime.yaml:3: roles: is given twice - keep one"),
        ("", r"regime.yaml:1: file: .*object"),
        (b"\xff\xfe\xfa", r"regime.yaml:1: file: unreadable \(not written in UTF-8\)"),
    ],
)
def test_a_file_that_is_no_regime(tmp_path: Path, content: str | bytes, says: str) -> None:
    file = tmp_path / "regime.yaml"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(PolicyError, match=says):
        load(file)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"none.yaml:1: file: unreadable .* - check the path"):
        load(tmp_path / "none.yaml")
