"""What the scheduler can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from shared.settings import Settings


class SchedulerSettings(Settings):
    """Settings of the scheduler service."""

    http_port: Annotated[int, Field(ge=0, le=65535)] = 8002
    """The port to listen on."""
    workdays_file: Path | None = None
    """The notices on working days that the calendar library does not know yet, instead of those of the release."""
    timer_batch: Annotated[int, Field(ge=1, le=10_000)] = 500
    """The most timers that one transaction fires."""
