"""Copies of stored cases, each with ids of its own in every collection, made fast: as bytes.

Every name that a case has in a document - its own 16 hexadecimal digits, and the 32 of a follow-up, a duty, a guard or
an event - has a fixed length, so a copy is the same BSON with other names at the same places. Names that the product
computes (an item of the agenda, a guard) are computed as it does, so that what arrives about a copied case finds it.
"""

from __future__ import annotations

import hashlib
import random
import re
import struct
import time
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import bson
from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.write_concern import WriteConcern

from services.scheduler.domain.agenda import SLOTS, name_of
from shared.contracts.types import write_time
from shared.mongo.journal import KEEP, RETAIN
from shared.settings import Settings

SERVICES = ("intake", "scheduler")
BATCH = 250
"""So many cases are written at a time."""

WRITERS = 2
MOST_WAITING = 30
"""So many writes are under way or wait while copies are made: what bounds the memory."""

PUT_OFF = timedelta(days=1)
"""Timers that would fire within this time fire so much later: none shall during the measurement."""

_NAME = re.compile(rb"[0-9a-f]{32}|(?<![0-9a-f])[0-9a-f]{16}(?![0-9a-f])")
_SLOT = b"\x10slot\x00"

Place = tuple[str, str]
"""A service and a collection of its database."""

Rename = Callable[[Mapping[bytes, bytes]], bytes]


@dataclass(frozen=True)
class Blank:
    """A document in pieces, between which names are put."""

    pieces: tuple[bytes, ...]
    names: tuple[tuple[int, bytes], ...]
    """Which piece is a name, and which."""
    slot: int | None
    """The piece that is the slot of an item of the agenda, which follows from its id."""

    @classmethod
    def of(cls, document: bytes, known: Mapping[bytes, bytes]) -> Blank:
        pieces = re.split(b"(%s)" % _NAME.pattern, document)
        slot = None
        if _SLOT in document:
            at = next(n for n, piece in enumerate(pieces) if _SLOT in piece)
            before, mark, after = pieces[at].partition(_SLOT)
            pieces[at : at + 1] = [before + mark, after[:4], after[4:]]
            slot = at + 1
        names = ((n, piece) for n, piece in enumerate(pieces) if n != slot and piece in known)
        return cls(tuple(pieces), tuple(names), slot)

    def filled(self, new: Mapping[bytes, bytes]) -> bytes:
        pieces = list(self.pieces)
        for at, old in self.names:
            pieces[at] = new[old]
        if self.slot is not None:  # the first name is the id
            pieces[self.slot] = struct.pack("<i", zlib.crc32(pieces[self.names[0][0]]) % SLOTS)
        return b"".join(pieces)


@dataclass
class Template:
    """Everything that is stored about one case: its documents, and how its names are found for a copy."""

    name: bytes
    blanks: dict[Place, list[Blank]] = field(default_factory=lambda: defaultdict(list))
    names: list[tuple[bytes, Rename]] = field(default_factory=list)
    """Each name, and what it is in a copy, given the names found before."""

    def copy(self, name: bytes) -> Iterator[tuple[Place, list[bytes]]]:
        new = {self.name: name}
        for old, renamed in self.names:
            new[old] = renamed(new)
        for place, blanks in self.blanks.items():
            yield place, [blank.filled(new) for blank in blanks]


@dataclass
class Stock:
    """What the services stored about the first cases."""

    templates: Sequence[Template]
    parcels: Mapping[str, Sequence[dict[str, Any]]]
    """What lies in each service's outbox."""
    once: Mapping[Place, Sequence[dict[str, Any]]]
    """What is there once, however many cases there are."""
    indexes: Mapping[Place, Mapping[str, Any]]
    span: timedelta
    """In how long a time the cases came."""

    @property
    def documents(self) -> int:
        """How many documents they are, without parcels."""
        return sum(len(found) for template in self.templates for found in template.blanks.values())


def name(number: int, of: int) -> str:
    """The name of one of so many copies. They rise, so that filling is fast, and cover the whole range of names."""
    return f"{number * (2**64 // of):016x}"


def read(
    mongo: MongoClient[dict[str, Any]], settings: Settings, closed: Mapping[str, datetime], span: timedelta
) -> Stock:
    """What is stored about the cases, given by name and time of closing."""
    templates = {case.encode(): Template(case.encode()) for case in closed}
    owners = {case: case for case in templates}
    for case in templates:
        guard = hashlib.sha256(b"client-" + case).hexdigest()[:32].encode()
        owners[guard] = case
        templates[case].names.append((guard, _guard(case)))
    scheduler = mongo[settings.database("scheduler")]
    # Follow-ups first: duties and reminders are named after them.
    for stored in scheduler.agenda.find().sort([("kind", -1)]):
        if stored["kind"] == "follow-up":
            _own(templates, owners, stored, stored["owner"], stored["step"], write_time(stored["anchor"]))
    for stored in scheduler.agenda.find({"kind": {"$in": ["duty", "reminder"]}}):
        _own(templates, owners, stored, stored["subject"], stored["kind"], stored["rule"])
    parcels = {one: list(mongo[settings.database(one)].outbox.find()) for one in SERVICES}
    for record in (record for parcel in parcels["intake"] for record in parcel["records"]):
        event, owner = record["headers"]["ce_id"], _first(owners, record["key"] + record["value"])
        if owner and event not in owners:
            owners[event] = owner
            templates[owner].names.append((event, _anew(owner, event)))
    once: dict[Place, list[dict[str, Any]]] = defaultdict(list)
    found: dict[Place, Mapping[str, Any]] = {}
    now = datetime.now(UTC)
    for service in SERVICES:
        db = mongo[settings.database(service)]
        for collection in db.list_collection_names():
            place = (service, collection)
            found[place] = db[collection].index_information()
            if collection in ("outbox", "leases", "replicas"):
                continue
            for stored in db[collection].find():
                owner = _first(owners, bson.encode(stored))
                if owner is None:
                    once[place].append(stored)
                elif (document := _as_of(stored, closed[owner.decode()], now)) is not None:
                    templates[owner].blanks[place].append(Blank.of(bson.encode(document), owners))
    shuffled = list(templates.values())
    random.Random(1).shuffle(shuffled)
    return Stock(shuffled, parcels, once, found, span)


