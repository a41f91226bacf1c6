"""A client has one open incident, whatever is reopened and by whichever replica."""

from __future__ import annotations

import asyncio
from typing import Any

from services.crisis import domain
from services.crisis.main import build
from services.crisis.settings import CrisisSettings
from tests.builders import crisis_flagged
from tests.system import System


async def ended_and_flagged_again(system: System) -> tuple[str, str]:
    """A client's first incident, which is over, and the second, which is open."""
    await system.publish(crisis_flagged(id="1"))
    async with system.client("crisis", "supervisor") as client:
        first = (await client.get("/v1/incidents")).json()["items"][0]["incident_id"]
        await client.post(f"/v1/incidents/{first}/resolve")
        await system.publish(crisis_flagged(id="2"))
        second = (await client.get("/v1/incidents?state=opened")).json()["items"][0]["incident_id"]
    assert first != second
    return first, second


async def test_an_ended_one_is_not_reopened_beside_an_open_one(system: System) -> None:
    first, second = await ended_and_flagged_again(system)
    async with system.client("crisis", "supervisor") as client:
        refused = await client.post(f"/v1/incidents/{first}/reopen")
        assert (refused.status_code, refused.json()["reason"]) == (409, "not-possible")
        await client.post(f"/v1/incidents/{second}/resolve")
        assert (await client.post(f"/v1/incidents/{first}/reopen")).status_code == 200
    await system.settled()


async def test_what_another_replica_reopened_meanwhile_goes_into_the_open_one_and_holds_nothing_up(
    system: System, settings: dict[str, Any], paging: dict[str, Any]
) -> None:
    first, second = await ended_and_flagged_again(system)
    other = build(CrisisSettings(**settings, **paging), system.clock, system.progress)
    async with other.router.lifespan_context(other):
        await asyncio.wait_for(other.state.runtime.connected.wait(), 30)
        other.state.pager.board.watches.pop(second, None)  # it has not read of it yet
        await other.state.pager.command(
            first, lambda known: domain.reopen(known, "staff-2", system.clock.now())
        )
        await system.publish(crisis_flagged(client_id="client-2", id="3"))
        await system.settled()
        assert other.state.pager.board.find(first).incident.id == second
    incidents = system.db("crisis").get_collection("incidents")
    stored = {one["_id"]: one async for one in incidents.find({})}
    assert (stored[first]["state"], stored[second]["state"], len(stored)) == ("resolved", "opened", 3)
    assert "reopened" in [line["kind"] for line in stored[second]["timeline"]]
