"""What the intake service can be told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr

from shared.settings import Settings


class IntakeSettings(Settings):
    """Settings of the intake service."""

    http_port: Annotated[int, Field(ge=0, le=65535)] = 8001
    """The port to listen on."""
    crisis_url: str | None = None
    """Where the crisis service is: takes a crisis over HTTP that the bus does not take within seconds."""
    crisis_token: SecretStr | None = None
    """The bearer token for it (role publisher); in development one is made from the token secret."""
    crisis_patience_seconds: Annotated[float, Field(gt=0, le=60)] = 2.0
    """How long a crisis may wait for the bus before it goes over HTTP."""
