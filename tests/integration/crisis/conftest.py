"""The crisis service on real engines, with a bot of its own that is no bot."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from aftercare.cli import app
from aftercare.configuration import variable
from aftercare.fake_wecom import UNLIMITED, FakeWeCom
from tests.conftest import Start

if TYPE_CHECKING:
    from tests.system import System

Invoke = Callable[..., Awaitable[Result]]

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


@pytest.fixture
def incidents(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Invoke:
    """`await incidents("verify")` runs `aftercare incidents verify` on this test's database."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AFTERCARE_")]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(variable(name), str(value).lower() if isinstance(value, bool) else str(value))

    async def invoke(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, ["incidents", *arguments])

    return invoke
