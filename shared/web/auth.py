"""Sign-in by OIDC bearer tokens that carry roles; in development by tokens of `aftercare token`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, get_args

import httpx
import jwt
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from shared.settings import Settings
from shared.web.problems import Problem

Role = Literal[
    "publisher",  # a company system that publishes events
    "operations",  # conducts and records follow-ups (F4)
    "counsellor",
    "customer-service",  # takes bookings, sends and confirms plans
    "supervisor",  # on call, takes up incidents
    "manager",  # department manager: approves plans (F45)
    "psychology",  # the psychological department: checks what is drawn of the records (F71)
    "finance",  # tells what was spent (F66)
    "compliance",  # reads the access log (F6)
    "engineer",  # runs the platform
]
ROLES: tuple[str, ...] = get_args(Role)


@dataclass(frozen=True)
class Principal:
    """Who is calling: the token's subject and those of its roles that we know."""

    subject: str
    roles: frozenset[str]

    @property
    def role(self) -> str:
        """All its roles, as a log of who read something tells them."""
        return ", ".join(sorted(self.roles))


def issue_token(
    secret: str, subject: str, roles: list[str], valid: timedelta, now: datetime | None = None
) -> str:
    """A development token, signed with the shared secret (HS256)."""
    issued = now or datetime.now(UTC)
    claims = {"sub": subject, "roles": roles, "iat": issued, "exp": issued + valid, "aud": "aftercare"}
    return jwt.encode(claims, secret, algorithm="HS256")


class Authenticator:
    """Checks bearer tokens against the development secret or the keys of the OIDC issuer."""

    def __init__(self, settings: Settings) -> None:
        self._secret = settings.token_secret.get_secret_value() if settings.token_secret else None
        self._issuer = settings.oidc_issuer
        self._audience = settings.oidc_audience
        self._keys: jwt.PyJWKClient | None = None
        if not (self._secret or self._issuer):
            raise ValueError(
                "nobody could sign in: set AFTERCARE_OIDC_ISSUER, or AFTERCARE_TOKEN_SECRET in development"
            )

    async def principal(self, token: str) -> Principal:
        """Who the token speaks for. Raises Problem 401 for one that is invalid, expired or meant for others."""
        try:
            claims = await self._claims(token)
        except (jwt.PyJWTError, httpx.HTTPError):
            raise Problem(
                401, "invalid-token", "the bearer token is invalid, expired or not meant for us"
            ) from None
        roles = claims.get("roles")
        known = frozenset(role for role in roles if role in ROLES) if isinstance(roles, list) else frozenset()
        return Principal(str(claims["sub"]), known)

    async def _claims(self, token: str) -> dict[str, Any]:
        options: Any = {"require": ["exp", "sub"]}
        if self._secret:
            return jwt.decode(
                token, self._secret, ["HS256"], options=options, audience=self._audience, leeway=30
            )
        if self._keys is None:
            self._keys = jwt.PyJWKClient(await self._discover(), cache_keys=True, timeout=5)
        key = await asyncio.to_thread(self._keys.get_signing_key_from_jwt, token)
        return jwt.decode(
            token,
            key,
            ["RS256", "ES256", "PS256", "EdDSA"],
            options=options,
            audience=self._audience,
            issuer=self._issuer,
            leeway=30,
        )

    async def _discover(self) -> str:
        async with httpx.AsyncClient(timeout=5) as client:
            return str((await openid_configuration(str(self._issuer), client))["jwks_uri"])


async def openid_configuration(issuer: str, client: httpx.AsyncClient) -> dict[str, Any]:
    """What an issuer says of itself (OpenID Connect Discovery 1.0). Raises httpx.HTTPError, ValueError."""
    answer = await client.get(f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


_bearer = HTTPBearer(auto_error=False, description="An OIDC bearer token with a `roles` claim.")


def allowed(*roles: Role) -> Callable[..., Awaitable[Principal]]:
    """A dependency that lets in whoever has one of the roles."""

    async def check(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> Principal:
        if credentials is None:
            raise Problem(401, "no-token", "send a bearer token: Authorization: Bearer ...")
        authenticator: Authenticator = request.app.state.authenticator
        principal = await authenticator.principal(credentials.credentials)
        if not principal.roles.intersection(roles):
            raise Problem(403, "missing-role", f"this needs one of the roles: {', '.join(roles)}")
        return principal

    return check
