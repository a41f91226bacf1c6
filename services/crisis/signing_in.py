"""Sign-in of the console: the authorization code flow with PKCE (RFC 6749, RFC 7636) as a public client.

The browser makes the secret and keeps it; we look up where the issuer wants to be asked and carry the exchange to it,
so that the page need not speak to any other origin. Nothing is kept here, and no token is ever in an address.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

import httpx
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from shared.settings import Settings
from shared.web.auth import openid_configuration
from shared.web.problems import Problem

Challenge = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]{43}$")]
"""SHA-256 of the verifier, or a random value of the same form."""


class Exchange(BaseModel):
    """What is exchanged for a token: a code with its verifier, or the refresh token of an earlier exchange."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    code: Annotated[SecretStr, Field(max_length=4096)] | None = None
    verifier: Annotated[SecretStr, Field(min_length=43, max_length=128)] | None = None
    refresh_token: Annotated[SecretStr, Field(max_length=8192)] | None = None


class Tokens(BaseModel):
    """What the browser keeps for as long as its tab is open."""

    token: str
    expires_in: int
    """Seconds."""
    refresh_token: str | None = None


class SignIn:
    """Speaks to the issuer for the console."""

    def __init__(
        self, settings: Settings, client_id: str, scope: str, back: str, http: httpx.AsyncClient
    ) -> None:
        self._issuer = str(settings.oidc_issuer)
        self._client_id = client_id
        self._scope = scope
        self._audience = settings.oidc_audience
        self._back = back
        self._http = http
        self._found: dict[str, Any] | None = None

    async def address(self, challenge: str, state: str) -> str:
        """Where the browser goes to sign in. Raises Problem 503."""
        found = await self._discover()
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._back,
            "scope": self._scope,
            "audience": self._audience,  # some issuers make the token out for it only if asked to
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = str(found["authorization_endpoint"])
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    async def exchange(self, told: Exchange) -> Tokens:
        """The token for a code, or a new one for a refresh token. Raises Problem 401 and 503."""
        found = await self._discover()
        try:
            answer = await self._http.post(
                str(found["token_endpoint"]), data={"client_id": self._client_id, **self._grant(told)}
            )
            body = answer.json() if answer.is_success else {}
        except (httpx.HTTPError, ValueError):
            raise _away() from None
        if answer.status_code >= 500:
            raise _away()
        if not isinstance(body, dict) or not isinstance(body.get("access_token"), str):
            raise Problem(401, "sign-in-refused", "the issuer gave no token for this: sign in again")
        refresh = body.get("refresh_token")
        return Tokens(
            token=body["access_token"],
            expires_in=int(body.get("expires_in") or 300),
            refresh_token=refresh if isinstance(refresh, str) else None,
        )

    def _grant(self, told: Exchange) -> dict[str, str]:
        if told.refresh_token:
            return {"grant_type": "refresh_token", "refresh_token": told.refresh_token.get_secret_value()}
        if not (told.code and told.verifier):
            raise Problem(
                422, "invalid-field", "send `code` and `verifier`, or `refresh_token`", field="code"
            )
        return {
            "grant_type": "authorization_code",
            "code": told.code.get_secret_value(),
            "code_verifier": told.verifier.get_secret_value(),
            "redirect_uri": self._back,
        }

    async def _discover(self) -> dict[str, Any]:
        if self._found is None:
            try:
                found = await openid_configuration(self._issuer, self._http)
                found["authorization_endpoint"], found["token_endpoint"]
            except (httpx.HTTPError, ValueError, KeyError, TypeError):
                raise _away() from None
            self._found = found
        return self._found


def _away() -> Problem:
    return Problem(503, "issuer-away", "the issuer does not answer just now: try again")
