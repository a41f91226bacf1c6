"""Carries out `client-erased`: sealed texts at once, references as soon as no incident of the client is open."""

from __future__ import annotations

import asyncio

from services.crisis.keeper import SERVICE
from services.crisis.store import Store
from shared.messaging.progress import Progress
from shared.mongo.encryption import Vault


class Erasures:
    """Makes what was asked to be erased unreadable."""

    def __init__(self, store: Store, vault: Vault, progress: Progress) -> None:
        self.wake = asyncio.Event()
        """Set when a client asked, or when the last incident of one who had asked is over."""
        self._store = store
        self._vault = vault
        self._progress = progress

    async def run(self) -> None:
        """Erase what is asked for, for ever. What a crash left is found at the start."""
        while True:
            with self._progress.busy(SERVICE):
                self.wake.clear()
                for client_id in await self._store.erasures():
                    await self._vault.destroy(client_id)
                    await self._store.forget(client_id)
            await self.wake.wait()
