"""What integration tests of several services use: a bot that is no bot, and the command line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aftercare.cli import app
from aftercare.configuration import variable
from aftercare.fake_wecom import UNLIMITED, FakeWeCom

Invoke = Callable[..., Awaitable[Result]]


@pytest.fixture
def bot() -> FakeWeCom:
    """A WeCom bot that takes any number of pages."""
    return FakeWeCom(per_minute=UNLIMITED)


@pytest.fixture
async def paging(bot: FakeWeCom) -> AsyncIterator[dict[str, Any]]:
    """Settings of crisis with which every page goes to the bot."""
    async with bot.serve() as address:
        yield {
            "wecom_webhooks": f"{address}?key=one",
            "public_url": "https://crisis.example",
            "client_url": "https://records.example/{client_id}",
            "page_budgets": False,  # as many as the bot takes
        }


@pytest.fixture
def aftercare(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Invoke:
    """`await aftercare("topics", "apply")` runs the command line on the engines, in this test's namespace."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("AFTERCARE_")]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(variable(name), str(value).lower() if isinstance(value, bool) else str(value))

    async def invoke(*arguments: str) -> Result:
        # In a thread: a command runs an event loop of its own.
        return await asyncio.to_thread(CliRunner().invoke, app, list(arguments))

    return invoke
