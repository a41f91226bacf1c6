"""What the crisis service can be told by environment variables."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from services.crisis.roster import Address, WeComAddress
from shared.settings import Settings


class CrisisSettings(Settings):
    """Settings of the crisis service."""

    http_port: int = 8004
    """The port to listen on."""
    roster_file: Path | None = None
    """YAML with the people who can be paged: their roles and channels. Unset: every page goes to `crisis_channels`."""
    crisis_channels: tuple[Address, ...] = ()
    """JSON list of channels that get what reaches nobody else: `[{"kind": "wecom", "url": "https://..."}]`."""
    wecom_webhooks: SecretStr = SecretStr("")
    """The same for WeCom bots alone: their addresses, keys included, separated by commas."""
    client_url: str = ""
    """Link from a page to the company's own record of the client; `{client_id}` is filled in."""
    heartbeat_url: SecretStr | None = None
    """Requested every 20 seconds while all is well, so that somebody outside notices when it is not."""
    page_link_valid: timedelta = timedelta(hours=24)
    """How long the link to acknowledge in a message can be used."""
    console_client_id: str = ""
    """The client, public and with PKCE, as which the console signs supervisors in at `AFTERCARE_OIDC_ISSUER`. Its
    redirect address is `<AFTERCARE_PUBLIC_URL>/console`. Unset: a token has to be pasted."""
    console_scope: str = "openid"
    """The scopes that the console asks for, separated by spaces."""
    help_file: Path | None = None
    """The telephone numbers that the console shows (YAML), instead of those that come with the release."""
    page_timeout: float = 5.0
    """Seconds that a provider has for its answer."""

    def fallback(self) -> tuple[Address, ...]:
        """The channels that get what reaches nobody else, first choice first."""
        bots = [url.strip() for url in self.wecom_webhooks.get_secret_value().split(",") if url.strip()]
        return (*(WeComAddress(url=SecretStr(url)) for url in bots), *self.crisis_channels)
