"""What the survey service can be told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from shared.settings import Settings


class SurveySettings(Settings):
    """Settings of the survey service."""

    http_port: Annotated[int, Field(ge=0, le=65535)] = 8003
    """The port to listen on."""
    gateway_url: str | None = None
    """The company's message gateway, which knows how to reach a client; unset: messages to clients stay pending."""
    gateway_token: SecretStr | None = None
    """The bearer token for the message gateway; unset: none is sent."""
    gateway_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    """How long the gateway may take to answer before the message is tried again later."""
    crisis_url: str | None = None
    """Where the crisis service is: takes a crisis over HTTP that the bus does not take within seconds."""
    crisis_token: SecretStr | None = None
    """The bearer token for it (role publisher); in development one is made from the token secret."""
    crisis_patience_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    """How long a crisis may wait for the bus before it goes over HTTP."""
    help_file: Path | None = None
    """The telephone numbers of the help page (YAML), instead of those that come with the service."""
