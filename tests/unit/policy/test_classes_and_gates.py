"""Classes and gates as rows: what makes a class, and that what is said to be refused is refused in the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.intake.domain import ledger as domain
from services.survey.domain import staff
from shared.contracts.events import CaseClass, CaseStatus
from shared.policy.clauses import load_clauses
from shared.policy.model import Gate
from tests.unit.intake.test_ledger import CLASSES, ledger
from tests.unit.policy.regime import POLICY

ROOT = Path(__file__).parents[3]
OPEN = {clause.id for clause in load_clauses().values() if clause.open}


@pytest.mark.clause("F11", "F12", "F13", "F14")
@pytest.mark.parametrize(
    ("status", "sessions", "attention", "expected"),
    [
        ("open", 0, False, "new"),
        ("open", 2, False, "new"),
        ("open", 3, False, "in-counselling"),
        ("open", 3, True, "key-attention"),
        ("open", 0, True, "key-attention"),
        ("closed", 8, False, "closed"),
        ("closed", 8, True, "key-attention"),
        ("dropped", 2, False, "dropped"),
        ("dropped", 8, True, "dropped"),
        ("referred", 0, False, "new"),
    ],
)
def test_what_makes_a_class(status: CaseStatus, sessions: int, attention: bool, expected: CaseClass) -> None:
    assert POLICY.class_of(status, sessions, attention) == expected


@pytest.mark.parametrize("name", CLASSES)
def test_the_rows_say_what_intake_does(name: str) -> None:
    story, _ = CLASSES[name]
    case = ledger(*story.events)
    said = domain.attention(case, POLICY)
    attentive = said is not None and said.state != "lifted"
    assert POLICY.class_of(domain.status(case, POLICY), len(case.sessions), attentive) == domain.case_class(
        case, POLICY
    )


def test_intake_counts_as_many_sessions_as_the_row() -> None:
    (row,) = [row for row in POLICY.classes if row.name == "in-counselling"]
    assert row.sessions_from == domain.IN_COUNSELLING_FROM


@pytest.mark.parametrize(
    "gate", [gate for gate in POLICY.gates if gate.clause not in OPEN], ids=lambda gate: gate.name
)
def test_a_gate_gives_its_reason_in_the_code_of_its_service(gate: Gate) -> None:
    folders = (ROOT / "services" / gate.service, ROOT / "shared" / "contracts", ROOT / "shared" / "web")
    code = "".join(file.read_text(encoding="utf-8") for folder in folders for file in folder.rglob("*.py"))
    assert f'"{gate.reason}"' in code


def test_the_gates_of_staff_are_the_objections_to_a_person() -> None:
    gates = {gate.name.removeprefix("staff-") for gate in POLICY.gates if gate.name.startswith("staff-")}
    assert gates == set(staff.Objection.__args__)
