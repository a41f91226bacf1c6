"""What the pages name exists: links lead to files and headings, and each named test is a test."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / name for name in ("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md")
] + sorted((ROOT / "docs").rglob("*.md"))

_LINK = re.compile(r"\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")
_TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)`")
_CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_inside_the_repository_leads_somewhere(page: Path) -> None:
    for match in _LINK.finditer(_CODE.sub("", page.read_text(encoding="utf-8"))):
        target, _, heading = (match[1] or match[2]).partition("#")
        if "://" in target:
            continue
        place = (page.parent / target) if target else page
        assert place.exists(), f"{name_of(page)}: {target}"
        if heading:
            assert heading in headings(place), f"{name_of(page)}: {target}#{heading}"


@cache
def headings(page: Path) -> frozenset[str]:
    """The names by which the headings of a page can be linked to."""
    found = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_is_named_exists(page: Path) -> None:
    for file, test in _TEST.findall(page.read_text(encoding="utf-8")):
        found = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob(file)]
        assert any(f"def {test}(" in text for text in found), f"{name_of(page)}: {file}::{test}"


def test_each_row_on_bad_input_has_its_answer_in_every_column() -> None:
    tables = re.findall(
        r"(?:^\|.*\n)+", (ROOT / "docs" / "bad-input.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert len(tables) >= 5
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1, table.splitlines()[0]
