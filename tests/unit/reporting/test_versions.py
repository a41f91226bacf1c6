"""A month is judged by the targets in force at its end."""

from __future__ import annotations

from datetime import date

import pytest

from services.reporting.domain.months import policy_of
from shared.policy.versions import Policies
from tests.builders import at
from tests.unit.policy.regime import POLICY

SECOND = POLICY.model_copy(update={"version": "2026-2", "effective_from": date(2026, 7, 1)})
POLICIES = Policies((POLICY, SECOND))


@pytest.mark.parametrize(
    ("month", "now", "version"),
    [
        ("2026-06", "2026-06-15", "2026-1"),
        ("2026-06", "2026-07-05", "2026-1"),  # reported when the next version is in force
        ("2026-07", "2026-07-05", "2026-2"),
        ("2026-07", "2026-06-30", "2026-1"),
        ("2025-12", "2026-07-05", "2026-1"),
    ],
)
def test_the_version_at_its_end_counts(month: str, now: str, version: str) -> None:
    assert policy_of(month, POLICIES, at(now)).version == version
