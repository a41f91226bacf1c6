"""How a test calls the command line."""

from __future__ import annotations

from collections.abc import Callable

from typer.testing import Result

Invoke = Callable[..., Result]
"""`aftercare("token", "--role", "supervisor")` runs the command line and gives its result; `input=` is its input."""
