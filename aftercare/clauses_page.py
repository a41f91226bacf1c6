"""Every clause on one page, with what carries it and which tests prove it.

`python -m aftercare.clauses_page` writes `docs/clauses.md` from `shared/policy/clauses.yaml`, the rows of the policy,
the questions of the questionnaire, and the marks `@pytest.mark.clause("F36")` of the tests, which are read and not run.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path

from services.survey.domain import questionnaire
from shared.policy.clauses import Clause, known_clauses
from shared.policy.model import (
    Approval,
    Bound,
    CalendarRule,
    Certificate,
    ClassRule,
    CountBound,
    CrisisChain,
    DutyRule,
    EnterprisesGate,
    FollowUpRule,
    Frequency,
    Gate,
    HealthGate,
    IndividualsGate,
    IntakeForm,
    Policy,
    ReminderRule,
    Row,
    Sample,
    Seat,
    Severe,
    Target,
)
from shared.policy.versions import load

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "clauses.md"
TESTS = ROOT / "tests"

_OPENING = """# The clauses, what carries them, and what proves it

<!-- Written by `python -m aftercare.clauses_page` from clauses.yaml, the policy and the tests. Do not edit. -->

Three documents of the company say what must be done: **F**, the follow-up regime; **A**, the after-sales service plan;
**W**, the workplace-adaptation regime. Each clause stands here in our own words, beside the rows of the policy
(`aftercare policy explain F40` says them in full), the questions and the modules that carry it, and the tests that
prove it. The mark says how software can carry a clause; `text` is out of its reach: listed, not built.

| mark | meaning |
|---|---|
| `plan` | a follow-up that must be planned and conducted |
| `duty` | something a role must do by a deadline, opened by an event |
| `date` | a duty opened by the calendar |
| `gate` | a thing the system must refuse |
| `form` | what is asked, shown or recorded |
| `remind` | a message at a time |
| `rate` | a figure measured against a target |
| `page` | an urgent page to a person on call |
| `text` | out of software's reach |
"""

_DOCUMENTS = {
    "F": "The follow-up regime",
    "A": "The after-sales service plan",
    "W": "The workplace-adaptation regime",
}

_KINDS: Mapping[type[Row], tuple[str, str | None]] = {
    Approval: ("approval", None),
    ClassRule: ("class", "intake"),
    Gate: ("gate", None),
    FollowUpRule: ("follow-up", "scheduler"),
    DutyRule: ("duty", "scheduler"),
    CalendarRule: ("date", "scheduler"),
    ReminderRule: ("reminder", "scheduler"),
    Target: ("target", "reporting"),
    Sample: ("sample", "survey"),
    HealthGate: ("gate", "intake"),
    IndividualsGate: ("gate", "intake"),
    EnterprisesGate: ("gate", "intake"),
    Severe: ("scale", "intake"),
    Frequency: ("frequency", "intake"),
    CountBound: ("bound", "intake"),
    IntakeForm: ("form", "intake"),
    Bound: ("bound", None),
    Certificate: ("certificate", "survey"),
    Seat: ("seat", "reporting"),
    CrisisChain: ("chain", "crisis"),
}


@dataclass(frozen=True)
class Carrier:
    """What carries a clause: a kind of row, `question` or `code`, its name, and the service that carries it out."""

    kind: str
    name: str
    service: str | None


def carriers(clause: Clause, policy: Policy) -> list[Carrier]:
    """What carries a clause: rows of the policy, then questions, then modules."""
    return [
        *dict.fromkeys(_of_row(row) for row in policy.of_clause(clause.id)),
        *(Carrier("question", name, "survey") for name in _questions().get(clause.id, ())),
        *(Carrier("code", code, code.split(":")[0]) for code in clause.code),
    ]


def _of_row(row: Row) -> Carrier:
    kind, service = _KINDS[type(row)]
    return Carrier(kind, row.name, row.service if isinstance(row, Gate) else service)


@cache
def _questions() -> Mapping[str, tuple[str, ...]]:
    """Clause to the questions of the questionnaire that carry it."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for question in questionnaire.load(timedelta.max).questions:
        found[question.clause].append(question.id)
    return {clause: tuple(names) for clause, names in found.items()}


# --- the tests ------------------------------------------------------------------------------------------------


def proofs(tests: Path = TESTS) -> Mapping[str, tuple[str, ...]]:
    """Clause to the tests that are marked as proving it: `unit/policy/test_regime.py::test_targets`."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for file in sorted(tests.rglob("test_*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for name, clauses in _marked(tree, ()):
            for clause in clauses:
                found[clause].append(f"{file.relative_to(tests)}::{name}")
    return {clause: tuple(dict.fromkeys(names)) for clause, names in found.items()}


def _marked(
    tree: ast.Module | ast.ClassDef, inherited: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each test with the clauses of its own marks, those in its parameters among them, and of what it stands in."""
    assigned = [node.value for node in tree.body if isinstance(node, ast.Assign) and _is_pytestmark(node)]
    here = (*inherited, *_clauses_in(assigned))
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from _marked(node, (*here, *_clauses_in(node.decorator_list)))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node.name, (*here, *_clauses_in(node.decorator_list))


def _is_pytestmark(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets)


def _clauses_in(nodes: list[ast.expr]) -> tuple[str, ...]:
    calls = (call for node in nodes for call in ast.walk(node) if isinstance(call, ast.Call))
    marks = (call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "clause")
    return tuple(
        str(argument.value) for mark in marks for argument in mark.args if isinstance(argument, ast.Constant)
    )


# --- the page -------------------------------------------------------------------------------------------------


def page() -> str:
    """The page: the open clauses first, then a table for each document."""
    policy, proven, clauses = load(), proofs(), known_clauses()
    parts = [_OPENING, _open([clause for clause in clauses.values() if clause.open])]
    for letter, title in _DOCUMENTS.items():
        rows = [_row(clause, policy, proven) for clause in clauses.values() if clause.id.startswith(letter)]
        head = "| clause | asks for | mark | carried by | service | proven by |\n|---|---|---|---|---|---|"
        parts.append("\n".join([f"## {letter}: {title}\n", head, *rows, ""]))
    return "\n".join(parts)


def _open(clauses: list[Clause]) -> str:
    count = f"{len(clauses)} clauses are" if len(clauses) != 1 else "1 clause is"
    rows = [f"| {clause.id} | {_cell(clause.says)} | {_cell(clause.open or '')} |" for clause in clauses]
    head = "| clause | asks for | what is missing |\n|---|---|---|"
    return "\n".join([f"## Open\n\n{count} not carried yet, or not whole.\n", head, *rows, ""])


def _row(clause: Clause, policy: Policy, proven: Mapping[str, tuple[str, ...]]) -> str:
    found = carriers(clause, policy)
    by_kind: defaultdict[str, list[str]] = defaultdict(list)
    for carrier in found:
        by_kind[carrier.kind].append(f"`{carrier.name}`")
    carried = "; ".join(f"{kind} {', '.join(names)}" for kind, names in by_kind.items())
    services = ", ".join(dict.fromkeys(carrier.service for carrier in found if carrier.service))
    tests = ", ".join(f"`{test}`" for test in proven.get(clause.id, ()))
    mark = f"`{clause.mark}`" + (", open" if clause.open else "")
    cells = (clause.id, clause.says, mark, carried or "-", services or "-", tests or "-")
    return "| " + " | ".join(map(_cell, cells)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
