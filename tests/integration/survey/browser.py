"""A real phone-sized Chromium, driven over the WebDriver protocol, which is plain HTTP."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from aftercare.engines import free_port

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


class Browser:
    """One page of one window."""

    def __init__(self, http: httpx.AsyncClient, session: str) -> None:
        self._http = http
        self._session = session

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = await self._http.request(method, f"/session/{self._session}{path}", json=body)
        value = answer.json()["value"]
        assert answer.is_success, value["message"]
        return value

    async def open(self, url: str) -> None:
        await self._call("POST", "/url", {"url": url})

    async def url(self) -> str:
        return str(await self._call("GET", "/url"))

    async def find(self, css: str) -> list[str]:
        found = await self._call("POST", "/elements", {"using": "css selector", "value": css})
        return [element[ELEMENT] for element in found]

    async def click(self, css: str) -> None:
        [element, *_] = await self.find(css)
        await self._call("POST", f"/element/{element}/click", {})

    async def press(self, css: str) -> None:
        """Click on what leads to another page, and wait until that one is there."""
        before = await self.find("html")
        await self.click(css)
        async with asyncio.timeout(20):
            while await self.find("html") == before or not await self._complete():  # noqa: ASYNC110 - a browser offers no event
                await asyncio.sleep(0.02)

    async def _complete(self) -> bool:
        return bool(await self.script("return document.readyState === 'complete'"))

    async def text(self, css: str = "body") -> str:
        [element, *_] = await self.find(css)
        return str(await self._call("GET", f"/element/{element}/text"))

    async def keys(self, *pressed: str) -> None:
        """Press keys one after the other, on whatever has the focus."""
        strokes = [{"type": kind, "value": key} for key in pressed for kind in ("keyDown", "keyUp")]
        await self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": strokes}]})

    async def logged(self, kind: str) -> list[str]:
        """What was logged since the last time: `browser` (errors and warnings) or `performance` (every request)."""
        return [str(entry["message"]) for entry in await self._call("POST", "/se/log", {"type": kind})]

    async def until(self, condition: str, seconds: float = 20) -> Any:
        """Wait until a JavaScript expression is true, and give its value. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not (value := await self.script(f"return {condition}")):  # noqa: ASYNC110 - a browser offers no event
                await asyncio.sleep(0.02)
        return value

    async def script(self, code: str) -> Any:
        return await self._call("POST", "/execute/sync", {"script": code, "args": []})

    async def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(await self._call("GET", "/screenshot")))


@asynccontextmanager
async def phone_browser(*, dark: bool = False, desktop: bool = False) -> AsyncIterator[Browser]:
    """A phone's window of 390 by 844 points, or a desktop's of 1280 by 800. Skips the test, with the reason,
    where no Chromium is installed."""
    chromium = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("no Chromium with chromedriver here: the pages were not seen in a real browser")
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        driver, f"--port={port}", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    arguments += ["--force-dark-mode"] if dark else []
    arguments += ["--window-size=1280,800"] if desktop else []
    phone = {"deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 2.0, "touch": True}}
    options = {
        "binary": chromium,
        "args": arguments,
        **({} if desktop else {"mobileEmulation": phone}),
    }
    try:
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False
        ) as http:
            await _ready(http)
            wanted = {
                "capabilities": {
                    "alwaysMatch": {
                        "browserName": "chrome",
                        "goog:chromeOptions": options,
                        "goog:loggingPrefs": {"browser": "WARNING", "performance": "ALL"},
                    }
                }
            }
            started = (await http.post("/session", json=wanted)).json()["value"]
            assert "sessionId" in started, started.get("message")
            try:
                yield Browser(http, started["sessionId"])
            finally:
                await http.delete(f"/session/{started['sessionId']}")
    finally:
        process.terminate()
        await process.wait()


async def _ready(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                if (await http.get("/status")).json()["value"]["ready"]:
                    return
            except httpx.HTTPError:
                await asyncio.sleep(0.05)
