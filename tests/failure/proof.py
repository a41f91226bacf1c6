"""What must hold after every run: nothing lost, nothing done twice, everything as if nothing had happened."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from services.intake.domain.ledger import Case, Client
from services.reporting.domain.read_models import FollowUp as Reported
from services.scheduler.domain.agenda import FollowUp, Reminder, item
from services.survey.domain.follow_ups import FollowUp as Conducted
from shared.contracts.topics import TOPICS, consumed_by
from tests.failure.run import Run
from tests.failure.stories import ASIDE, Ends

Said = tuple[str, bytes, bytes]
"""Topic, key and body of a record, with the time in the body's place where there is one."""

ONCE = {
    "case-classified": ("case_id", "revision"),
    "follow-up-due": ("follow_up_id",),
    "reminder-due": ("reminder_id",),
    "duty-changed": ("duty_id", "change"),
    "escalation-required": ("escalation_id",),
    "calendar-due": ("rule", "month"),
}
"""What may be said once only, under one id, however often the record lies on the bus."""


async def prove(run: Run, ends: Ends, refused: Mapping[str, int] | None = None) -> None:
    """Everything that must hold; `refused` has the dead letters that each service must have written."""
    bus = await run.bus()
    _no_id_says_two_things(bus, aside=bool(refused))
    await _every_event_is_accounted_for(run, bus)
    await _what_was_committed_is_on_the_bus_and_nothing_else(run, bus)
    _nothing_is_said_twice(bus)
    await _dead_letters(run, bus, refused or {})
    await _ends(run, ends)


def unique(record: Any) -> str:
    headers = dict(record.headers)
    if "ce_id" not in headers:
        return record.key.decode()
    return b" ".join((headers.get("ce_source", b""), headers["ce_id"])).decode(errors="replace")


def _said(record: Any, topic: str) -> Said:
    return topic, record.key, dict(record.headers).get("ce_time", b"") + b" " + record.value


def _no_id_says_two_things(bus: Mapping[str, list[Any]], *, aside: bool) -> None:
    said: dict[str, set[Said]] = defaultdict(set)
    for topic, records in bus.items():
        for record in records:
            if not (aside and topic in _company()):  # spoilt input says what it likes
                said[unique(record)].add(_said(record, topic))
    assert [key for key, bodies in said.items() if len(bodies) > 1] == []


def _company() -> set[str]:
    return {name for name, topic in TOPICS.items() if topic.publishers == ("company-systems",)} | {
        "attention-changed",
        "consent-changed",
    }


async def _every_event_is_accounted_for(run: Run, bus: Mapping[str, list[Any]]) -> None:
    published = {unique(record) for topic in _company() for record in bus.get(topic, ())}
    assert {event.unique for event in run.input} <= published
    for service, db in run.databases.items():
        if service == "crisis":
            continue  # its pager has no journal entry for each record, and none is published to it here
        handled = {mark["_id"] async for mark in db.get_collection("journal").find({}, {"_id": 1})}
        letters = [one["origin"] async for one in db.get_collection("dead_letters").find({}, {"origin": 1})]
        refused = {(one["topic"], one["partition"], one["offset"]) for one in letters}
        lost = [
            f"{topic} {unique(record)}"
            for topic in consumed_by(service)
            for record in bus.get(topic, ())
            if f"in {unique(record)}" not in handled
            and (record.topic, record.partition, record.offset) not in refused
        ]
        assert lost == [], f"{service} has lost {len(lost)}"


async def _what_was_committed_is_on_the_bus_and_nothing_else(run: Run, bus: Mapping[str, list[Any]]) -> None:
    committed: set[Said] = set()
    for db in run.databases.values():
        async for parcel in db.get_collection("outbox").find({}):
            assert parcel["dispatched"]
            for record in parcel["records"]:
                time = bytes(record["headers"].get("ce_time", b""))
                committed.add((record["topic"], bytes(record["key"]), time + b" " + bytes(record["value"])))
    published = {
        _said(record, topic)
        for topic, records in bus.items()
        for record in records
        if topic not in _company() or unique(record).startswith("/aftercare/")
    }
    assert len(committed - published) == 0, "committed and not on the bus"
    assert len(published - committed) == 0, "on the bus and not committed"


