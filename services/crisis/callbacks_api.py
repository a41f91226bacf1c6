"""HTTP: providers of texts and calls tell what became of them. A pressed key acknowledges.

The address is what is secret: it is signed, and told only in the provider's console. A receipt of a page that is not
ours (others may share the account) is answered as the provider wants it, and does nothing.
"""

from __future__ import annotations

import json

import structlog
from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from pymongo.errors import PyMongoError

from services.crisis import domain
from services.crisis.board import Unavailable
from services.crisis.dispatch import Dispatcher
from services.crisis.domain import Contact
from services.crisis.links import Forged, ReceiptLinks
from services.crisis.pager import Pager
from services.crisis.receipts import NoReceipt, Provider, Receipt, answer, read_receipts
from shared.clock import Clock
from shared.web.auth import allowed
from shared.web.problems import Problem

log = structlog.get_logger(__name__)

MAX_BYTES = 1_000_000
PROVIDERS: tuple[Provider, ...] = ("aliyun", "tencent")


class ReceiptAddress(BaseModel):
    """Where a provider sends its receipts: for its console, and for nobody else."""

    provider: Provider
    url: str


def callback_routes(pager: Pager, dispatcher: Dispatcher, links: ReceiptLinks, clock: Clock) -> APIRouter:
    """The routes for providers, and the one that tells their addresses."""
    router = APIRouter()
    engineers = Depends(allowed("engineer"))

    @router.get(
        "/v1/receipt-addresses",
        tags=["receipts"],
        summary="The addresses to enter in the consoles of providers of texts and calls",
        dependencies=[engineers],
    )
    async def addresses() -> list[ReceiptAddress]:
        return [ReceiptAddress(provider=provider, url=links.make(provider)) for provider in PROVIDERS]

    @router.post("/r/{token}", tags=["receipts"], summary="A provider's receipts (repeating is harmless)")
    async def take(token: str, request: Request) -> dict[str, object]:
        try:
            said = links.read(token)
        except Forged:
            raise Problem(403, "forged", "this is not an address that we gave a provider") from None
        provider = next(known for known in PROVIDERS if known == said)
        for receipt in _read(provider, await _body(request)):
            await _take(receipt)
        return answer(provider)

    def _read(provider: Provider, body: bytes) -> list[Receipt]:
        try:
            return read_receipts(provider, json.loads(body))
        except (NoReceipt, ValueError, RecursionError):
            raise Problem(
                422, "malformed", "this is no receipt as the provider's pages describe them"
            ) from None

    async def _take(receipt: Receipt) -> None:
        found = dispatcher.referred(receipt.reference) or _on_board(receipt.reference)
        if found is None:  # another replica may have just sent it
            found = await _synced(receipt.reference)
        if found is None:
            log.info("a receipt is of no page of ours", what=receipt.what)
            return
        incident_id, contact = found
        try:
            await pager.command(
                incident_id,
                lambda known: domain.receive(known, contact, receipt.what, clock.now(), receipt.key),
            )
        except Unavailable:
            raise _not_now() from None

    async def _synced(reference: str) -> tuple[str, Contact] | None:
        try:
            await pager.board.sync()
        except PyMongoError:
            raise _not_now() from None
        return _on_board(reference)

    def _on_board(reference: str) -> tuple[str, Contact] | None:
        for watch in pager.board.watches.values():
            for line in watch.incident.timeline:
                for contact in line.contacts:
                    if contact.reference == reference:
                        return watch.incident.id, contact
        return None

    return router


async def _body(request: Request) -> bytes:
    body = await request.body()  # what is much larger never comes here (problems.BodyLimit)
    if len(body) > MAX_BYTES:
        raise Problem(413, "too-large", "a provider's receipts come in smaller requests")
    return body


def _not_now() -> Problem:
    """Providers repeat what was not answered with 200."""
    return Problem(503, "database-away", "this receipt cannot be placed just now: send it again")
