"""The record of an incident: every entry of its timeline, chained by hash to the one written before it. Pure.

`hash` of entry n is SHA-256 over the canonical JSON (keys sorted, no spaces, times as RFC 3339) of
`{incident_id, number: n, previous, moment, about}`:

- `previous` is the hash of entry n - 1; for the first one, that of `{incident_id, before}`, where `before` counts the
  entries that lay there when the chain began (written by a release that had none);
- what leads to whom a flag is about (client, case, follow-up, digest of the event) is left out of `moment`. `about`
  stands for it: SHA-256 over a random `salt`, kept beside, and the references. Erasure takes references and salt
  away: nobody can find the client by trying out ids, and the chain still holds.

The incident keeps the number of entries and the last hash (`Head`), written in the same transaction: a cut tail shows.
Who may write the database can write everything anew, head included: against that, keep an earlier export elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from shared.contracts.types import write_time

REFERENCES = ("client_id", "case_id", "follow_up_id", "digest")
"""What leads from a flag to a person; the fields of `domain.NOBODY`."""

Entry = Mapping[str, Any]
"""An entry as it is stored or exported: `incident_id`, `moment`, and of a chained one `number`, `previous`, `hash`, of
one with a flag `about` and, until it is erased, `salt`."""

Tampering = Literal["changed", "removed", "inserted", "reordered", "cut"]


class Head(BaseModel):
    """Where a chain ends."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    count: int
    hash: str
    before: int = 0
    """How many entries were written before there was a chain: of those nothing is proven but their number."""


@dataclass(frozen=True)
class Finding:
    """Something in a record that is not as it was written."""

    incident_id: str
    what: Tampering
    number: int | None
    """Of the entry, counted from 1 in the order written; None where it is about no single one."""
    said: str


def begin(incident_id: str, before: int = 0) -> Head:
    """The head of a chain without entries."""
    return Head(count=0, hash=_hash({"incident_id": incident_id, "before": before}), before=before)


def append(
    head: Head, incident_id: str, moments: Iterable[Mapping[str, Any]], salt: Callable[[], str]
) -> tuple[Head, list[dict[str, Any]]]:
    """The new head and the entries to be stored for these moments, in their order."""
    entries = []
    for moment in moments:
        entry: dict[str, Any] = {
            "incident_id": incident_id, "moment": moment, "number": head.count + 1, "previous": head.hash,
        }  # fmt: skip
        if moment.get("flag"):
            entry["salt"] = salt()
            entry["about"] = _about(entry["salt"], moment["flag"])
        entry["hash"] = hash_of(entry)
        entries.append(entry)
        head = head.model_copy(update={"count": entry["number"], "hash": entry["hash"]})
    return head, entries


def hash_of(entry: Entry) -> str:
    """The hash of an entry, computed from what it says."""
    covered = {name: entry.get(name) for name in ("incident_id", "number", "previous", "about")}
    return _hash(covered | {"moment": without_references(entry.get("moment") or {})})


def without_references(moment: Mapping[str, Any]) -> dict[str, Any]:
    """A moment without whom its flag is about."""
    flag = moment.get("flag")
    if not flag:
        return dict(moment)
    return {**moment, "flag": {name: value for name, value in flag.items() if name not in REFERENCES}}


def exported(entry: Entry) -> dict[str, Any]:
    """An entry to be kept elsewhere, as plain JSON: it leads to nobody, and verifies like an erased one."""
    kept = {name: value for name, value in entry.items() if name not in ("_id", "salt")}
    plain: dict[str, Any] = _plain({**kept, "moment": without_references(entry["moment"])})
    return plain


def check(
    incident_id: str, head: Head | None, entries: Sequence[Entry], *, erased: bool | None = None
) -> list[Finding]:
    """What is not as it was written; empty for a whole record.

    `erased`: whether the client was erased, as the incident says; None where that is not known (an export).
    """
    return _Check(incident_id, entries, erased).against(head)


def holds(head: Head, incident_id: str, entries: Sequence[Entry]) -> list[Finding]:
    """What is missing or different of a record whose head was `head` at some time before."""
    last = next((entry for entry in entries if entry.get("number") == head.count), None)
    known = {begin(incident_id, head.before).hash} if not head.count else {(last or {}).get("hash")}
    if head.hash in known:
        return []
    said = f"an earlier export knows {head.count} entries, and they are not these"
    return [Finding(incident_id, "changed" if last else "cut", head.count, said)]


