"""What is written down of an incident is one chain, which `aftercare incidents` proves."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import pytest

from aftercare.fake_wecom import FakeWeCom
from services.crisis import domain
from services.crisis.main import build
from services.crisis.pager import Pager
from services.crisis.settings import CrisisSettings
from shared.contracts.envelope import Event
from shared.contracts.events import CrisisFlagged
from tests.builders import at, client_erased, crisis_flagged
from tests.integration.conftest import Invoke
from tests.integration.crisis.test_pages import path, told
from tests.system import System


async def told_story(system: System, bot: FakeWeCom, client: str = "client-1") -> str:
    """An incident with some pages and an acknowledgement; its id."""
    await system.publish(crisis_flagged(client_id=client))
    await system.until(at("2026-04-01 10:05"))
    async with system.client("crisis", "supervisor") as someone:
        await someone.post(path(bot))
        items = (await someone.get("/v1/incidents")).json()["items"]
    await system.settled()
    return next(item["incident_id"] for item in items if item["client_id"] == client)


async def test_each_entry_follows_the_one_before_and_the_whole_is_proven(
    system: System, bot: FakeWeCom, incidents: Invoke
) -> None:
    incident = await told_story(system, bot)
    timeline = system.db("crisis").get_collection("timeline")
    entries = [entry async for entry in timeline.find({"incident_id": incident}).sort("number", 1)]
    assert [entry["number"] for entry in entries] == list(range(1, len(entries) + 1))
    assert all(later["previous"] == entry["hash"] for entry, later in itertools.pairwise(entries))

    whole = await incidents("verify")
    assert (whole.exit_code, f"1 incidents, {len(entries)} entries: whole" in whole.output) == (0, True)
    listed, shown = await incidents("list"), await incidents("show", incident)
    assert (incident in listed.output, "1 incidents" in listed.output) == (True, True)
    assert [line.split()[4] for line in shown.output.splitlines()] == [
        "flagged", "paged", "escalated", "paged", "acknowledged",
    ]  # fmt: skip

    await timeline.update_one({"_id": entries[2]["_id"]}, {"$set": {"moment.by": "somebody-else"}})
    changed = await incidents("verify", "--incident", incident)
    assert changed.exit_code == 1
    assert f"incident {incident}, entry 3: changed" in changed.output


@pytest.mark.parametrize("cut", ["timeline", "incidents"])
async def test_a_cut_tail_and_a_changed_summary_show(
    system: System, bot: FakeWeCom, incidents: Invoke, cut: str
) -> None:
    incident = await told_story(system, bot)
    if cut == "timeline":
        timeline = system.db("crisis").get_collection("timeline")
        last = await timeline.find_one({"incident_id": incident}, sort=[("number", -1)])
        await timeline.delete_one({"_id": last["_id"]})
        expected = f"entry {last['number']}: cut"
    else:
        kept = system.db("crisis").get_collection("incidents")
        await kept.update_one({"_id": incident}, {"$set": {"acknowledged_by": "somebody-else"}})
        expected = "its record tells otherwise of: acknowledged_by"
    result = await incidents("verify")
    assert (result.exit_code, expected in result.output) == (1, True)


async def test_an_incident_that_vanished_whole_shows_by_an_earlier_export(
    system: System, bot: FakeWeCom, incidents: Invoke, tmp_path: Path
) -> None:
    incident = await told_story(system, bot, client="client-7")
    assert (await incidents("export", "kept.jsonl")).exit_code == 0
    assert "client-7" not in (tmp_path / "kept.jsonl").read_text()
    assert (await incidents("verify", "--file", "kept.jsonl")).exit_code == 0
    assert (await incidents("verify", "--since", "kept.jsonl")).exit_code == 0
    assert (await incidents("export", "kept.jsonl")).exit_code != 0, "an export is not written over"

    for name in ("timeline", "incidents"):
        await system.db("crisis").get_collection(name).delete_many({})
    assert (await incidents("verify")).exit_code == 0, "nothing is left to be wrong"
    since = await incidents("verify", "--since", "kept.jsonl")
    assert (since.exit_code, f"incident {incident}: removed" in since.output) == (1, True)


async def test_after_an_erasure_the_record_is_whole(
    system: System, bot: FakeWeCom, incidents: Invoke
) -> None:
    incident = await told_story(system, bot, client="client-9")
    await system.publish(client_erased(client_id="client-9"))
    async with system.client("crisis", "supervisor") as someone:
        await someone.post(f"/v1/incidents/{incident}/resolve")
    await system.until(at("2026-04-01 10:10"))
    timeline = system.db("crisis").get_collection("timeline")
    flagged = await timeline.find_one({"incident_id": incident, "moment.kind": "flagged"})
    assert (flagged["moment"]["flag"]["client_id"], "salt" in flagged) == ("erased", False)
    assert (await incidents("verify")).exit_code == 0


async def test_entries_from_before_the_chain_are_told_apart(
    system: System, bot: FakeWeCom, incidents: Invoke
) -> None:
    incident = await told_story(system, bot)
    chain = dict.fromkeys(("number", "previous", "hash", "about", "salt"), "")
    await system.db("crisis").get_collection("timeline").update_many({}, {"$unset": chain})
    await system.db("crisis").get_collection("incidents").update_many({}, {"$set": {"record": None}})
    old = await incidents("verify")
    assert (old.exit_code, "written before entries were chained" in old.output) == (0, True)
    async with system.client("crisis", "supervisor") as someone:
        await someone.post(f"/v1/incidents/{incident}/resolve")
    await system.settled()
    newer = await incidents("verify")
    assert (newer.exit_code, "5 were written before entries were chained" in newer.output) == (0, True)


async def test_two_replicas_that_race_continue_one_chain(
    system: System, settings: dict[str, Any], bot: FakeWeCom, paging: dict[str, Any], incidents: Invoke
) -> None:
    """The same client flagged at both at once, many times over, while both page and acknowledge."""
    other = build(CrisisSettings(**settings, **paging), system.clock, system.progress)
    async with other.router.lifespan_context(other):
        await asyncio.wait_for(other.state.runtime.connected.wait(), 30)
        pagers = [system.app("crisis").state.pager, other.state.pager]
        for number in range(12):
            flagged = [crisis_flagged(client_id="client-1", id=f"{number}-{side}") for side in (0, 1)]
            for pager, flag in zip(pagers, flagged, strict=True):
                raise_at(pager, flag, system)
        await system.settled()
        await asyncio.gather(*(pager.board.sync() for pager in pagers))
        await system.settled()
    kept = [one async for one in system.db("crisis").get_collection("incidents").find({})]
    assert len(kept) == 1
    assert len([one for one in kept[0]["timeline"] if one["kind"] == "flagged"]) == 24
    result = await incidents("verify")
    assert result.exit_code == 0, result.output
    changes = [change for change, _ in await told(system)]
    assert changes.count("opened") == 1


def raise_at(pager: Pager, flag: Event, system: System) -> None:
    """A flag that arrives at one replica alone."""
    assert isinstance(flag.data, CrisisFlagged)
    pager.raise_flag(domain.read_flag(flag, flag.data, system.clock.now()))
