"""What the rivals need: a Python environment of their own, Redis and PostgreSQL. Whoever is missing says so."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aftercare.engines import free_port
from tests.engines.process import Process

HERE = Path(__file__).parent
VENV = HERE.parent / ".bench" / "venv"
REQUIREMENTS = HERE / "requirements.txt"


class Missing(Exception):
    """Something that a rival needs is not there: which, and why."""


def rivals_python() -> Path:
    """The interpreter of `.bench/venv`, brought up to date whenever the requirements changed. Raises Missing."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    ready = VENV / "ready"
    if not ready.exists() or ready.read_text() != wanted:
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        steps = (
            [sys.executable, "-m", "venv", str(VENV)],
            [*pip, "--require-hashes", "-r", str(REQUIREMENTS)],
        )
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, timeout=600)
            if done.returncode:
                raise Missing(f"the rivals' packages could not be installed: {done.stderr.strip()[-300:]}")
        ready.write_text(wanted)
    return VENV / "bin" / "python"


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """The URL of a Redis that appends every write to its file and syncs it every second. Raises Missing."""
    if shutil.which("redis-server") is None:
        raise Missing("there is no redis-server: install the system's package `redis-server`")
    port = free_port()
    options = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--dir", str(folder))
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", *options]
    server = Process("redis", command, folder / "redis.log")
    server.start()
    try:
        _wait(server, "Ready to accept connections")
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.kill()


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL as `initdb` configures it: `synchronous_commit` and `fsync` on. Raises Missing."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    binary = found[-1] if found else shutil.which("postgres")
    if binary is None:
        raise Missing("there is no PostgreSQL server: install the system's package `postgresql`")
    programs = Path(binary).resolve().parent
    folder = Path(tempfile.mkdtemp(prefix="aftercare-postgres-"))
    as_user = (
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    )
    if as_user:
        shutil.chown(folder, "postgres", "postgres")  # it refuses to run as root
    port = free_port()
    made = [*as_user, str(programs / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust"]
    done = subprocess.run(made, capture_output=True, text=True, cwd="/", timeout=120)
    if done.returncode:
        raise Missing(f"PostgreSQL could not make its folder: {done.stderr.strip()[-300:]}")
    command = [
        *(*as_user, str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port)),
        *("-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"),
    ]
    server = Process("postgres", command, folder.with_suffix(".log"))
    server.start()
    try:
        _wait(server, "ready to accept connections")
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        server.stop(5)
        shutil.rmtree(folder, ignore_errors=True)
        server.log.unlink(missing_ok=True)


def _wait(server: Process, said: str) -> None:
    deadline = time.monotonic() + 60
    while said not in server.last_words():
        if not server.running or time.monotonic() > deadline:
            raise Missing(f"{server.name} did not start: {server.last_words(3)}")
        time.sleep(0.1)
