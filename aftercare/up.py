"""`aftercare up`: the whole stack on this machine, in real time.

Engines, then topics, then the five services as child processes. The embedded broker forgets at its end while
MongoDB keeps: an empty bus is filled from the services' journals before they start, and their seen-marks make that
harmless.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import json
import os
import secrets
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from pymongo.errors import PyMongoError

from aftercare.children import Child
from aftercare.configuration import DATA, SECRETS, STACK, read_settings, variable, write_private
from aftercare.engines import embedded_broker, embedded_mongo, free_port
from aftercare.mistakes import Mistake
from aftercare.terminal import err, out
from aftercare.topics import create_when_reachable
from shared.contracts.topics import SERVICES, TOPICS
from shared.contracts.types import write_time
from shared.messaging.bus import Publisher
from shared.messaging.progress import Progress
from shared.mongo.client import connect, database
from shared.mongo.journal import Journal
from shared.settings import Settings
from shared.web.auth import ROLES, issue_token

KAFKA_PORT = 19092
MONGO_PORT = 27117
PORT_PATIENCE = 3.0
"""How long a port may stay taken by what has just ended, before another one is chosen."""

_TOKEN_VALID = timedelta(days=1)


class EngineGone(RuntimeError):
    """An embedded engine ended while the stack was running."""


@dataclass(frozen=True)
class Part:
    """An embedded engine that has to be there."""

    name: str
    port: int
    log: Path


def up(
    data: Annotated[Path, typer.Option(help="Where data, secrets and logs are kept.")] = DATA,
    first_port: Annotated[
        int,
        typer.Option(min=1024, max=65_000, help="The port of intake; the other services have the next ones."),
    ] = 8001,
) -> None:
    """Start engines, topics and all five services, until Ctrl-C.

    A bus or database of your own is used where AFTERCARE_KAFKA_BOOTSTRAP_SERVERS or AFTERCARE_MONGO_URL is set.
    """
    ports = {service: first_port + number for number, service in enumerate(SERVICES)}
    with locked(data), ExitStack() as parts:
        _demand_free(ports)
        secret_values = own_secrets(data, os.environ)
        engines = _engines(data, parts)
        values = {**secret_values, **engines.settings}
        environment = service_environment(values, ports, os.environ)
        settings = read_settings(Settings, **_given(values))
        write_private(data / STACK, _left(engines.settings, ports))
        parts.callback((data / STACK).unlink, missing_ok=True)
        try:
            asyncio.run(_stay_up(settings, engines.parts, environment, ports, data))
        except* Mistake as group:
            raise group.exceptions[0] from None
        except* EngineGone as group:
            err.print(f"aftercare: {group.exceptions[0]}", style="red", markup=False, soft_wrap=True)
            raise typer.Exit(1) from None


# --- what has to be there before anything starts --------------------------------------------------------------


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the folder for this process alone. Raises Mistake when another one has it."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (data / "lock").open("a+")
    except OSError as error:
        raise Mistake(
            f"{data} cannot be used ({error.strerror}): choose another folder with --data"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            raise Mistake(
                f"another `aftercare up` (process {lock.read().strip() or 'unknown'}) uses {data}: "
                "end it, or choose another folder with --data"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def own_secrets(data: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The development secrets of this folder, made at the first start, without those that the environment has.

    Raises Mistake where they are lost although something lies encrypted under them.
    """
    path = data / SECRETS
    if not path.exists():
        if variable("master_key") not in environment and any(data.glob("mongo/*.wt")):
            raise Mistake(
                f"{path} is gone, and with it the key to what lies encrypted in {data / 'mongo'}: "
                f"bring it back, or remove {data} to start afresh"
            )
        write_private(path, new_secrets())
    try:
        kept: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise Mistake(f"{path} cannot be read: bring it back, or remove {data} to start afresh") from None
    if environment.get(variable("oidc_issuer")):  # or tokens of both kinds would be taken
        kept.pop("token_secret", None)
    return {name: value for name, value in kept.items() if variable(name) not in environment}


def new_secrets() -> dict[str, str]:
    """Fresh random secrets."""
    return {
        "token_secret": secrets.token_urlsafe(48),
        "master_key": base64.b64encode(secrets.token_bytes(96)).decode(),
    }


def _demand_free(ports: Mapping[str, int]) -> None:
    for service, port in ports.items():
        if not _becomes_free(port):
            raise Mistake(
                f"port {port} of {service} is taken: end what listens there, or choose other ports with --first-port"
            )


