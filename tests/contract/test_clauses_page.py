"""Every clause is carried and proven, or listed as open; docs/clauses.md shows it as it stands."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from aftercare.clauses_page import PAGE, ROOT, Carrier, carriers, page, proofs
from shared.policy.clauses import Clause, known_clauses, load_clauses
from shared.policy.reading import PolicyError
from shared.policy.versions import load

CLAUSES = known_clauses()
POLICY = load()
PROVEN = proofs()
CARRYABLE = [clause for clause in CLAUSES.values() if clause.mark != "text" and not clause.open]


def by_id(clause: Clause) -> str:
    return clause.id


def test_the_committed_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `python -m aftercare.clauses_page`"


def test_every_clause_of_the_three_documents_is_told_in_its_order() -> None:
    expected = [
        f"{letter}{n}" for letter, last in (("F", 76), ("A", 32), ("W", 48)) for n in range(1, last + 1)
    ]
    assert list(CLAUSES) == expected


@pytest.mark.parametrize("clause", CARRYABLE, ids=by_id)
def test_a_clause_is_carried_and_proven(clause: Clause) -> None:
    assert carriers(clause, POLICY), (
        f"nothing carries {clause.id}: a row, a question, code, or say why it is open"
    )
    assert PROVEN.get(clause.id), f"no test proves {clause.id}: mark one with @pytest.mark.clause"


@pytest.mark.parametrize("mark", ["plan", "duty", "date", "gate", "remind", "rate"])
def test_a_clause_is_carried_by_the_kind_of_row_that_its_mark_asks_for(mark: str) -> None:
    kinds = {
        "plan": {"follow-up"}, "duty": {"duty"}, "date": {"date"}, "gate": {"gate", "bound"},
        "remind": {"reminder"}, "rate": {"target"},
    }[mark]  # fmt: skip
    for clause in CARRYABLE:
        if clause.mark == mark:
            assert {carrier.kind for carrier in carriers(clause, POLICY)} & kinds, clause.id


@pytest.mark.parametrize("clause", [clause for clause in CLAUSES.values() if clause.code], ids=by_id)
def test_the_code_that_carries_a_clause_is_there(clause: Clause) -> None:
    for reference in clause.code:
        place, module = reference.split(": ")
        folder = ROOT / place if place in ("shared", "aftercare") else ROOT / "services" / place
        path = folder.joinpath(*module.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__init__.py").is_file(), reference


def test_every_mark_of_a_test_names_a_clause() -> None:
    assert set(PROVEN) <= set(CLAUSES)
    assert not [clause for clause in PROVEN if CLAUSES[clause].mark == "text"]


def test_the_open_clauses_stand_at_the_top_with_their_number() -> None:
    still_open = [clause for clause in CLAUSES.values() if clause.open]
    section = page().split("## Open\n")[1].split("\n## ")[0]
    assert section.strip().startswith(f"{len(still_open)} clauses are not carried yet")
    for clause in still_open:
        assert f"| {clause.id} | {clause.says} | {clause.open} |" in section


def test_what_carries_a_clause_names_its_service() -> None:
    assert Carrier("gate", "video-for-key-attention", "survey") in carriers(CLAUSES["F23"], POLICY)
    assert Carrier("question", "risk", "survey") in carriers(CLAUSES["F58"], POLICY)
    assert Carrier("code", "intake: api", "intake") in carriers(CLAUSES["F16"], POLICY)


def test_marks_are_read_from_functions_classes_modules_and_parameters(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(
        "import pytest\n"
        'pytestmark = pytest.mark.clause("F1")\n'
        '@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.clause("F2"))])\n'
        "def test_one(x): ...\n"
        '@pytest.mark.clause("F3", "F4")\n'
        "class TestAll:\n"
        '    @pytest.mark.clause("F5")\n'
        "    async def test_two(self): ...\n"
        "    def helper(self): ...\n",
        encoding="utf-8",
    )
    one, two = "test_a.py::test_one", "test_a.py::test_two"
    assert proofs(tmp_path) == {"F1": (one, two), "F2": (one,), "F3": (two,), "F4": (two,), "F5": (two,)}


@pytest.mark.parametrize(
    ("clauses", "says"),
    [
        ("  - {id: F1, mark: text, says: a}\n  - {id: F1, mark: text, says: b}\n", "F1 is told twice"),
        ("  - {id: F1, mark: text, says: a, open: b}\n", "F1 is out of software's reach"),
        ("  - {id: F1, mark: wish, says: a}\n", r"clauses.yaml:2: clauses.0.mark"),
        ("  - {id: X1, mark: text, says: a}\n", r"clauses.yaml:2: clauses.0.id"),
        ("  - {id: F1, mark: form, says: a, code: [survey]}\n", r"clauses.yaml:2: clauses.0.code.0"),
    ],
)
def test_a_spoilt_list_of_clauses_is_refused(tmp_path: Path, clauses: str, says: str) -> None:
    file = tmp_path / "clauses.yaml"
    file.write_text(f"clauses:\n{clauses}", encoding="utf-8")
    with pytest.raises(PolicyError, match=says):
        load_clauses(file)


def test_no_test_is_marked_by_a_name_that_the_page_cannot_read() -> None:
    """A clause that is no literal would count for pytest and not for the page."""
    for file in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "clause"
            ):
                assert node.args, file
                assert all(isinstance(argument, ast.Constant) for argument in node.args), file