class _Check:
    """One look at the record of one incident."""

    def __init__(self, incident_id: str, entries: Sequence[Entry], erased: bool | None) -> None:
        self._incident_id = incident_id
        self._erased = erased
        self._places: dict[int, list[Entry]] = {}
        self._findings: list[Finding] = []
        self._loose = 0
        for entry in entries:
            if "hash" not in entry:
                self._loose += 1
            else:
                number = entry.get("number")
                self._places.setdefault(number if isinstance(number, int) else 0, []).append(entry)

    def against(self, head: Head | None) -> list[Finding]:
        if head is None:
            if self._places:
                self._find("changed", None, "its entries are chained, and the incident does not say how many")
            return self._findings
        self._outside(head)
        before: str | None = begin(self._incident_id, head.before).hash
        for number in range(1, head.count + 1):
            entry = self._at(number, head)
            if entry is None:
                before = None
                continue
            if not self._is_itself(entry, number):
                before = None
                continue
            if before is not None and entry.get("previous") != before:
                where = "the beginning of the chain" if number == 1 else f"entry {number - 1}"
                self._find("changed", number - 1 or None, f"{where} is not what entry {number} followed")
            before = entry["hash"]
        if before is not None and before != head.hash:
            self._find("changed", head.count or None, "the end is another than the incident tells")
        self._absent(head)
        return self._findings

    def _outside(self, head: Head) -> None:
        """Entries that are in no chain, or after its end."""
        if self._loose != head.before:
            what: Tampering = "inserted" if self._loose > head.before else "removed"
            told = f"{self._loose} entries are in no chain, and there were {head.before} before it began"
            self._find(what, None, told)
        for number in sorted(n for n in self._places if n < 1 or n > head.count):
            self._find("inserted", number, f"it stands outside the {head.count} entries that were written")

    def _absent(self, head: Head) -> None:
        missing = [number for number in range(1, head.count + 1) if number not in self._places]
        last = max((number for number in self._places if number <= head.count), default=0)
        for number in missing:
            if number < last:
                self._find("removed", number, "it is missing")
        if head.count > last:
            told = f"{head.count} entries were written, and there is none after entry {last}"
            self._find("cut", last + 1, told)

    def _at(self, number: int, head: Head) -> Entry | None:
        """The entry at a place; where there are several, the one that those after it know."""
        found = self._places.get(number, [])
        after = {entry.get("previous") for entry in self._places.get(number + 1, [])}
        if number == head.count:
            after.add(head.hash)
        genuine = next((entry for entry in found if entry["hash"] in after), found[0] if found else None)
        for entry in found:
            if entry is not genuine:
                self._find("inserted", number, "another entry has this place in the chain")
        return genuine

    def _is_itself(self, entry: Entry, number: int) -> bool:
        """Whether an entry says, at its place, what it said when it was written."""
        if hash_of(entry) != entry["hash"]:
            was = self._written_as(entry)
            if was is None:
                self._find("changed", number, "it does not say what was written")
            else:
                self._find("reordered", number, f"it was written as entry {was}")
            return False
        if flag := entry["moment"].get("flag"):
            self._check_about(entry, number, flag)
        return True

    def _check_about(self, entry: Entry, number: int, flag: Mapping[str, Any]) -> None:
        if "salt" in entry:
            if entry.get("about") != _about(str(entry["salt"]), flag):
                self._find("changed", number, "it is about somebody else than was written")
        elif any(flag.get(name) not in (None, "", "erased") for name in REFERENCES):
            self._find("changed", number, "it is about somebody, and was erased")
        elif self._erased is False:
            self._find("changed", number, "whom it is about was taken away, and the client was not erased")

    def _written_as(self, entry: Entry) -> int | None:
        """The place for which the hash of an entry was made."""
        places = range(1, max(self._places) + 1)
        return next((n for n in places if hash_of({**entry, "number": n}) == entry["hash"]), None)

    def _find(self, what: Tampering, number: int | None, said: str) -> None:
        self._findings.append(Finding(self._incident_id, what, number, said))


def _about(salt: str, flag: Mapping[str, Any]) -> str:
    return _hash({"salt": salt} | {name: flag.get(name) for name in REFERENCES})


def _hash(said: Mapping[str, Any]) -> str:
    text = json.dumps(_plain(said), sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return write_time(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
