"""One running intake for all tests of a module that only speak HTTP with it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from aftercare.engines import Engines
from aftercare.stack import embedded_settings
from tests.builders import at
from tests.system import System, running_system


@pytest.fixture(scope="module")
async def intake(engines: Engines) -> AsyncIterator[System]:
    settings = embedded_settings(engines, "tests", f"t-{uuid.uuid4().hex[:12]}")
    async with running_system(settings, ["intake"], at("2026-05-06 09:00")) as system:
        yield system
