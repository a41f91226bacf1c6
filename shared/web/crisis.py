"""The crisis service over HTTP: the way of a crisis that the bus does not take within seconds."""

from __future__ import annotations

from datetime import timedelta

import httpx
from pydantic import SecretStr

from shared.settings import Settings
from shared.web.auth import issue_token


def crisis_client(
    service: str, settings: Settings, url: str | None, token: SecretStr | None
) -> httpx.AsyncClient | None:
    """A client of the crisis service for another service; None where its address is not known."""
    if not url:
        return None
    bearer = token.get_secret_value() if token else None
    if bearer is None and settings.token_secret:
        secret = settings.token_secret.get_secret_value()
        bearer = issue_token(secret, f"aftercare-{service}", ["publisher"], timedelta(days=3650))
    return httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {bearer}"}, timeout=5.0)
