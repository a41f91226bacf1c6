"""Reading the policy: its versions one after the other, and which of them is in force at an instant."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time
from functools import cached_property
from pathlib import Path

from shared.policy.lint import check
from shared.policy.model import REGIME, Policy
from shared.policy.reading import PolicyError, Problem, problem_at, read


@dataclass(frozen=True)
class Policies:
    """Versions in the order in which they come into force, at least one."""

    versions: tuple[Policy, ...]

    def at(self, instant: datetime) -> Policy:
        """The version in force. Each begins with its day, in its own time zone.

        Raises LookupError for an instant before the first one.
        """
        number = bisect_right(self._begin, instant)
        if not number:
            first = self.versions[0]
            raise LookupError(
                f"no version is in force before {first.version}, which begins {first.effective_from}"
            )
        return self.versions[number - 1]

    def by(self, instant: datetime) -> Policy:
        """The version that a decision of this instant goes by. What is older than the first one goes by the first."""
        return self.versions[max(bisect_right(self._begin, instant) - 1, 0)]

    @cached_property
    def _begin(self) -> tuple[datetime, ...]:
        return tuple(map(in_force_from, self.versions))


def in_force_from(policy: Policy) -> datetime:
    """The instant at which a version comes into force, in UTC."""
    return datetime.combine(policy.effective_from, time(), policy.switches.zone).astimezone(UTC)


def load(path: Path | None = None) -> Policy:
    """The regime, checked. Raises PolicyError with file, line, field and advice for each mistake."""
    file = path or REGIME
    policy = read(file, Policy)
    check(file, policy)
    return policy


def load_versions(*paths: Path | None) -> Policies:
    """The versions in some files, and in every `.yaml` of some directories; the shipped one where none is named.

    Raises PolicyError with every mistake of every file, where two versions have one name or begin on one day, and for
    a directory without a policy.
    """
    problems: list[Problem] = []
    found: list[tuple[Path, Policy]] = []
    for file in _files([path for path in paths if path] or [REGIME], problems):
        try:
            found.append((file, load(file)))
        except PolicyError as error:
            problems += error.problems
    found.sort(key=lambda version: (version[1].effective_from, version[1].version, version[0]))
    problems += _clashes(found)
    if problems:
        raise PolicyError(problems)
    return Policies(tuple(policy for _, policy in found))


def _files(paths: Iterable[Path], problems: list[Problem]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
        elif files := sorted(path.glob("*.yaml")):
            yield from files
        else:
            problems.append(Problem(path, 1, "file", "no policy lies here", "put one there, ending in .yaml"))


def _clashes(versions: list[tuple[Path, Policy]]) -> Iterator[Problem]:
    for field in ("version", "effective_from"):
        seen: dict[object, Path] = {}
        for file, policy in versions:
            value = getattr(policy, field)
            if value in seen:
                yield problem_at(file, (field,), f"{value} is that of {seen[value]} too", "give each its own")
            seen[value] = file
