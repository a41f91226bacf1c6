"""How a record of the bus is shown."""

from __future__ import annotations

import json

from aiokafka import ConsumerRecord

from aftercare.tail import line, whole
from shared.contracts.envelope import Event
from tests import builders


def record(event: Event, value: bytes | None = None) -> ConsumerRecord:
    return as_record(
        event.topic, value if value is not None else event.data.to_json(), tuple(event.headers())
    )


def as_record(topic: str, value: bytes, headers: tuple[tuple[str, bytes], ...] = ()) -> ConsumerRecord:
    return ConsumerRecord(
        topic=topic, partition=0, offset=7, timestamp=1_772_416_800_000, timestamp_type=0, key=b"k", value=value,
        checksum=None, serialized_key_size=1, serialized_value_size=len(value), headers=headers,
    )  # fmt: skip


def test_an_event_is_one_line_in_the_companys_time() -> None:
    event = builders.case_closed(case_id="case-9", closed_at="2026-03-02 10:00", id="e-1")
    shown = line("case-closed", record(event)).plain
    assert shown.split() == ["2026-03-02", "10:00:00", "case-closed", "case-9", "e-1"]


def test_what_changed_is_shown_in_its_coded_words() -> None:
    event = builders.event(
        "duty-changed",
        {"duty_id": "d", "rule": "record-24h", "clause": "F60", "role": "operations", "subject": "f",
         "change": "opened", "due_at": "2026-03-02T10:00:00+08:00", "at": "2026-03-01T10:00:00+08:00"},
    )  # fmt: skip
    assert line("duty-changed", record(event)).plain.endswith("opened  record-24h")


def test_json_is_the_whole_event() -> None:
    event = builders.case_closed(case_id="case-9")
    assert whole("case-closed", record(event)) == event.structured()


def test_an_unreadable_record_is_told_without_what_it_holds() -> None:
    event = builders.case_closed()
    broken = record(event, json.dumps({"case_id": "Zhang San", "Li Si": 1}).encode())
    for shown in (line("case-closed", broken).plain, json.dumps(whole("case-closed", broken))):
        assert "unreadable" in shown
        assert "invalid-field" in shown
        assert "Zhang" not in shown
        assert "Li Si" not in shown


def test_a_dead_letter_is_shown_by_its_reason() -> None:
    letter = {
        "id": "0123456789abcdef",
        "reason": "unknown-type",
        "field": "type",
        "at": "2026-03-02T10:00:00+08:00",
    }
    sent = as_record("intake.dead-letter", json.dumps(letter).encode())
    assert line("intake.dead-letter", sent).plain.split()[2:] == [
        "intake.dead-letter", "0123456789ab", "unknown-type", "type",
    ]  # fmt: skip
    assert whole("intake.dead-letter", sent)["id"] == "0123456789abcdef"
