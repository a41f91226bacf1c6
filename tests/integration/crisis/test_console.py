"""The supervisors' console in a real Chromium: live, by one tap or by the keyboard alone, through a restart."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from aftercare.engines import free_port
from aftercare.fake_wecom import FakeWeCom
from services.crisis import live
from shared.web.auth import issue_token
from tests.builders import at, crisis_flagged
from tests.conftest import Start
from tests.integration.crisis.conftest import START
from tests.integration.crisis.issuer import CLIENT, Issuer
from tests.integration.crisis.serving import served
from tests.integration.crisis.test_pages import told
from tests.integration.survey.browser import Browser, phone_browser

if TYPE_CHECKING:
    from tests.system import System

ME = "staff-1"
LIVE = "document.querySelector('.link.live')"
TAB, ENTER, SPACE = "\ue004", "\ue007", " "

NARROW = "return document.documentElement.scrollWidth <= window.innerWidth"

SMALL_TARGETS = """
return [...document.querySelectorAll('a, button, summary, label.option, textarea')]
  .filter(one => one.checkVisibility() && !one.matches('.skip'))
  .filter(one => one.getBoundingClientRect().height < 48 || one.getBoundingClientRect().width < 48)
  .map(one => one.textContent.trim())
"""

NAMELESS = """
const name = (one) => one.getAttribute('aria-label') || one.textContent.trim()
  || [...(one.labels ?? [])].map((label) => label.textContent.trim()).join();
return [...document.querySelectorAll('a, button, summary, input, textarea, progress')]
  .filter(one => one.checkVisibility() && !name(one)).map(one => one.outerHTML)
"""

UNKNOWN_REFERENCES = """
const ids = [...document.querySelectorAll('[id]')].map(one => one.id);
const twice = ids.filter((id, place) => ids.indexOf(id) !== place);
const named = [...document.querySelectorAll('[aria-labelledby], [for]')]
  .map(one => one.getAttribute('aria-labelledby') ?? one.getAttribute('for'));
