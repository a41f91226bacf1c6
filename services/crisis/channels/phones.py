"""What the adapters of all carriers of texts and calls have in common: one number, by way of an account of ours."""

from __future__ import annotations

from typing import Generic, TypeVar

import httpx

from services.crisis.addresses import AliyunAccount, Template, TencentAccount

A = TypeVar("A", bound=AliyunAccount | TencentAccount)


class Carrier(Generic[A]):
    """Texts or calls one number. The provider counts by the number."""

    kind: str

    def __init__(self, account: A, template: Template, number: str, client: httpx.AsyncClient) -> None:
        self._account = account
        self._template = template
        self._number = number
        self._client = client
        self.key = f"{self.kind} {number}"
