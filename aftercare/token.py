"""`aftercare token`: a bearer token for development, signed with the stack's own secret."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

import typer

from aftercare.configuration import DATA, DataFolder, stack_settings, token_secret
from aftercare.mistakes import Mistake
from shared.web.auth import ROLES, issue_token

_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def token(
    role: Annotated[list[str], typer.Option(help=f"One of {', '.join(ROLES)}; may be repeated.")],
    valid: Annotated[str, typer.Option(help="How long: 30m, 8h, 7d.")] = "8h",
    subject: Annotated[str, typer.Option(help="Who it speaks for.")] = "developer",
    data: DataFolder = DATA,
) -> None:
    """Print a bearer token with roles. Development only: services that use OIDC do not take it."""
    if unknown := sorted(set(role) - set(ROLES)):
        raise Mistake(f"there is no role {unknown[0]!r}: choose among {', '.join(ROLES)}")
    print(issue_token(token_secret(stack_settings(data), data), subject, role, parse_validity(valid)))


def parse_validity(text: str) -> timedelta:
    """Read `30m`, `8h` or `7d`. Raises Mistake."""
    match = re.fullmatch(r"([1-9]\d{0,4})([mhd])", text)
    if match is None:
        raise Mistake(f"--valid {text!r} is no stretch of time: write 30m, 8h or 7d")
    return int(match[1]) * _UNITS[match[2]]