return [...twice, ...named.filter(id => !ids.includes(id) && id !== 'sheet-heading')]
"""

PALE = """
const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return { r, g, b, a }; };
const linear = (v) => v <= 10 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
const shine = ({ r, g, b }) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
const behind = (one) => {
  for (; one; one = one.parentElement) {
    const colour = parse(getComputedStyle(one).backgroundColor);
    if (colour.a === 1) return colour;
  }
  return parse('rgb(255, 255, 255)');
};
const words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const found = [];
while (words.nextNode()) {
  const one = words.currentNode.parentElement;
  if (!words.currentNode.data.trim() || !one.checkVisibility() || one.closest('.unseen, .skip, noscript')) continue;
  const [a, b] = [shine(parse(getComputedStyle(one).color)), shine(behind(one))].sort();
  const contrast = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (contrast < 4.5) found.push(`${words.currentNode.data.trim()} ${contrast.toFixed(2)}`);
}
return found
"""


@dataclass
class Console:
    """The console as a test sees it: a browser, and the service behind it."""

    browser: Browser
    base: str
    system: System

    async def until(self, condition: str) -> Any:
        return await self.browser.until(condition, 60)

    async def shows(self, words: str, css: str = "#page") -> None:
        await self.until(f"document.querySelector({css!r})?.innerText.includes({words!r})")

    async def tap(self, css: str) -> None:
        await self.until(f"document.querySelector({css!r})?.getAttribute('aria-disabled') === null")
        await self.browser.script(f"document.querySelector({css!r}).scrollIntoView({{block: 'center'}})")
        await self.browser.click(css)

    async def incident(self, client: str) -> dict[str, Any]:
        """The incident of a client, with its timeline."""
        async with self.system.client("crisis", "supervisor") as http:
            items = (await http.get("/v1/incidents")).json()["items"]
            found = next(item for item in items if item["client_id"] == client)
            answer: dict[str, Any] = (await http.get(f"/v1/incidents/{found['incident_id']}")).json()
        return answer

    async def go_to(self, client: str) -> dict[str, Any]:
        incident = await self.incident(client)
        await self.browser.script(f"location.hash = 'incident={incident['incident_id']}'")
        await self.shows(client, ".detail")
        return incident

    async def is_sound(self, name: str) -> None:
        """What every view must keep; with SCREENSHOTS set, a picture of it."""
        if folder := os.environ.get("SCREENSHOTS"):
            await self.browser.screenshot(Path(folder) / f"{name}.png")
        assert await self.browser.script(NARROW), f"{name} is wider than the window"
        for what, code in {
            "too small for a thumb": SMALL_TARGETS,
            "without a name": NAMELESS,
            "ids twice or unknown": UNKNOWN_REFERENCES,
            "too pale": PALE,
        }.items():
            assert await self.browser.script(code) == [], f"{name}: {what}"
        assert await self.browser.script("return document.querySelectorAll('h1').length") == 1


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "BEAT_SECONDS", 0.2)


def token(settings: dict[str, Any], *roles: str, subject: str = ME) -> str:
    return issue_token(settings["token_secret"], subject, list(roles or ("supervisor",)), timedelta(hours=1))


@asynccontextmanager
async def opened(
    system: System, settings: dict[str, Any], base: str, *, dark: bool = False, desktop: bool = False
) -> AsyncIterator[Console]:
    """A browser that is signed in and live."""
    async with phone_browser(dark=dark, desktop=desktop) as browser:
        await browser.open(f"{base}/console#token={token(settings)}")
        console = Console(browser, base, system)
        await console.until(LIVE)
        yield console


async def test_a_flag_appears_by_itself_and_one_tap_takes_it_up(
    system: System, settings: dict[str, Any], bot: FakeWeCom
) -> None:
    async with served(system.app("crisis")) as base, opened(system, settings, base) as console:
        assert "token" not in await console.browser.url()
        await console.shows("现在没有进行中的事件")
        await console.browser.script(
            "window.loadedOnce = true; Date.now = () => 0"
        )  # a phone's clock, and wrong
        await system.publish(crisis_flagged(client_id="client-7", level="imminent"))
        await console.shows("client-7", "li.card.waits")
        await console.until("document.getElementById('urgent').textContent.includes('client-7')")
        assert await console.browser.script("return document.title") == "(1) 危机值班台"
        await console.tap("li.card button.urgent")
        await console.shows("已接手，尚未干预", "li.card")
        await console.until("document.getElementById('notice').textContent === '已由您接手。'")
        assert await console.browser.script("return window.loadedOnce"), "the page was loaded again"
        await system.settled()
        assert ("acknowledged", None) in await told(system)
        assert (await console.incident("client-7"))["acknowledged_by"] == ME


@pytest.mark.clause("F59", "A30")
async def test_both_clocks_run_by_the_time_of_the_server(system: System, settings: dict[str, Any]) -> None:
    def clock(name: str) -> str:
        return f"document.querySelector('[data-clock={name}]')"

    async with served(system.app("crisis")) as base, opened(system, settings, base) as console:
        await system.publish(crisis_flagged(client_id="client-7"))
        await console.until(f"/还有 (30|2\\d):\\d\\d/.test({clock('intervene')}?.innerText)")
        await console.until(f"/还有 (10|[5-9]):\\d\\d/.test({clock('head')}.innerText)")
        await system.until(at("2026-04-01 10:11"))
        await console.until(f"{clock('head')}.innerText.includes('10:08 完成')")
        await system.until(at("2026-04-01 10:26"))
        await console.until(f"{clock('intervene')}.matches('.soon')")
        await system.until(at("2026-04-01 10:32"))
        await console.until(f"/已超 \\d:\\d\\d/.test({clock('intervene')}.innerText)")
        incident = (await console.incident("client-7"))["incident_id"]
        async with system.client("crisis", "supervisor") as http:
            await http.post(f"/v1/incidents/{incident}/intervene")
        await console.until(f"{clock('intervene')}.innerText.includes('10:32 完成')")


@pytest.mark.clause("A29", "A31")
async def test_from_taking_up_to_the_end_and_back_by_taps(system: System, settings: dict[str, Any]) -> None:
    async with served(system.app("crisis")) as base, opened(system, settings, base, dark=True) as console:
        await system.publish(crisis_flagged(client_id="client-7"))
        await console.go_to("client-7")
        await console.is_sound("detail-waits-dark")
        await console.tap("[data-verb=acknowledge]")
        await console.tap("[data-verb=intervene]")
        await console.shows("干预中", ".detail .standing")
        for step in ("first-assessment", "risk-assessment"):
            await console.tap(f"input[value={step}]")
        await console.tap("form[data-do=assess] button")
        await console.until("document.querySelectorAll('form[data-do=assess] .good').length === 2")
        await console.tap("input[value=hospital]")
        await console.tap("form[data-do=refer] button[type=submit]")
        await console.tap("[data-do=respond]")
        await console.shows("已答复", "form[data-do=refer] .good")
        await console.is_sound("detail-intervening-dark")
        await console.tap("[data-kind=resolve]")
        await console.is_sound("sheet-dark")
        await console.tap("dialog input[value=in-hospital]")
        await console.tap("dialog button.primary")
        await console.shows("我 结束事件：已送医", ".timeline")
        await console.tap("[data-kind=reopen]")
        await console.tap("dialog button.primary")
        await console.shows("等待接手", ".detail .standing")
        lines = (await console.incident("client-7"))["timeline"]
    did = [(line["what"], line["step"] or line["note"]) for line in lines if line["by"] == ME]
    assert did == [
        ("acknowledged", None),
        ("intervening", None),
        ("assessed", "first-assessment"),
        ("assessed", "risk-assessment"),
        ("referred", "referred-hospital"),
        ("responded", "responded-hospital"),
        ("resolved", "in-hospital"),
        ("reopened", None),
    ]


async def test_a_second_supervisor_joins(system: System, settings: dict[str, Any]) -> None:
    async with served(system.app("crisis")) as base, opened(system, settings, base) as console:
        await system.publish(crisis_flagged(client_id="client-7"))
        incident = await console.go_to("client-7")
        async with system.client("crisis", "supervisor", subject="staff-2") as other:
            await other.post(f"/v1/incidents/{incident['incident_id']}/acknowledge")
        await console.tap("[data-verb=join]")
        await console.shows("参与：staff-2、我")
        await console.until("!document.querySelector('[data-verb=join]')")
        await system.settled()
        assert ("acknowledged", "joined") in await told(system)


async def test_a_restart_is_survived_and_a_tap_in_between_arrives_once(
    stack: Start, paging: dict[str, Any], settings: dict[str, Any]
) -> None:
    port = free_port()
    async with phone_browser() as browser:
        async with stack("crisis", start=START, crisis=paging) as system:
            async with served(system.app("crisis"), port) as base:
                await browser.open(f"{base}/console#token={token(settings)}")
                console = Console(browser, base, system)
                await system.publish(crisis_flagged(client_id="client-7"))
                await console.shows("client-7", "li.card.waits")
            await console.shows("连接中断。最后更新 10:00", ".banner")
            assert len(await browser.find(".banner a[href^='tel:']")) == 4
            await console.is_sound("offline")
            await console.tap("li.card button.urgent")
            await console.shows("尚未送达", "li.card .problem")
        async with (
            stack("crisis", start="2026-04-01 10:02", crisis=paging) as system,
            served(system.app("crisis"), port) as base,
        ):
            console = Console(browser, base, system)
            await console.until(LIVE)
            await console.shows("已接手", "li.card")
            lines = (await console.incident("client-7"))["timeline"]
    assert [line["by"] for line in lines if line["what"] == "acknowledged"] == [ME]


async def test_by_the_keyboard_alone_and_the_focus_stays_when_the_list_changes(
    system: System, settings: dict[str, Any]
) -> None:
    focused = "document.activeElement"
    async with (
        served(system.app("crisis")) as base,
        opened(system, settings, base, desktop=True) as console,
    ):
        await system.publish(crisis_flagged(client_id="client-7"))
        await console.shows("client-7", "li.card.waits")
        await console.browser.keys(TAB)
        assert await console.browser.script(f"return {focused}.className") == "skip"
        for _ in range(20):
            if await console.browser.script(f"return {focused}.matches('li.card a')"):
                break
            await console.browser.keys(TAB)
        await system.publish(crisis_flagged(client_id="client-3", flagged_at="2026-04-01 09:50"))
        await console.until("document.querySelector('li.card').innerText.includes('client-3')")
        assert "client-7" in await console.browser.script(f"return {focused}.innerText")
        assert await console.browser.script(f"return {focused}.matches(':focus-visible')")
        await console.browser.keys(ENTER)
        await console.until(f"{focused}.id === 'detail-heading'")
        for _ in range(20):
            if await console.browser.script(f"return {focused}.matches('.detail [data-verb=acknowledge]')"):
                break
            await console.browser.keys(TAB)
        await console.browser.keys(SPACE)
        await console.shows("已接手", ".detail .standing")
        assert (await console.incident("client-7"))["acknowledged_by"] == ME


@pytest.mark.parametrize(("dark", "desktop"), [(True, False), (False, False), (True, True), (False, True)])
async def test_every_view_can_be_read_reached_and_named_and_no_request_leaves_the_origin(
    system: System, settings: dict[str, Any], dark: bool, desktop: bool
) -> None:
    name = f"{'desktop' if desktop else 'phone'}-{'dark' if dark else 'light'}"
    async with (
        served(system.app("crisis")) as base,
        opened(system, settings, base, dark=dark, desktop=desktop) as console,
    ):
        await console.is_sound(f"{name}-empty")
        await system.publish(crisis_flagged(client_id="drill", level="drill"))
        await system.publish(crisis_flagged(client_id="client-7", level="imminent"))
        await console.shows("client-7")
        await console.is_sound(f"{name}-open")
        await console.tap("[data-verb=acknowledge]")
        await system.until(at("2026-04-01 10:31"))
        await console.shows("需要再次接手")
        await console.is_sound(f"{name}-lapsed")
        await console.go_to("client-7")
        await console.is_sound(f"{name}-detail")
        for tab, words in {"calendar": "这里没有设置轮值", "drills": "标记 → 接手", "past": "演练"}.items():
            await console.browser.script(f"location.hash = {tab!r}")
            await console.shows(words)
            await console.is_sound(f"{name}-{tab}")
        await console.tap("[data-do=language]")
        await console.shows("Ended", "h2")
        await console.is_sound(f"{name}-english")
        await console.tap("[data-do=sign-out]")
        await console.shows("Sign in", "h2")
        await console.is_sound(f"{name}-sign-in")
        log = [json.loads(entry)["message"] for entry in await console.browser.logged("performance")]
        sent = [e["params"]["request"]["url"] for e in log if e["method"] == "Network.requestWillBeSent"]
        assert sent, "no request was seen at all"
        assert [url for url in sent if not url.startswith(base)] == []
        assert await console.browser.logged("browser") == []


async def test_the_calendar_shows_who_is_on_call_and_where_nobody_is(
    stack: Start, paging: dict[str, Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    layer = {
        "name": "days",
        "people": [ME, "staff-2"],
        "begins": "2026-03-30",
        "ends": "2026-04-05",
        "every": "day",
    }
    rota = tmp_path / "rota.yaml"
    rota.write_text(yaml.safe_dump({"schedules": [{"role": "on-call", "layers": [layer]}]}))
    async with (
        stack("crisis", start=START, crisis={**paging, "rota_file": rota}) as system,
        served(system.app("crisis")) as base,
        opened(system, settings, base) as console,
    ):
        await console.browser.script("location.hash = 'calendar'")
        await console.shows("现在：我")
        for words in ("之后：staff-2（04-02 09:00 起）", "无人值班的时段"):
            await console.shows(words)
        await console.is_sound("calendar")


async def test_signing_in_at_the_issuer_by_one_tap_comes_back_to_the_incident(
    stack: Start, paging: dict[str, Any]
) -> None:
    port, own = free_port(), free_port()
    issuer = Issuer(f"http://127.0.0.1:{own}", "staff-1@company.example")
    base = f"http://127.0.0.1:{port}"
    signing_in = {
        "token_secret": None, "oidc_issuer": issuer.url, "console_client_id": CLIENT, "public_url": base,
    }  # fmt: skip
    async with (
        served(issuer.app, own),
        stack("crisis", start=START, crisis={**paging, **signing_in}) as system,
        served(system.app("crisis"), port),
        phone_browser() as browser,
    ):
        console = Console(browser, base, system)
        await system.publish(crisis_flagged(client_id="client-7"))
        incident = next(iter(system.app("crisis").state.pager.board.watches))
        await browser.open(f"{base}/console#token={issuer.token()}")
        await console.shows("使用公司账号登录")  # in production no address signs anybody in
        await browser.open("about:blank")
        await browser.open(f"{base}/console#incident={incident}")
        await console.tap("[data-do=sign-in]")
        await console.until(LIVE)
        await console.shows("client-7", ".detail")
        assert await browser.url() == f"{base}/console#incident={incident}"
        assert issuer.redirects == [f"{base}/console"]
        await browser.script(
            "const kept = JSON.parse(sessionStorage.getItem('aftercare.session'));"
            "sessionStorage.setItem('aftercare.session', JSON.stringify({...kept, token: 'expired'}));"
            "location.reload()"
        )
        await console.until(f"{LIVE} && document.querySelector('.detail')")
        assert issuer.refreshed == 1, "an expired token is renewed without a question"
        await console.tap("[data-verb=acknowledge]")
        await console.shows("已接手", ".detail .standing")
        assert issuer.refusals == []