def _becomes_free(port: int) -> bool:
    deadline = time.monotonic() + PORT_PATIENCE
    while time.monotonic() < deadline:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return True
        time.sleep(0.1)
    return False


def _engine_port(preferred: int, name: str) -> int:
    if _becomes_free(preferred):
        return preferred
    port = free_port()
    out.print(f"port {preferred} is taken: the embedded {name} listens on {port}")
    return port


@dataclass(frozen=True)
class _Engines:
    settings: dict[str, Any]
    """Settings for the embedded engines; empty for those of one's own."""
    parts: list[Part]


def _engines(data: Path, parts: ExitStack) -> _Engines:
    engines = _Engines({}, [])
    if variable("mongo_url") not in os.environ:
        folder, port = data / "mongo", _engine_port(MONGO_PORT, "MongoDB")
        engines.settings["mongo_url"] = parts.enter_context(embedded_mongo(folder, port))
        engines.parts.append(Part("MongoDB", port, folder / "mongod.log"))
    if variable("kafka_bootstrap_servers") not in os.environ:
        folder, port = data / "broker", _engine_port(KAFKA_PORT, "broker")
        # No idempotent producers there, a rejoined group takes 18 s, and one partition is enough for one reader.
        engines.settings.update(
            kafka_bootstrap_servers=parts.enter_context(embedded_broker(folder, port)),
            kafka_idempotence=False,
            kafka_assigned=True,
            kafka_partitions=1,
        )
        engines.parts.append(Part("broker", port, folder / "broker.log"))
    return engines


# --- what the services and the other commands are told --------------------------------------------------------


def service_environment(
    values: Mapping[str, Any], ports: Mapping[str, int], environment: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """The environment of each service: this one, the stack's own settings, and where crisis is."""
    own = {variable(name): _text(value) for name, value in values.items()}
    crisis = {variable("crisis_url"): f"http://127.0.0.1:{ports['crisis']}"}
    return {
        service: {
            **crisis,
            **environment,
            **own,
            variable("http_host"): "127.0.0.1",
            variable("http_port"): str(port),
        }
        for service, port in ports.items()
    }


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in Settings.model_fields}


def _left(engine_settings: Mapping[str, Any], ports: Mapping[str, int]) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "settings": dict(engine_settings),
        "services": {service: f"http://127.0.0.1:{port}" for service, port in ports.items()},
    }


# --- running --------------------------------------------------------------------------------------------------


async def _stay_up(
    settings: Settings,
    engines: list[Part],
    environment: Mapping[str, Mapping[str, str]],
    ports: Mapping[str, int],
    data: Path,
) -> None:
    stop = asyncio.Event()
    logs = data / "logs"
    logs.mkdir(exist_ok=True)
    children = [
        Child(
            service,
            [sys.executable, "-m", "aftercare.cli", "run", service],
            environment[service],
            logs / f"{service}.log",
            _say,
        )
        for service in ports
    ]
    _stop_on_signals(stop, children)
    began = time.monotonic()
    await prepare_bus(settings)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(child.keep()) for child in children]
        running.append(tasks.create_task(_watch(engines)))
        running.append(tasks.create_task(_welcome(settings, ports, data, began)))
        await stop.wait()
        out.print("draining ...")
        for task in running:
            task.cancel()
    out.print("ended")


def _say(message: str) -> None:
    out.print(message, markup=False, soft_wrap=True)


def _stop_on_signals(stop: asyncio.Event, children: list[Child]) -> None:
    """The first signal drains; a second one does not wait for it."""

    def on_signal() -> None:
        if stop.is_set():
            for child in children:
                child.kill()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)


async def prepare_bus(settings: Settings) -> None:
    """Create the topics; a bus that had none of them is filled again with what the journals retain."""
    created = await create_when_reachable(settings, 30)
    if set(created) < {settings.topic(name) for name in TOPICS}:
        return
    try:
        count = await _publish_retained(settings)
    except PyMongoError as error:
        raise Mistake(
            f"MongoDB does not answer ({type(error).__name__}): check AFTERCARE_MONGO_URL"
        ) from None
    if count:
        out.print(f"the bus was empty: {count} events of the last 30 days were published again")


