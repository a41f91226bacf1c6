"""One request to a provider, and how the answers of all of them are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import httpx

from services.crisis.channels import Accepted, Rejected

A_MINUTE = 60.0


async def post(client: httpx.AsyncClient, url: str, **request: Any) -> httpx.Response | Rejected:
    """The provider's answer, whatever its status; Rejected where there is none, or it cannot be used."""
    try:
        answer = await client.post(url, **request)
    except httpx.TimeoutException:
        return Rejected("timeout")
    except (httpx.HTTPError, httpx.InvalidURL):
        return Rejected("unreachable")
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return Rejected("rate-limited", retry_after=_seconds(answer))
    return answer


def document(answer: httpx.Response) -> dict[str, Any]:
    """The answer's JSON object; empty where it is none: a gateway's page in its place, an array, nothing."""
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def is_zero(code: object) -> bool:
    """Whether a provider's code says that all is well: the number 0, and not `false`."""
    return code == 0 and isinstance(code, int) and not isinstance(code, bool)


def read_errcode(answer: httpx.Response, limits: Mapping[int, float]) -> Accepted | Rejected:
    """What a bot of WeCom or DingTalk says: `errcode` 0 in an answer whose HTTP status is 200 for nearly everything.

    `limits`: the codes by which it says that it was sent too much, and for how many seconds it takes nothing then.
    """
    if answer.status_code != httpx.codes.OK:
        return Rejected(f"http-{answer.status_code}")
    code = document(answer).get("errcode")
    if is_zero(code):
        return Accepted()
    if not isinstance(code, int):
        return Rejected("no-errcode")
    if code in limits:
        return Rejected("rate-limited", retry_after=limits[code])
    return Rejected(coded("errcode", code))


def cut(text: str, most: int) -> str:
    """The text in so many bytes, cut between characters."""
    return text.encode()[:most].decode(errors="ignore")


def coded(name: str, code: object = "") -> str:
    """A provider's own code as a code of ours: `isv.OUT_OF_SERVICE` as `isv-out-of-service`."""
    return re.sub(r"[^a-z0-9]+", "-", f"{name}-{code}".lower())[:64].strip("-") or "no-code"


def _seconds(answer: httpx.Response) -> float:
    try:
        return min(max(float(answer.headers["Retry-After"]), 1.0), 600.0)
    except (KeyError, ValueError):
        return A_MINUTE
