"""The services of `aftercare up` as child processes: started again when they end by themselves, drained at the end."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from aftercare.engines import end_with_parent
from aftercare.mistakes import Mistake

DRAIN_SECONDS = 30
"""How long a service may take to drain before it is killed: longer than its own limits together."""
STEADY_SECONDS = 60
"""A service that ran this long before it ended is started again at once."""
LONGEST_PAUSE = 30.0
USAGE = 2
"""The exit code of a service whose settings cannot be used: starting it again cannot help."""


class Child:
    """One service process. Its output goes to a log of its own."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        say: Callable[[str], None],
        first_pause: float = 1.0,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._environment = dict(environment)
        self._log = log
        self._say = say
        self._first_pause = first_pause
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def keep(self) -> None:
        """Run until cancelled, then drain. Raises Mistake when the service cannot use its settings."""
        pause = self._first_pause
        self._log.unlink(missing_ok=True)
        while True:
            began = time.monotonic()
            code = await self._run()
            if code == USAGE:
                raise Mistake(f"{self.name} cannot run: {self._last_words()}")
            if time.monotonic() - began > STEADY_SECONDS:
                pause = self._first_pause
            self._say(
                f"{self.name} ended ({_how(code)}) and is started again in {pause:g} s; "
                f"last said: {self._last_words()} (all of it: {self._log})"
            )
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def kill(self) -> None:
        """End at once, without draining."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _run(self) -> int:
        with self._log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A group of its own: a Ctrl-C reaches the parent alone, which then drains the services.
                start_new_session=True,
                preexec_fn=end_with_parent(signal.SIGKILL) if sys.platform == "linux" else None,
            )
        try:
            return await self._process.wait()
        except asyncio.CancelledError:
            await self._drain(self._process)
            raise

    async def _drain(self, process: asyncio.subprocess.Process) -> None:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await process.wait()
        except TimeoutError:
            self._say(f"{self.name} did not drain within {DRAIN_SECONDS} s and is killed")
            self.kill()
            await process.wait()

    def _last_words(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - 4096))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "nothing"


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
