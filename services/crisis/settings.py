"""What the crisis service can be told by environment variables."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from services.crisis.addresses import Address, WeComAddress
from shared.settings import Settings


class CrisisSettings(Settings):
    """Settings of the crisis service."""

    http_port: int = 8004
    """The port to listen on."""
    nice: Annotated[int, Field(ge=0, le=19)] = 0
    """How far this service stands back for others on the same machine: not at all, so that no page waits for them."""
    roster_file: Path | None = None
    """YAML with the people who can be paged: their roles and channels. Unset: every page goes to `crisis_channels`."""
    rota_file: Path | None = None
    """YAML with who is on call when (docs/on-call.md); read again when it changes. Unset: a page to a role goes to
    everybody who has it."""
    workdays_file: Path | None = None
    """The notices on working days that the calendar library does not know yet, instead of those of the release."""
    calendar_edition: int = 1
    """Part of the key of calendar addresses: with another number none of those given out before works."""
    crisis_channels: tuple[Address, ...] = ()
    """JSON list of channels that get what reaches nobody else: `[{"kind": "wecom", "url": "https://..."}]`."""
    wecom_webhooks: SecretStr = SecretStr("")
    """The same for WeCom bots alone: their addresses, keys included, separated by commas."""
    client_url: str = ""
    """Link from a page to the company's own record of the client; `{client_id}` is filled in."""
    heartbeat_url: SecretStr | None = None
    """Requested every 20 seconds while all is well, so that somebody outside notices when it is not."""
    page_link_valid: timedelta = timedelta(hours=24)
    """How long the link to acknowledge in a message can be used; at least until the next page brings a newer one."""
    console_client_id: str = ""
    """The client, public and with PKCE, as which the console signs supervisors in at `AFTERCARE_OIDC_ISSUER`. Its
    redirect address is `<AFTERCARE_PUBLIC_URL>/console`. Unset: a token has to be pasted."""
    console_scope: str = "openid"
    """The scopes that the console asks for, separated by spaces."""
    help_file: Path | None = None
    """The telephone numbers that the console shows (YAML), instead of those that come with the release."""
    page_timeout: float = 5.0
    """Seconds that a provider has for its answer."""
    page_budgets: bool = True
    """Send a little less over each channel than its provider takes, and then use the next. Off only for providers that
    are none, in tests."""

    def fallback(self) -> tuple[Address, ...]:
        """The channels that get what reaches nobody else, first choice first."""
        bots = [url.strip() for url in self.wecom_webhooks.get_secret_value().split(",") if url.strip()]
        return (*(WeComAddress(url=SecretStr(url)) for url in bots), *self.crisis_channels)
