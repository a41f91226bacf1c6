"""The crisis service on real engines, with a bot of its own that is no bot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from aftercare.fake_wecom import UNLIMITED, FakeWeCom
from tests.conftest import Start

if TYPE_CHECKING:
    from tests.system import System

START = "2026-04-01 10:00"


@pytest.fixture
def bot() -> FakeWeCom:
    """A WeCom bot that takes any number of pages."""
    return FakeWeCom(per_minute=UNLIMITED)


@pytest.fixture
async def paging(bot: FakeWeCom) -> AsyncIterator[dict[str, Any]]:
    """Settings with which every page goes to the bot."""
    async with bot.serve() as address:
        yield {
            "wecom_webhooks": f"{address}?key=one",
            "public_url": "https://crisis.example",
            "client_url": "https://records.example/{client_id}",
            "page_budgets": False,  # as many as the bot takes
        }


@pytest.fixture
async def system(stack: Start, paging: dict[str, Any]) -> AsyncIterator[System]:
    """The crisis service alone, whose pages go to the bot."""
    async with stack("crisis", start=START, crisis=paging) as system:
        yield system
