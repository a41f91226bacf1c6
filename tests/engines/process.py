"""A child process that a test may end, hold and start again, as often as it likes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from aftercare.engines import end_with_parent


class Process:
    """A command that runs from `start` to `stop` or `kill`. Its output goes to a log."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start, unless it runs."""
        if self.running:
            return
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=end_with_parent(signal.SIGKILL) if sys.platform == "linux" else None,
            )

    def kill(self) -> None:
        """SIGKILL: as when the machine fails."""
        self._end(signal.SIGKILL, 10)

    def stop(self, seconds: float = 30) -> int | None:
        """SIGTERM, and SIGKILL when that does not help in time. Returns the exit code; None if it never ran."""
        try:
            return self._end(signal.SIGTERM, seconds)
        except subprocess.TimeoutExpired:
            return self._end(signal.SIGKILL, 10)

    def hold(self) -> None:
        """SIGSTOP: it stands still and keeps its connections, as a machine does that swaps or is moved."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT, after `hold`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def last_words(self, lines: int = 20) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _end(self, number: signal.Signals, seconds: float) -> int | None:
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(seconds)


def memory_mib(pid: int, figure: str) -> float:
    """Resident memory of a process, MiB: `VmRSS` now, `VmHWM` at its peak; 0 of one that has ended. Linux only."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{figure}:")) / 1024
