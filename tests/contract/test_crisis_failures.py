"""The page on crisis' failures leaves none out, and each line has its answer, its limit and a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/crisis-failures.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("|") and not line.startswith(("| fault", "|---"))
]

FAULTS = (
    "MongoDB is down when the flag comes",
    "MongoDB is down while a chain runs",
    "MongoDB comes back",
    "Kafka is down when a flag comes to intake",
    "it answers 500",
    "it hangs",
    "half open",
    "200 with an error code",
    "limits the rate or blocks",
    "all providers are down",
    "SIGKILL before",
    "SIGKILL during",
    "SIGKILL after",
    "two replicas race",
    "the clock steps back",
    "the clock steps ahead",
    "the person on call has no channel",
    "is crisis ready",
    "the rota is empty",
    "tapped twice",
    "expired",
    "forged",
    "preview robot",
)
"""What the product has promised an answer to."""


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_fault_has_an_answer_a_limit_and_a_test(row: list[str]) -> None:
    fault, happens, at_most, test = row
    assert fault
    assert happens
    assert at_most
    named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", test)
    assert named, fault
    for file, name in named:
        found = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob(file)]
        assert any(f"def {name}(" in text for text in found), f"{file}::{name}"


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_is_left_out(fault: str) -> None:
    assert [row for row in ROWS if fault in row[0]], fault