def _first(owners: Mapping[bytes, bytes], text: bytes) -> bytes | None:
    """The case whose name, or a name that belongs to it, stands first in a text."""
    return next((owners[found] for found in _NAME.findall(text) if found in owners), None)


def _as_of(stored: dict[str, Any], closed: datetime, now: datetime) -> dict[str, Any] | None:
    """A document as it would be now, if what it is about was handled in its time. None: it would have expired."""
    if "expire_at" in stored:
        stored["expire_at"] = closed + KEEP
        if stored["expire_at"] < now + PUT_OFF:
            return None
    fires = stored.get("next_at")
    if fires is not None and fires.replace(tzinfo=UTC) < now + PUT_OFF:
        stored["next_at"] = fires + PUT_OFF
    return stored


def _own(
    templates: Mapping[bytes, Template],
    owners: dict[bytes, bytes],
    stored: dict[str, Any],
    subject: str,
    first: str,
    second: str,
) -> None:
    """Take down an item of the agenda with the rule by which it is named."""
    item = stored["_id"].encode()
    case = _first(owners, subject.encode())
    if case is None:
        return
    follow_up = stored["kind"] == "follow-up"

    # What it is about is called after one name only: a case or a follow-up.
    before, about, after = re.split(b"(%s)" % _NAME.pattern, subject.encode())

    def renamed(new: Mapping[bytes, bytes]) -> bytes:
        of = (before + new[about] + after).decode()
        return name_of(*((of, first, second) if follow_up else (first, second, of))).encode()

    if renamed({about: about}) != item:
        raise RuntimeError(f"a {stored['kind']} is named in another way than it is copied")
    owners[item] = case
    templates[case].names.append((item, renamed))


def _guard(case: bytes) -> Rename:
    return lambda new: hashlib.sha256(b"client-" + new[case]).hexdigest()[:32].encode()


def _anew(case: bytes, event: bytes) -> Rename:
    """The id of an event: any that is new will do."""
    return lambda new: new[case] + event[16:]


@dataclass(frozen=True)
class Filled:
    """What filling has come to."""

    documents: int
    gigabytes: float
    """On the disk, with the indexes."""
    seconds: float


def fill(mongo: MongoClient[dict[str, Any]], settings: Settings, stock: Stock, cases: int) -> Filled:
    """Write so many copies, then the indexes, and wait until all of it is on the disk."""
    began = time.monotonic()
    quick = WriteConcern(1)
    databases = {
        service: mongo.get_database(settings.database(service), write_concern=quick) for service in SERVICES
    }
    for place, documents in stock.once.items():
        databases[place[0]][place[1]].insert_many(documents)
    with ThreadPoolExecutor(WRITERS) as writers:  # they wait for MongoDB while the next copies are made
        writing: deque[Future[Any]] = deque()
        for batch in _batches(stock, cases):
            for (service, collection), copies in batch.items():
                into = databases[service][collection]
                writing.append(writers.submit(into.insert_many, copies, ordered=False))
            while len(writing) > MOST_WAITING:
                writing.popleft().result()
        for left in writing:
            left.result()
    for service, parcels in stock.parcels.items():
        _retain(databases[service].outbox, parcels, cases / len(stock.templates) * (RETAIN / stock.span))
    for (service, collection), found in stock.indexes.items():
        for called, index in found.items():
            if called != "_id_":
                options = {key: value for key, value in index.items() if key not in ("key", "v", "ns")}
                databases[service][collection].create_index(index["key"], name=called, **options)
    mongo.admin.command("fsync")
    told = [db.command("dbStats") for db in databases.values()]
    return Filled(
        documents=int(sum(one["objects"] for one in told)),
        gigabytes=sum(one["storageSize"] + one["indexSize"] for one in told) / 1e9,
        seconds=time.monotonic() - began,
    )


def _batches(stock: Stock, cases: int) -> Iterator[Mapping[Place, list[RawBSONDocument]]]:
    for start in range(0, cases, BATCH):
        batch: dict[Place, list[RawBSONDocument]] = defaultdict(list)
        for number in range(start, min(start + BATCH, cases)):
            template = stock.templates[number % len(stock.templates)]
            for place, documents in template.copy(name(number, cases).encode()):
                batch[place] += map(RawBSONDocument, documents)
        yield batch


def _retain(outbox: Any, parcels: Sequence[dict[str, Any]], times: float) -> None:
    """So many times the parcels, over the time for which they are kept."""
    now = datetime.now(UTC)
    wanted = int(len(parcels) * times)
    copies: list[dict[str, Any]] = []
    for number in range(wanted):
        at = now - (RETAIN - PUT_OFF) * (1 - number / wanted) - timedelta(minutes=1)
        parcel = parcels[number % len(parcels)]
        copies.append({**parcel, "_id": ObjectId(), "at": at, "dispatched": True, "expire_at": at + RETAIN})
        if len(copies) == 20 or number == wanted - 1:
            outbox.insert_many(copies, ordered=False)
            copies = []
