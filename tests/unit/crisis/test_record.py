"""The record of an incident: what was changed, removed, inserted, reordered or cut off shows."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from services.crisis import domain, record
from services.crisis.record import Finding, Head
from tests.unit.crisis.stories import Story, flag

Entries = list[dict[str, Any]]
CLIENT = "client-77"


def written(before: int = 0) -> tuple[Head, Entries]:
    """The record of an incident that was acknowledged after a while, as it is stored."""
    story = Story.of(flag(client=CLIENT)).after(12).does(domain.acknowledge)
    salts = (f"salt-{n}" for n in itertools.count())
    lines = [line.model_dump() for line in story.incident.timeline]
    return record.append(record.begin("one", before), "one", lines, lambda: next(salts))


def found(entries: Entries, head: Head | None = None, **given: Any) -> list[tuple[str, int | None]]:
    findings = record.check("one", head or written()[0], entries, **given)
    return [(finding.what, finding.number) for finding in findings]


def test_what_nobody_touched_is_whole_in_whatever_order_it_is_read() -> None:
    head, entries = written()
    assert head.count == len(entries) > 5
    assert found(entries) == found(entries[::-1]) == []


def change(entries: Entries, number: int) -> None:
    entries[number - 1]["moment"]["by"] = "somebody-else"


def change_and_hash_again(entries: Entries, number: int) -> None:
    change(entries, number)
    entries[number - 1]["hash"] = record.hash_of(entries[number - 1])


def remove(entries: Entries, number: int) -> None:
    del entries[number - 1]


def insert(entries: Entries, number: int) -> None:
    between = {**entries[number - 1], "moment": {**entries[number - 1]["moment"], "by": "nobody"}}
    entries.append(between | {"hash": record.hash_of(between)})


def swap(entries: Entries, number: int) -> None:
    one, other = entries[number - 1], entries[number]
    one["number"], other["number"] = other["number"], one["number"]


TAMPERED: dict[str, tuple[Callable[[Entries, int], None], list[tuple[str, int | None]]]] = {
    "changed": (change, [("changed", 3)]),
    "changed, its hash with it": (change_and_hash_again, [("changed", 3)]),
    "removed": (remove, [("removed", 3)]),
    "inserted": (insert, [("inserted", 3)]),
    "reordered": (swap, [("reordered", 3), ("reordered", 4)]),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_tampering_is_named_with_its_place(how: str) -> None:
    tamper, expected = TAMPERED[how]
    _, entries = written()
    tamper(entries, 3)
    assert found(entries) == expected


def test_a_tail_that_was_cut_off_shows_by_what_the_incident_tells() -> None:
    head, entries = written()
    assert found(entries[:-2]) == [("cut", head.count - 1)]
    assert found([], head) == [("cut", 1)]


def test_an_end_written_anew_shows_by_what_the_incident_tells() -> None:
    _, entries = written()
    change_and_hash_again(entries, len(entries))
    assert found(entries) == [("changed", len(entries))]


def test_an_entry_without_a_chain_beside_one_is_no_old_one() -> None:
    _, entries = written()
    stray = {"incident_id": "one", "moment": entries[0]["moment"]}
    assert found([*entries, stray]) == [("inserted", None)]


def test_entries_from_before_the_chain_are_counted_and_nothing_more_is_proven_of_them() -> None:
    head, entries = written(before=2)
    old = [{"incident_id": "one", "moment": {"id": f"paged {n}", "kind": "paged"}} for n in range(2)]
    assert found([*old, *entries], head) == []
    assert found([*old[1:], *entries], head) == [("removed", None)]
    assert record.check("one", None, old) == []


def test_a_record_written_anew_shows_by_an_earlier_export() -> None:
    earlier, entries = written()
    anew_head, anew = record.append(
        record.begin("one"), "one", [{**entry["moment"], "by": None} for entry in entries], lambda: "salt"
    )
    assert record.check("one", anew_head, anew) == [], "a chain alone proves nothing against its own writer"
    assert [finding.what for finding in record.holds(earlier, "one", anew)] == ["changed"]
    assert [finding.what for finding in record.holds(earlier, "one", anew[:-1])] == ["cut"]
    assert record.holds(earlier, "one", entries) == []


def erase(entries: Entries) -> None:
    """As the store does for an erased client."""
    for entry in entries:
        if flagged := entry["moment"].get("flag"):
            flagged |= domain.NOBODY
            del entry["salt"]


def test_an_erased_client_is_gone_and_the_record_still_whole() -> None:
    _, entries = written()
    erase(entries)
    assert CLIENT not in json.dumps(entries, default=str)
    assert entries[0]["moment"]["flag"]["digest"] == "", "the client could be tried out on it"
    assert found(entries, erased=True) == []


def test_an_erasure_that_nobody_asked_for_shows() -> None:
    _, entries = written()
    erase(entries)
    assert found(entries, erased=False) == [("changed", 1)]


def test_a_flag_given_to_another_client_shows() -> None:
    _, entries = written()
    entries[0]["moment"]["flag"]["client_id"] = "client-78"
    assert found(entries) == [("changed", 1)]
    entries[0].pop("salt")
    assert found(entries) == [("changed", 1)]


def test_what_is_exported_leads_to_nobody_and_verifies() -> None:
    head, entries = written()
    exported = json.loads(json.dumps([record.exported(entry) for entry in entries]))
    assert CLIENT not in json.dumps(exported)
    assert "salt-" not in json.dumps(exported)
    assert found(exported, head) == []
    change(exported, 3)
    assert found(exported, head) == [("changed", 3)]


def test_garbage_is_a_finding_and_no_error() -> None:
    head, entries = written()
    entries[2] = {"incident_id": "one", "hash": "x"}
    assert {what for what, _ in found(entries, head)} == {"removed", "inserted"}
    assert record.check("one", None, entries) == [
        Finding("one", "changed", None, "its entries are chained, and the incident does not say how many")
    ]
