"""The survey on real engines, with a gateway that behaves like the company's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from tests.conftest import Start
from tests.integration.survey.gateway import FakeGateway, fake_gateway

if TYPE_CHECKING:
    from tests.system import System


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with fake_gateway() as gateway:
        yield gateway


@pytest.fixture
async def survey(stack: Start, gateway: FakeGateway) -> AsyncIterator[System]:
    """The survey alone, on the Monday of the scheduled Tuesday, with a gateway."""
    own = {
        "gateway_url": gateway.url,
        "gateway_timeout_seconds": 0.3,
        "public_url": "https://ask.example.com/survey",
    }
    async with stack("survey", start="2026-03-17 10:00", survey=own) as system:
        yield system
