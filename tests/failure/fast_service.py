"""A service as a process of its own whose time goes faster: an hour in some minutes, with every fault a real one.

    python -m tests.failure.fast_service crisis

`FAST_FROM` is the Unix time from which it goes `FAST_RATE` times as fast; the file `FAST_JUMP` says by how many
seconds its clock is wrong. What the service counts in wall seconds is shortened by as much.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn

from aftercare.stack import builder, settings_class
from services.crisis import auditor, board, dispatch, pager
from shared.clock import SystemClock, to_millisecond
from shared.messaging.progress import Progress
from shared.observability import logging

SHORTER = [
    (dispatch, "AGAIN_AFTER_SECONDS"),
    (dispatch, "PAGE_SECONDS"),
    (pager, "SENT_WITHIN_SECONDS"),
    (board, "SYNC_SECONDS"),
    (auditor, "EVERY_SECONDS"),
    (auditor, "HANGS_SECONDS"),
    (auditor, "PATIENCE_SECONDS"),
]
LEAST_WAIT_SECONDS = 0.005


class FastClock(SystemClock):
    """The machine's clock, faster, and wrong by what a file says."""

    def __init__(self, since: float, rate: float, jump: Path | None = None) -> None:
        self.rate = rate
        self._since = since
        self._jump = jump

    def now(self) -> datetime:
        passed = datetime.now(UTC).timestamp() - self._since
        wrong = float(self._jump.read_text() or 0) if self._jump else 0.0
        return to_millisecond(datetime.fromtimestamp(self._since + passed * self.rate + wrong, UTC))

    def monotonic(self) -> float:
        return super().monotonic() * self.rate

    async def wait_until(self, instant: datetime | None, wake: asyncio.Event) -> None:
        if instant is None:
            await wake.wait()
            return
        seconds = (instant - self.now()) / timedelta(seconds=1) / self.rate
        try:
            async with asyncio.timeout(min(max(seconds, LEAST_WAIT_SECONDS), 60.0 / self.rate)):
                await wake.wait()
        except TimeoutError:
            pass


async def serve(name: str) -> None:
    settings = settings_class(name)()
    logging.configure(settings.log_level)
    rate = float(os.environ["FAST_RATE"])
    for module, constant in SHORTER:
        setattr(module, constant, getattr(module, constant) / rate)
    clock = FastClock(float(os.environ["FAST_FROM"]), rate, Path(os.environ["FAST_JUMP"]))
    app = builder(name)(settings, clock, Progress())
    config = uvicorn.Config(
        app, settings.http_host, settings.http_port, log_config=None, access_log=False,
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    asyncio.run(serve(sys.argv[1]))