async def _publish_retained(settings: Settings) -> int:
    progress = Progress()
    publisher = Publisher(settings, progress)
    client = connect(settings)
    try:
        return sum(
            [
                await Journal(
                    service, database(client, settings.database(service)), publisher, progress
                ).publish_again()
                for service in SERVICES
            ]
        )
    finally:
        await publisher.stop()
        client.close()


async def _watch(engines: list[Part]) -> None:
    """Raise EngineGone when an embedded engine does not listen any more."""
    missed = dict.fromkeys(engines, 0)
    while True:
        for engine in engines:
            try:
                async with asyncio.timeout(5):
                    _, writer = await asyncio.open_connection("127.0.0.1", engine.port)
                writer.close()
                missed[engine] = 0
            except (OSError, TimeoutError):
                missed[engine] += 1
            if missed[engine] == 3:
                raise EngineGone(f"the embedded {engine.name} ended: see {engine.log}, then start again")
        await asyncio.sleep(2)


async def _welcome(settings: Settings, ports: Mapping[str, int], data: Path, began: float) -> None:
    async with httpx.AsyncClient(timeout=2) as client:
        for service, port in ports.items():
            await _until_ready(client, service, port)
    out.print(
        f"\n[bold]Aftercare is up[/bold] after {time.monotonic() - began:.1f} s; data and logs in {data}"
    )
    for service, port in ports.items():
        url = f"http://127.0.0.1:{port}"
        out.print(f"  {service:<10} {url}  {url}/docs  {url}/metrics", soft_wrap=True)
    out.print(f"  {'bus':<10} {settings.kafka_bootstrap_servers}", soft_wrap=True)
    for line in without(os.environ):
        out.print(f"  {line}", style="yellow", soft_wrap=True)
    if settings.token_secret is None:
        out.print("\nSign in with a bearer token of your OIDC provider.")
        return
    token = issue_token(settings.token_secret.get_secret_value(), "developer", list(ROLES), _TOKEN_VALID)
    _say("\nTry it (a token with all roles, valid for a day; `aftercare token` prints others):\n")
    for line in _first_steps(token, ports, datetime.now(UTC)):
        _say(f"  {line}\n")
    _say(f"The supervisors' console: http://127.0.0.1:{ports['crisis']}/console#token={token}\n")
    out.print("Watch the bus with `aftercare tail`. Ctrl-C drains and ends everything.")


def without(environment: Mapping[str, str]) -> list[str]:
    """What the stack cannot do because nobody told it how."""
    pagers = ("roster_file", "wecom_webhooks", "crisis_channels")
    lines = []
    if not any(environment.get(variable(name)) for name in pagers):
        lines.append("no pager: set AFTERCARE_WECOM_WEBHOOKS or AFTERCARE_ROSTER_FILE, or crises page nobody")
    if not environment.get(variable("gateway_url")):
        lines.append("no message gateway: set AFTERCARE_GATEWAY_URL, or messages to clients stay pending")
    return lines


async def _until_ready(client: httpx.AsyncClient, service: str, port: int) -> None:
    """Wait until the service is ready and reaches everything that it can do without as well."""
    told = time.monotonic() + 30
    while True:
        missing = ["not listening yet"]
        with contextlib.suppress(httpx.HTTPError, ValueError):
            answer = (await client.get(f"http://127.0.0.1:{port}/readyz")).json()
            missing = [name for checks in answer.values() for name, fine in checks.items() if not fine]
        if not missing:
            return
        if time.monotonic() > told:
            told += 30
            _say(f"still waiting for {service}: {', '.join(missing)}")
        await asyncio.sleep(0.1)


def _first_steps(token: str, ports: Mapping[str, int], now: datetime) -> list[str]:
    closed = write_time(now.replace(microsecond=0))
    event = {
        "specversion": "1.0",
        "id": f"try-{secrets.token_hex(4)}",
        "source": "/try",
        "type": "aftercare.case-closed.v1",
        "time": closed,
        "data": {
            "case_id": "try-1",
            "client_id": "try-client-1",
            "closed_at": closed,
            "sessions_completed": 6,
            "outcome": "as-expected",
        },
    }
    signed_in = '-H "Authorization: Bearer $TOKEN"'
    return [
        f"export TOKEN={token}",
        f"curl -s {signed_in} -H 'Content-Type: application/json' "
        f"http://127.0.0.1:{ports['intake']}/v1/events -d {shlex.quote(json.dumps(event))}",
        f"curl -s {signed_in} 'http://127.0.0.1:{ports['scheduler']}/v1/follow-ups?case_id=try-1'",
    ]
