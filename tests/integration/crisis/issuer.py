"""An OIDC issuer as strict as real ones: PKCE with S256, codes that work once, refresh tokens that rotate."""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI, Form
from fastapi.responses import JSONResponse, RedirectResponse, Response

CLIENT = "crisis-console"


class Issuer:
    """Signs in one supervisor, whoever asks."""

    def __init__(self, url: str, subject: str) -> None:
        self.url = url
        self.subject = subject
        self.valid = timedelta(hours=1)
        self.redirects: list[str] = []
        self.refusals: list[str] = []
        self.refreshed = 0
        self._codes: dict[str, tuple[str, str]] = {}
        self._refresh: set[str] = set()
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.app = FastAPI()
        self._routes()

    def _routes(self) -> None:
        @self.app.get("/.well-known/openid-configuration")
        async def discovery() -> dict[str, Any]:
            return {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys",
            }

        @self.app.get("/keys")
        async def keys() -> dict[str, Any]:
            public = jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
            return {"keys": [{**public, "kid": "one", "use": "sig", "alg": "RS256"}]}

        @self.app.get("/authorize")
        async def authorize(
            response_type: str,
            client_id: str,
            redirect_uri: str,
            state: str,
            code_challenge: str,
            code_challenge_method: str,
        ) -> Response:
            if (response_type, client_id, code_challenge_method) != ("code", CLIENT, "S256"):
                return self._refuse("unauthorized_client")
            code = secrets.token_urlsafe(24)
            self._codes[code] = (code_challenge, redirect_uri)
            self.redirects.append(redirect_uri)
            return RedirectResponse(f"{redirect_uri}?{urlencode({'code': code, 'state': state})}", 302)

        @self.app.post("/token")
        async def token(
            grant_type: Annotated[str, Form()],
            client_id: Annotated[str, Form()],
            code: Annotated[str, Form()] = "",
            code_verifier: Annotated[str, Form()] = "",
            redirect_uri: Annotated[str, Form()] = "",
            refresh_token: Annotated[str, Form()] = "",
        ) -> Response:
            if client_id != CLIENT:
                return self._refuse("invalid_client")
            if grant_type == "refresh_token":
                if refresh_token not in self._refresh:
                    return self._refuse("invalid_grant")
                self._refresh.remove(refresh_token)
                self.refreshed += 1
                return self._grant()
            digest = hashlib.sha256(code_verifier.encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if self._codes.pop(code, None) != (challenge, redirect_uri):
                return self._refuse("invalid_grant")
            return self._grant()

    def _grant(self) -> Response:
        refresh = secrets.token_urlsafe(24)
        self._refresh.add(refresh)
        return JSONResponse(
            {
                "access_token": self.token(),
                "token_type": "Bearer",
                "expires_in": int(self.valid.total_seconds()),
                "refresh_token": refresh,
            }
        )

    def _refuse(self, error: str) -> Response:
        self.refusals.append(error)
        return JSONResponse({"error": error}, 400)

    def token(self) -> str:
        """An access token for crisis."""
        now = datetime.now(UTC)
        claims = {"iss": self.url, "aud": "aftercare", "sub": self.subject, "roles": ["supervisor"]}
        return jwt.encode(
            {**claims, "iat": now, "exp": now + self.valid}, self._key, "RS256", headers={"kid": "one"}
        )
