"""Escalated deadlines and erased clients."""

from __future__ import annotations

from typing import Any

from aftercare.fake_wecom import FakeWeCom
from shared.contracts.envelope import Event
from tests.builders import at, client_erased, crisis_flagged, event
from tests.integration.crisis.test_pages import path, told
from tests.system import System


def escalation(
    urgency: str, id: str = "escalation-1", source: str = "/aftercare/scheduler", **given: Any
) -> Event:
    body = {
        "escalation_id": id, "rule": "match-2wd", "clause": "F62", "subject": "follow-up-1",
        "role": "department-manager", "urgency": urgency, "due_at": at("2026-04-01 09:00"), "reason": "late",
    }  # fmt: skip
    return event("escalation-required", body | given, time="2026-04-01 10:00", id=id, source=source)


async def test_a_deadline_that_must_page_pages_until_acknowledged(system: System, bot: FakeWeCom) -> None:
    await system.publish(escalation("page"))
    await system.publish(escalation("page"))
    assert len(bot.pages) == 1
    assert "match-2wd" in bot.pages[0].text
    await system.until(at("2026-04-01 10:05"))
    assert len(bot.pages) == 2
    async with system.client("crisis") as phone:
        await phone.post(path(bot))
    await system.until(at("2026-04-01 13:00"))
    assert len(bot.pages) == 2
    assert await told(system) == [], "it is no incident of a client"


async def test_deadlines_to_notify_of_are_one_message_an_hour(system: System, bot: FakeWeCom) -> None:
    await system.publish(*(escalation("notify", id=f"escalation-{n}") for n in range(3)))
    assert bot.pages == []
    await system.until(at("2026-04-01 11:00"))
    assert ["3" in page.text for page in bot.pages] == [True]
    await system.until(at("2026-04-01 15:00"))
    assert len(bot.pages) == 1


async def test_escalations_of_crisis_itself_are_ignored(system: System, bot: FakeWeCom) -> None:
    await system.publish(escalation("page", source="/aftercare/crisis"))
    assert bot.attempts == 0


async def test_an_erased_client_leaves_the_incidents_once_they_are_resolved(system: System) -> None:
    await system.publish(crisis_flagged(client_id="client-9", case_id="case-9", id="1"))
    async with system.client("crisis", "supervisor") as client:
        incident = (await client.get("/v1/incidents")).json()["items"][0]["incident_id"]
        await system.publish(client_erased(client_id="client-9"))
        assert (await client.get(f"/v1/incidents/{incident}")).json()["client_id"] == "client-9"
        await client.post(f"/v1/incidents/{incident}/resolve")
        await system.settled()
        assert (await client.get(f"/v1/incidents/{incident}")).json()["client_id"] == "erased"
    for name in ("incidents", "timeline", "erasures"):
        stored = [str(found) async for found in system.db("crisis").get_collection(name).find({})]
        assert not [found for found in stored if "client-9" in found or "case-9" in found], name