def _nothing_is_said_twice(bus: Mapping[str, list[Any]]) -> None:
    for topic, fields in ONCE.items():
        ids: dict[Any, set[str]] = defaultdict(set)
        for record in bus.get(topic, ()):
            body = TOPICS[topic].model.from_json(record.value)
            ids[tuple(getattr(body, name) for name in fields)].add(unique(record))
        assert [thing for thing, names in ids.items() if len(names) > 1] == [], topic


async def _dead_letters(run: Run, bus: Mapping[str, list[Any]], refused: Mapping[str, int]) -> None:
    for service, db in run.databases.items():
        stored = [one async for one in db.get_collection("dead_letters").find({}, {"reason": 1})]
        told = {record.key.decode() for record in bus.get(f"{service}.dead-letter", ())}
        reasons = Counter(one["reason"] for one in stored)
        assert len(stored) == refused.get(service, 0), f"{service}: {reasons}"
        assert {one["_id"] for one in stored} == told


async def _ends(run: Run, ends: Ends) -> None:
    intake, scheduler = run.databases["intake"], run.databases["scheduler"]
    found = Ends()
    found.add(
        [Case.model_validate(stored) async for stored in intake.get_collection("cases").find()],
        [Client.model_validate(stored) async for stored in intake.get_collection("clients").find()],
        [item(stored) async for stored in scheduler.get_collection("agenda").find()],
    )
    for part in ("cases", "clients", "follow_ups", "duties", "reminders"):
        different = _different(getattr(found, part), getattr(ends, part))
        assert not different, f"{len(different)} {part} (id, is, should): {different[:3]}"


async def _told_twice_at_once(run: Run) -> set[str]:
    topic = "follow-up-planned"
    records = {unique(record): record for record in (await run.bus()).get(topic, ())}
    told = Counter((record.key.decode(), dict(record.headers)["ce_time"]) for record in records.values())
    return {key for (key, _), count in told.items() if count > 1}


def _different(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Any]:
    keys: Iterable[str] = one.keys() | other.keys()
    return [(key, one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)]


async def prove_readers(run: Run) -> None:
    """Reporting and survey know of each follow-up what the scheduler knows, and of each reminder once."""
    scheduler, survey, reporting = (run.databases[name] for name in ("scheduler", "survey", "reporting"))
    agenda = [item(stored) async for stored in scheduler.get_collection("agenda").find()]
    follow_ups = {one.id: one for one in agenda if isinstance(one, FollowUp)}
    standing = {key: one.scheduled_for for key, one in follow_ups.items() if one.pending}
    reported = [Reported.model_validate(one) async for one in reporting.get_collection("follow_ups").find()]
    assert {one.id for one in reported} == set(follow_ups)
    stands = ("planned", "moved")
    plans = {one.id: one.plan.scheduled_for for one in reported if one.plan and one.plan.change in stands}
    # Of what is said of a follow-up at one and the same instant reporting takes the graver: planned anew in the
    # batch in which it was cancelled, it counts as cancelled until it is due.
    unclear = await _told_twice_at_once(run)
    assert [one for one in _different(plans, standing) if one[0] not in unclear] == []
    conducted = [Conducted.model_validate(one) async for one in survey.get_collection("follow_ups").find()]
    assert {one.id for one in conducted} == set(follow_ups)
    assert _different({one.id: one.scheduled_for for one in conducted if not one.over}, standing) == []
    sent = {
        one.id
        for one in agenda
        if isinstance(one, Reminder) and one.state == "sent" and one.what not in ASIDE
    }
    ordinary = {"what": {"$nin": list(ASIDE)}}
    told = [
        one["_id"]
        for kind in ("messages", "notices")
        async for one in survey.get_collection(kind).find(ordinary)
    ]
    assert sorted(told) == sorted(sent)
    duties = {one.id: one.published for one in agenda if one.kind == "duty" and one.published}
    counted = {one["_id"] async for one in reporting.get_collection("duties").find()}
    assert counted == set(duties)
