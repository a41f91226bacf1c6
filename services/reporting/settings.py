"""What the reporting service can be told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shared.settings import Settings


class ReportingSettings(Settings):
    """Settings of the reporting service."""

    http_port: Annotated[int, Field(ge=0, le=65535)] = 8005
    """The port to listen on."""
