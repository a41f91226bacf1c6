"""The questionnaire in a real Chromium of a phone's size: under its own security policy, by tapping alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from aftercare import loopback
from services.survey.domain.links import Links
from shared.mongo.encryption import master_key
from tests.integration.survey.browser import Browser, phone_browser
from tests.integration.survey.events import due, planned

if TYPE_CHECKING:
    from tests.conftest import Start
    from tests.system import System

NARROW = "return document.documentElement.scrollWidth <= window.innerWidth"
SMALL_TARGETS = """
return [...document.querySelectorAll('main a, button, label.option, footer a, .language')]
  .filter(one => one.getBoundingClientRect().height < 44).map(one => one.textContent.trim())
"""


def link_of(system: System, follow_up_id: str) -> str:
    key = system.runtime("survey").settings.master_key
    assert key
    links = Links(master_key(key.get_secret_value()), "")
    return f"/s/{links.token(links.invitation(follow_up_id))}"


async def seen(browser: Browser, name: str) -> None:
    """What every page must keep; with SCREENSHOTS set, a picture of it."""
    assert await browser.script(NARROW), f"{name} is wider than the phone"
    assert await browser.script(SMALL_TARGETS) == [], f"{name} has targets too small for a thumb"
    colours = await browser.script(
        "const s = getComputedStyle(document.querySelector('main')); return s.borderRadius"
    )
    assert colours == "16px", f"the style of {name} was not applied: the security policy blocks it"
    if folder := os.environ.get("SCREENSHOTS"):
        await browser.screenshot(Path(folder) / f"{name}.png")


async def test_a_client_answers_by_tapping_and_another_is_helped(stack: Start) -> None:
    async with (
        stack("survey", start="2026-03-17 10:00") as system,
        loopback.serve(system.app("survey")) as base,
    ):
        await system.publish(
            *(
                maker(follow_up_id=key)
                for key in ("finishing", "in-danger", "stopping")
                for maker in (planned, due)
            )
        )
        async with phone_browser() as browser:
            await browser.open(base + link_of(system, "finishing"))
            await seen(browser, "1-first")
            await browser.press(".button")
            for number in range(13):
                await seen(browser, f"2-question-{number + 1}")
                if await browser.find("label.option"):
                    # the first option of the risk item and of the needs is the quiet one; elsewhere the fourth will do
                    quiet = "never" in await browser.script("return document.forms[0].innerHTML")
                    many = bool(await browser.find("input[type=checkbox]"))
                    await browser.click(f"label.option:nth-of-type({1 if quiet or many else 4})")
                await browser.press("button[type=submit]")
            await seen(browser, "3-send")
            await browser.press("button[type=submit]")
            await seen(browser, "4-thanks")
            assert "已收到" in await browser.text()

            await browser.open(f"{base}{link_of(system, 'in-danger')}/q/risk?lang=en")
            await browser.click("label.option:nth-of-type(2)")
            await seen(browser, "5-risk-chosen")
            await browser.press("button[type=submit]")
            await seen(browser, "6-help-en")
            assert len(await browser.find("a[href^='tel:']")) == 4

            await browser.open(f"{base}{link_of(system, 'stopping')}/stop")
            await seen(browser, "7-stop")
            await browser.press("button.plain")
            assert "不再询问" in await browser.text()
        async with phone_browser(dark=True) as browser:
            await browser.open(f"{base}/help")
            await seen(browser, "8-help-dark")
        await system.settled()
        outcomes = {e.subject: e.data.outcome for e in await system.events("follow-up-recorded")}
    assert outcomes == {"finishing": "completed", "in-danger": "stopped-for-crisis", "stopping": "refused"}
