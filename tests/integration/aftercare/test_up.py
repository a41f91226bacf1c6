"""`aftercare up` as a user runs it: a real process with all five services, killed and started again."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from aftercare.fake_wecom import FakeWeCom
from shared.contracts.topics import SERVICES
from shared.web.auth import ROLES, issue_token
from tests.integration.aftercare.processes import (
    COMMAND,
    children_of,
    clean_environment,
    free_ports,
    lives,
    process,
    until,
)


class Up:
    """One folder with its stack, and what a user has of it."""

    def __init__(self, folder: Path, first_port: int, webhook: str) -> None:
        self.folder = folder
        self.ports = {service: first_port + number for number, service in enumerate(SERVICES)}
        self.environment = clean_environment(AFTERCARE_WECOM_WEBHOOKS=webhook)
        self.arguments = ("up", "--first-port", str(first_port))
        self.said = folder / "up.txt"

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    async def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return await self.run(*COMMAND, *arguments)

    async def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the folder, while this event loop goes on."""
        return await asyncio.to_thread(
            subprocess.run,
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=90,
        )

    async def ready(self, running: subprocess.Popen[bytes]) -> None:
        def welcomed() -> bool:
            assert running.poll() is None, self.said.read_text()
            return "Ctrl-C drains" in self.said.read_text()

        await until(welcomed, 120, "every service is ready")

    def client(self, service: str) -> httpx.AsyncClient:
        secret = json.loads((self.folder / ".data" / "secrets.json").read_text())["token_secret"]
        token = issue_token(secret, "tester", list(ROLES), timedelta(hours=1))
        return httpx.AsyncClient(
            base_url=self.url(service), headers={"Authorization": f"Bearer {token}"}, timeout=30
        )

    async def follow_ups(self) -> list[dict[str, Any]]:
        async with self.client("scheduler") as scheduler:
            answer = await scheduler.get("/v1/follow-ups", params={"case_id": "try-1"})
        items: list[dict[str, Any]] = answer.json()["items"]
        return sorted(items, key=lambda item: str(item["id"]))


async def finish(
    running: subprocess.Popen[bytes], end: Callable[[], None], seconds: float, what: str
) -> None:
    end()
    await until(lambda: running.poll() is not None, seconds, what)


@pytest.mark.timeout(600)
async def test_up_survives_a_kill_keeps_its_data_and_leaves_nothing_behind(tmp_path: Path) -> None:
    bot = FakeWeCom(per_minute=1000)
    async with bot.serve() as webhook:
        up = Up(tmp_path, free_ports(len(SERVICES)), f"{webhook}?key=test")

        # --- given a stack that took an event and an acknowledged drill
        with process(*up.arguments, folder=tmp_path, environment=up.environment, log=up.said) as running:
            await up.ready(running)
            await try_as_told(up)
            planned = await up.follow_ups()
            drill = await up.command("drill")
            assert drill.returncode == 0, drill.stdout + drill.stderr
            assert re.search(r"flag -> page accepted  \d+ ms wecom", drill.stdout), drill.stdout
            await acknowledge(up, drill.stdout)
            doctor = await up.command("doctor")
            assert doctor.returncode == 0, doctor.stdout
            assert "ok   reporting is ready" in doctor.stdout
            second = await up.command(*up.arguments)
            assert second.returncode == 2
            assert f"another `aftercare up` (process {running.pid})" in second.stderr

            # --- when it is killed
            children = children_of(running.pid)
            assert len(children) == len(SERVICES) + 2
            await finish(running, running.kill, 10, "it is gone")
        # --- then no child is left
        await until(lambda: not any(map(lives, children)), 10, "no child is left")
        pages = len(bot.pages)

        # --- and when it is started again
        up.said.unlink()
        with process(*up.arguments, folder=tmp_path, environment=up.environment, log=up.said) as running:
            await up.ready(running)
            # --- then the data is kept, the bus is filled again, and nothing happens twice
            assert re.search(r"the bus was empty: \d+ events", up.said.read_text()), up.said.read_text()
            again = [item["id"] for item in await up.follow_ups()]
            assert again == [item["id"] for item in planned]
            await restarts_what_crashes(up, running)
            doctor = await up.command("doctor")
            assert doctor.returncode == 0, doctor.stdout
            assert len(bot.pages) == pages

            # --- and Ctrl-C drains and ends everything
            children = children_of(running.pid)
            await finish(running, lambda: running.send_signal(signal.SIGINT), 60, "it has drained")
            assert running.returncode == 0, up.said.read_text()
            assert not any(map(lives, children))
        assert not (tmp_path / ".data" / "stack.json").exists()


async def try_as_told(up: Up) -> None:
    """Do what the welcome says, as it says it."""
    lines = [line.strip() for line in up.said.read_text().splitlines()]
    commands = [line for line in lines if line.startswith(("export TOKEN", "curl"))]
    script = "\n".join([*commands[:2], ""])
    done = await up.run("bash", "-c", script)
    assert '"status":"accepted"' in done.stdout, done.stdout + done.stderr

    async def planned() -> bool:
        return {item["rule"] for item in await up.follow_ups()} == {"closed-15d", "closed-3m"}

    await until(planned, 60, "the follow-ups are planned")


async def acknowledge(up: Up, drilled: str) -> None:
    found = re.search(r"incident (\S+)", drilled)
    assert found
    async with up.client("crisis") as crisis:
        answer = await crisis.post(f"/v1/incidents/{found[1]}/acknowledge")
    assert answer.is_success, answer.text


async def restarts_what_crashes(up: Up, running: subprocess.Popen[bytes]) -> None:
    victim = next(pid for pid in children_of(running.pid) if _command(pid)[-2:] == ["run", "reporting"])
    os.kill(victim, signal.SIGKILL)
    await until(lambda: "reporting ended (SIGKILL)" in up.said.read_text(), 20, "the crash is told")

    async def back() -> bool:
        async with httpx.AsyncClient() as client:
            try:
                return (await client.get(f"{up.url('reporting')}/readyz")).is_success
            except httpx.TransportError:
                return False

    await until(back, 60, "reporting is back")


def _command(pid: int) -> list[str]:
    return (Path("/proc") / str(pid) / "cmdline").read_text().strip("\0").split("\0")
