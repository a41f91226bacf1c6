"""The hour of faults takes longer than the other tests: what it shortens has to be there."""

from __future__ import annotations

from tests.failure.fast_service import SHORTER


def test_what_the_fast_service_shortens_exists() -> None:
    assert all(isinstance(getattr(module, name), float) for module, name in SHORTER)
