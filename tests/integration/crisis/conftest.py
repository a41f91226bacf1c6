"""The crisis service on real engines, with a bot of its own that is no bot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Start
from tests.integration.conftest import Invoke

if TYPE_CHECKING:
    from tests.system import System

START = "2026-04-01 10:00"


@pytest.fixture
async def system(stack: Start, paging: dict[str, Any]) -> AsyncIterator[System]:
    """The crisis service alone, whose pages go to the bot."""
    async with stack("crisis", start=START, crisis=paging) as system:
        yield system


@pytest.fixture
def incidents(aftercare: Invoke) -> Invoke:
    """`await incidents("verify")` runs `aftercare incidents verify` on this test's database."""
    return partial(aftercare, "incidents")
