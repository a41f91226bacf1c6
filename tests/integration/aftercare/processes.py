"""Real processes of the command line, and the kernel's own word on which of them live."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

COMMAND = (sys.executable, "-m", "aftercare.cli")


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float, what: str) -> None:
    """Wait until a condition outside of this process holds. Raises AssertionError that names it."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = condition()
                if found if isinstance(found, bool) else await found:
                    return
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {seconds} s: {what}") from None


@contextmanager
def process(
    *arguments: str, folder: Path, environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """`aftercare ARGUMENTS` as a process of its own, killed at the end if it still runs."""
    with log.open("ab") as output:
        running = subprocess.Popen(
            [*COMMAND, *arguments], cwd=folder, env=dict(environment), stdout=output, stderr=output
        )
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def clean_environment(**own: str) -> dict[str, str]:
    """This environment without the developer's settings of Aftercare, and with `own`."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AFTERCARE_")} | own


def children_of(pid: int) -> set[int]:
    """The processes that a process has started and that live."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) and int(fields[1]) == pid:
            found.add(int(entry.name))
    return found


def lives(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    fields = _stat(pid)
    return fields is not None and fields[0] != "Z"


def _stat(pid: int) -> list[str] | None:
    """State, parent and what follows, as the kernel tells."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    for first in range(20_000 + os.getpid() % 20_000, 60_000, count):
        if all(_is_free(first + number) for number in range(count)):
            return first
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
