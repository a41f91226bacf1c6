"""Versions of the policy: their order, which is in force, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.policy.model import REGIME
from shared.policy.reading import PolicyError
from shared.policy.versions import load_versions
from tests.unit.policy.regime import POLICY, at

TEXT = REGIME.read_text(encoding="utf-8")


def version(folder: Path, name: str, begins: str, zone: str = "Asia/Shanghai") -> Path:
    text = TEXT.replace('version: "2026-1"', f'version: "{name}"')
    text = text.replace("effective_from: 2026-01-01", f"effective_from: {begins}")
    file = folder / f"{name}.yaml"
    file.write_text(text.replace("zone: Asia/Shanghai", f"zone: {zone}"), encoding="utf-8")
    return file


def test_files_named_in_any_order_give_the_versions_in_theirs(tmp_path: Path) -> None:
    files = [
        version(tmp_path, name, day)
        for name, day in (("b", "2026-07-01"), ("c", "2027-01-01"), ("a", "2026-01-01"))
    ]
    assert [policy.version for policy in load_versions(*files).versions] == ["a", "b", "c"]
    assert load_versions(tmp_path) == load_versions(*reversed(files))


def test_without_a_name_it_is_the_shipped_one() -> None:
    assert load_versions().versions == (POLICY,)


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("2026-01-01 00:00:00", "a"),
        ("2026-06-30 23:59:59", "a"),
        ("2026-07-01 00:00:00", "b"),  # from the first second of its day in Shanghai
        ("2030-01-01 00:00:00", "b"),
    ],
)
def test_the_version_in_force(tmp_path: Path, instant: str, expected: str) -> None:
    version(tmp_path, "a", "2026-01-01")
    version(tmp_path, "b", "2026-07-01")
    assert load_versions(tmp_path).at(at(instant)).version == expected


def test_a_day_begins_in_the_versions_own_zone(tmp_path: Path) -> None:
    version(tmp_path, "a", "2026-01-01")
    version(tmp_path, "b", "2026-07-01", zone="Europe/Berlin")
    policies = load_versions(tmp_path)
    assert policies.at(at("2026-07-01 05:59:59")).version == "a"
    assert policies.at(at("2026-07-01 06:00:00")).version == "b"


def test_before_the_first_none_is_in_force() -> None:
    with pytest.raises(LookupError, match="no version is in force before 2026-1, which begins 2026-01-01"):
        load_versions().at(at("2025-12-31 23:59:59"))


def test_a_decision_on_something_older_goes_by_the_first(tmp_path: Path) -> None:
    version(tmp_path, "a", "2026-01-01")
    version(tmp_path, "b", "2026-07-01")
    policies = load_versions(tmp_path)
    found = [
        policies.by(at(when)).version for when in ("2019-05-05 10:00", "2026-06-30 23:59", "2026-07-01 00:00")
    ]
    assert found == ["a", "a", "b"]


@pytest.mark.parametrize(
    ("names", "days", "field"),
    [
        (("a", "a2"), ("2026-01-01", "2026-01-01"), "effective_from"),
        (("a", "a"), ("2026-01-01", "2026-07-01"), "version"),
    ],
)
def test_two_versions_of_one_day_or_one_name_are_refused(
    tmp_path: Path, names: tuple[str, str], days: tuple[str, str], field: str
) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, name, day in zip(folders, names, days, strict=True):
        folder.mkdir()
        version(folder, name, day)
    with pytest.raises(PolicyError) as caught:
        load_versions(*folders)
    (problem,) = caught.value.problems
    assert (problem.field, problem.line) == (field, 1 + TEXT[: TEXT.index(f"\n{field}:") + 1].count("\n"))
    assert "one" in problem.reason


def test_the_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    for name, day in (("a", "2026-01-01"), ("b", "2026-07-01")):
        file = version(tmp_path, name, day)
        file.write_text(
            file.read_text(encoding="utf-8").replace("clause: F62", "clause: F99"), encoding="utf-8"
        )
    with pytest.raises(PolicyError) as caught:
        load_versions(tmp_path)
    assert [problem.file.name for problem in caught.value.problems] == ["a.yaml", "b.yaml"]


def test_a_folder_without_a_policy_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no policy lies here - put one there"):
        load_versions(tmp_path)
