"""Commands are tested in a folder of their own, with none of the developer's settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.unit.aftercare.command_line import Invoke


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("AFTERCARE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def aftercare() -> Invoke:
    """`aftercare("token", "--role", "supervisor")` runs the command line and gives its result."""
    from aftercare.cli import app

    def invoke(*arguments: str, **options: str) -> Result:
        return CliRunner().invoke(app, list(arguments), **options)  # type: ignore[arg-type]

    return invoke
