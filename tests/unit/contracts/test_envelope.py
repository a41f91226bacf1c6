"""The envelope: both forms of an event on the wire, what is refused, and that a refusal repeats nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.contracts.asyncapi import example
from shared.contracts.envelope import (
    MAX_BODY_BYTES,
    TOLERANCE,
    Event,
    Refused,
    derive,
    parse_record,
    parse_structured,
    parse_time,
)
from shared.contracts.topics import TOPICS
from shared.contracts.types import EARLIEST, read_time, write_time
from tests.builders import at, event

NOW = at("2026-03-02 10:00")
MARKER = "张三-Zhang-13800138000"
"""What somebody sent where it does not belong."""
TRACE = f"00-{'a' * 32}-{'b' * 16}-01"
ERASED = {"client_id": "cl-1", "requested_at": "2026-03-02T09:00:00+08:00", "by": "cl-1"}


def told(**changes: Any) -> Event:
    """An event that may be taken."""
    return replace(
        event("client-erased", ERASED, id="e-1", source="/company/records"),
        **{"traceparent": TRACE} | changes,
    )


def record(**changes: bytes | None) -> list[tuple[str, Any]]:
    """Its headers, some of them changed; None leaves one out. `ce_` is added to the names."""
    headers = dict(told().headers()) | {f"ce_{name}": value for name, value in changes.items()}
    return [(name, value) for name, value in headers.items() if value is not None]


def structured(**changes: Any) -> dict[str, Any]:
    """It as one object, some attributes changed; `...` leaves one out."""
    document = told().structured() | changes
    return {name: value for name, value in document.items() if value is not ...}


def refusal_of_record(headers: Any, body: bytes | None, topic: str = "client-erased") -> Refused:
    with pytest.raises(Refused) as caught:
        parse_record(topic, headers, body, NOW)
    return silent(caught.value)


def refusal_of_structured(document: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        parse_structured(document, NOW)
    return silent(caught.value)


def silent(refused: Refused) -> Refused:
    for part in ("张三", "Zhang", "13800138000"):
        assert part not in f"{refused} {refused.args} {refused.field} {refused.message} {refused.reason}"
    assert refused.__cause__ is None
    assert refused.__suppress_context__ or refused.__context__ is None
    return refused


BODY = json.dumps(ERASED).encode()


# --- round trips ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", TOPICS)
def test_an_event_of_any_topic_survives_both_forms(topic: str) -> None:
    sent = replace(event(topic, example(topic, 1), time="2026-03-02 09:00"), traceparent=TRACE)
    assert parse_record(topic, sent.headers(), sent.data.to_json(), NOW) == sent
    wire = json.loads(json.dumps(sent.structured()))
    assert parse_structured(wire, NOW) == replace(sent, traceparent=None)


def test_binary_mode_says_what_cloudevents_asks_for() -> None:
    assert dict(told().headers()) == {
        "ce_specversion": b"1.0",
        "ce_id": b"e-1",
        "ce_source": b"/company/records",
        "ce_type": b"aftercare.client-erased.v1",
        "ce_time": b"2026-03-02T09:00:00+08:00",
        "ce_subject": b"cl-1",
        "content-type": b"application/json",
        "traceparent": TRACE.encode(),
    }
    assert "traceparent" not in dict(told(traceparent=None).headers())


def test_the_structured_form_says_what_cloudevents_asks_for() -> None:
    assert told().structured() == {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/company/records",
        "type": "aftercare.client-erased.v1",
        "time": "2026-03-02T09:00:00+08:00",
        "subject": "cl-1",
        "datacontenttype": "application/json",
        "data": ERASED,
    }


def test_the_subject_may_be_left_out() -> None:
    assert parse_record("client-erased", record(subject=None), BODY, NOW).subject == "cl-1"
    assert parse_structured(structured(subject=...), NOW).subject == "cl-1"
    assert parse_structured(structured(subject=None), NOW).subject == "cl-1"


@pytest.mark.parametrize("subject", ["case-1:1", "case-1", None])
def test_a_milestone_of_a_case_may_be_told_as_the_cases(subject: str | None) -> None:
    """What concerns a case has the case's id for its subject, and a milestone may name a part of the case."""
    data = {"milestone": "session-recorded", "subject": "case-1:1", "case_id": "case-1", "by": "co-1"}
    sent = structured(type="aftercare.milestone-reached.v1", subject=subject)
    sent["data"] = data | {"reached_at": "2026-03-02T09:00:00+08:00"}

    event = parse_structured(sent, NOW)

    assert event.subject == (subject or "case-1:1")
    with pytest.raises(Refused, match="subject"):
        parse_structured(sent | {"subject": "case-2"}, NOW)


def test_header_names_may_be_written_in_any_case() -> None:
    headers = [(name.upper(), value) for name, value in told().headers()]
    assert parse_record("client-erased", headers, BODY, NOW) == told()


@pytest.mark.parametrize("value", [1, True, None, ["x"], MARKER])
def test_extension_attributes_are_passed_over(value: Any) -> None:
    assert parse_structured(structured(**{MARKER: value, "dataschema": value}), NOW).id == "e-1"


@pytest.mark.parametrize(
    "extra", [("ce_other", b"\xff\xfe"), (MARKER, b"\xff"), ("x", None), ("ce_data", b"{}")]
)
def test_headers_that_are_not_ours_are_passed_over(extra: Any) -> None:
    assert parse_record("client-erased", [*record(), extra], BODY, NOW) == told()


@pytest.mark.parametrize(
    "trace", [b"", b"\xff", b"00-xyz", TRACE.encode() + b"\n", TRACE.upper().encode(), None]
)
def test_a_trace_context_that_cannot_be_read_is_dropped_and_the_event_taken(trace: bytes | None) -> None:
    headers = [*told(traceparent=None).headers(), ("traceparent", trace)]
    assert parse_record("client-erased", headers, BODY, NOW) == told(traceparent=None)  # type: ignore[arg-type]


# --- attributes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "time"])
def test_a_required_attribute_that_is_absent_is_named(name: str) -> None:
    for refused in (
        refusal_of_record(record(**{name: None}), BODY),
        refusal_of_record(record(**{name: b""}), BODY),
        refusal_of_structured(structured(**{name: ...})),
        refusal_of_structured(structured(**{name: None})),
        refusal_of_structured(structured(**{name: ""})),
    ):
        assert (refused.reason, refused.field) == ("missing-attribute", name)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("specversion", "0.3", "invalid-attribute"),
        ("specversion", MARKER, "invalid-attribute"),
        ("id", MARKER, "invalid-attribute"),
        ("id", "a b", "invalid-attribute"),
        ("id", "a\n", "invalid-attribute"),
        ("id", "x" * 129, "invalid-attribute"),
        ("source", MARKER, "invalid-attribute"),
        ("source", "/a b", "invalid-attribute"),
        ("source", "/a\n", "invalid-attribute"),
        ("source", "x" * 129, "invalid-attribute"),
        ("type", MARKER, "unknown-type"),
        ("type", f"aftercare.{MARKER}.v1", "unknown-type"),
        ("type", "aftercare.client-erased", "unknown-type"),
        ("type", "aftercare.client-erased.v1\n", "unknown-type"),
        ("type", "aftercare.client-erased.v１", "unknown-type"),
        ("type", "aftercare.no-such-topic.v1", "unknown-type"),
        ("type", "com.example.client-erased.v1", "unknown-type"),
        ("type", "aftercare.client-erased.v2", "unknown-version"),
        ("type", "aftercare.client-erased.v0", "unknown-version"),
        ("type", "aftercare.client-erased.v9999", "unknown-version"),
        ("time", MARKER, "invalid-attribute"),
        ("time", "2026-03-02T10:00:00", "invalid-attribute"),
        ("subject", MARKER, "invalid-attribute"),
        ("subject", "cl-2", "invalid-attribute"),
    ],
)
def test_an_attribute_that_cannot_be_taken_is_named_and_not_repeated(
    name: str, value: str, reason: str
) -> None:
    for refused in (
        refusal_of_record(record(**{name: value.encode()}), BODY),
        refusal_of_structured(structured(**{name: value})),
    ):
        assert (refused.reason, refused.field) == (reason, name)


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "time", "subject"])
def test_a_header_that_is_no_text_is_named(name: str) -> None:
    refused = refusal_of_record(record(**{name: b"\xff\xfe" + MARKER.encode()}), BODY)
    assert (refused.reason, refused.field) == ("malformed", f"ce_{name}")


@pytest.mark.parametrize("value", [1, 1.5, True, [MARKER], {"a": MARKER}])
@pytest.mark.parametrize(
    "name", ["specversion", "id", "source", "type", "time", "subject", "datacontenttype"]
)
def test_an_attribute_is_a_string(name: str, value: Any) -> None:
    refused = refusal_of_structured(structured(**{name: value}))
    assert (refused.reason, refused.field) == ("invalid-attribute", name)


@pytest.mark.parametrize(
    "written", ["application/json", "Application/JSON", "application/json; charset=utf-8"]
)
def test_the_body_is_json(written: str) -> None:
    assert parse_structured(structured(datacontenttype=written), NOW) == told(traceparent=None)


@pytest.mark.parametrize("written", ["application/xml", "text/plain", "application/jsonp", MARKER])
def test_a_body_of_another_type_is_refused(written: str) -> None:
    assert refusal_of_structured(structured(datacontenttype=written)).field == "datacontenttype"


@pytest.mark.parametrize("document", [None, 1, MARKER, [MARKER], [], b"{}", ()])
def test_an_event_that_is_no_object_is_malformed(document: Any) -> None:
    assert refusal_of_structured(document).reason == "malformed"


def test_an_event_without_a_body_is_refused() -> None:
    assert refusal_of_structured(structured(data=...)).reason == "missing-attribute"
    assert refusal_of_structured(structured(data=None)).field == "data"


def test_a_type_that_belongs_elsewhere_is_refused() -> None:
    refused = refusal_of_record(record(), BODY, topic="client-status-changed")
    assert (refused.reason, refused.field) == ("wrong-topic", "type")


# --- bodies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [None, b"", b"{", b"\xff\xfe", MARKER.encode(), b"[" * 60_000, b'{"client_id": nope}', b"{}{}"]
)
def test_a_body_that_is_no_json_is_malformed(body: bytes | None) -> None:
    refused = refusal_of_record(record(), body)
    assert (refused.reason, refused.field) == ("malformed", "data")


def test_a_body_over_the_limit_is_refused_unread() -> None:
    assert refusal_of_record(record(), b" " * (MAX_BODY_BYTES + 1)).reason == "too-large"
    assert refusal_of_structured(structured(data={"x": MARKER * MAX_BODY_BYTES})).reason == "too-large"
    fits = BODY + b" " * (MAX_BODY_BYTES - len(BODY))
    assert parse_record("client-erased", record(), fits, NOW) == told()


def test_the_largest_honest_body_fits() -> None:
    ends = [{"session_no": n, "ended_at": "2026-03-02T10:00:00.999+08:00"} for n in range(1, 1001)]
    body = json.dumps(example("case-classified", 1) | {"session_ends": ends}, separators=(",", ":"))
    assert len(body) <= MAX_BODY_BYTES
    TOPICS["case-classified"].model.from_json(body.encode())


def test_a_body_nested_without_end_is_refused() -> None:
    deep: Any = MARKER
    for _ in range(100_000):
        deep = [deep]
    assert refusal_of_structured(structured(data=deep)).reason == "malformed"


def test_a_body_that_no_json_can_carry_is_refused() -> None:
    assert refusal_of_structured(structured(data={"client_id": {MARKER}})).reason == "malformed"
    assert refusal_of_structured(structured(data={"client_id": "\ud800"})).field.startswith("data")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"client_id": MARKER}, "data.client_id"),
        ({"requested_at": MARKER}, "data.requested_at"),
        ({"requested_at": "0001-01-01T00:00:00+14:00"}, "data.requested_at"),
        ({"requested_at": "9999-12-31T23:59:59-10:00"}, "data.requested_at"),
        ({MARKER: MARKER}, "data.(unknown field)"),
    ],
)
def test_a_field_that_cannot_be_taken_is_named_and_not_repeated(change: dict[str, str], field: str) -> None:
    body = ERASED | change
    for refused in (
        refusal_of_record(record(), json.dumps(body).encode()),
        refusal_of_structured(structured(data=body)),
    ):
        assert (refused.reason, refused.field) == ("invalid-field", field)


def test_the_place_of_what_is_wrong_is_told_to_the_element() -> None:
    body = example("case-classified", 1)
    body["session_ends"][4]["ended_at"] = MARKER
    sent = event("case-classified", example("case-classified", 1), time="2026-03-01")
    refused = refusal_of_structured(sent.structured() | {"data": body})
    assert refused.field == "data.session_ends.4.ended_at"
    assert refused.message == "it must be RFC 3339 with an offset"


# --- when -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "taken"),
    [
        (EARLIEST, True),
        (EARLIEST - timedelta(milliseconds=1), False),
        (NOW + TOLERANCE, True),
        (NOW + TOLERANCE + timedelta(milliseconds=1), False),
        (datetime(1970, 1, 1, tzinfo=UTC), False),
        (datetime(9999, 12, 30, tzinfo=UTC), False),
    ],
)
def test_an_event_happened_between_the_year_2000_and_a_day_from_now(time: datetime, taken: bool) -> None:
    document = structured(time=write_time(time))
    if taken:
        assert parse_structured(document, NOW).time == time
    else:
        refused = refusal_of_structured(document)
        assert (refused.reason, refused.field) == ("time-out-of-range", "time")


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-02T10:00:00+08:00", "2026-03-02T02:00:00"),
        ("2026-03-02T02:00:00Z", "2026-03-02T02:00:00"),
        ("2026-03-02t02:00:00z", "2026-03-02T02:00:00"),
        ("2026-03-02T16:00:00+14:00", "2026-03-02T02:00:00"),
        ("2026-03-01T14:00:00-12:00", "2026-03-02T02:00:00"),
        ("2026-03-02T02:00:00-00:00", "2026-03-02T02:00:00"),
        ("2026-03-02T02:00:00.1Z", "2026-03-02T02:00:00.100"),
        ("2026-03-02T02:00:00.123456789Z", "2026-03-02T02:00:00.123"),
        ("2026-03-02T02:00:00.999999999Z", "2026-03-02T02:00:00.999"),
        ("2028-02-29T23:59:59+08:00", "2028-02-29T15:59:59"),
    ],
)
def test_a_time_is_read_to_the_millisecond(text: str, instant: str) -> None:
    assert parse_time(text) == datetime.fromisoformat(instant).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02T10:00:00",
        "2026-03-02 10:00:00+08:00",
        "2026-03-02T10:00+08:00",
        "2026-03-02T10:00:00+0800",
        "2026-03-02T10:00:00+08",
        "2026-03-02T10:00:00,5+08:00",
        "2026-03-02T10:00:00.+08:00",
        "2026-03-02T10:00:00.1234567890+08:00",
        "2026-03-02T10:00:00+08:00\n",
        " 2026-03-02T10:00:00+08:00",
        "２０２６-03-02T10:00:00+08:00",
        "2026-06-30T23:59:60Z",  # a leap second: there has been none since 2016, and no clock here has a place for it
        "2026-03-02T24:00:00Z",
        "2026-02-29T10:00:00Z",
        "2026-13-01T10:00:00Z",
        "2026-03-02T10:00:00+24:00",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "12026-03-02T10:00:00Z",
        "1772416800",
        "",
    ],
)
def test_what_only_looks_like_a_time_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_time(text)
    assert (caught.value.reason, caught.value.field) == ("invalid-attribute", "time")
    assert not text.strip() or text.strip() not in str(caught.value)


@pytest.mark.parametrize("text", ["2026-03-02T10:00:00+08:00", "2026-03-02T10:00:00.120+08:00"])
def test_a_time_is_written_as_the_company_reads_it(text: str) -> None:
    assert write_time(read_time(text)) == text


# --- identity -------------------------------------------------------------------------------------------------


def test_the_digest_does_not_depend_on_the_order_of_keys_or_on_how_a_time_is_written() -> None:
    one = structured()
    two = structured(data=dict(reversed(ERASED.items())) | {"requested_at": "2026-03-02T01:00:00.000Z"})
    two = dict(reversed(two.items()))
    assert parse_structured(one, NOW).digest() == parse_structured(two, NOW).digest()


def test_the_digest_does_not_depend_on_the_order_of_keys_inside() -> None:
    body = example("follow-up-recorded", 1)
    turned = body | {"bands": dict(reversed(body["bands"].items()))}
    assert list(turned["bands"]) != list(body["bands"])
    first, second = (event("follow-up-recorded", each, id="e-1") for each in (body, turned))
    assert first.digest() == second.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"data": ERASED | {"by": "cl-2"}},
        {"time": "2026-03-02T09:00:00.001+08:00"},
    ],
)
def test_another_body_or_time_has_another_digest(change: dict[str, Any]) -> None:
    assert parse_structured(structured(**change), NOW).digest() != told().digest()


def test_id_source_subject_and_trace_are_no_part_of_the_digest() -> None:
    assert told(id="e-2", source="/company/other", traceparent=None).digest() == told().digest()


def test_the_order_of_a_list_is_part_of_the_digest() -> None:
    body = example("follow-up-due", 1)
    turned = body | {"forms": body["forms"][::-1]}
    first, second = (event("follow-up-due", each, time="2026-03-02") for each in (body, turned))
    assert first.digest() != second.digest()


def test_unique_keeps_source_and_id_apart() -> None:
    assert told().unique == "/company/records e-1"
    assert told(source="/a", id="b-c").unique != told(source="/a-b", id="c").unique


def test_rank_goes_by_time_then_source_then_id() -> None:
    later = told(time=told().time + timedelta(milliseconds=1), source="/a", id="a")
    events = [later, told(source="/b", id="a"), told(source="/a", id="b"), told(source="/a", id="a")]
    assert sorted(events, key=lambda one: one.rank) == events[::-1]


def test_a_derived_event_is_the_same_each_time_and_another_for_another_cause() -> None:
    def derived(cause: str = told().unique, nth: int = 0, topic: str = "client-erased") -> Event:
        return derive(cause, "/aftercare/intake", told().data, time=NOW, topic=topic, nth=nth)

    assert derived() == derived()
    assert len({derived().id, derived(cause="another").id, derived(nth=1).id}) == 3
    assert derived().subject == "cl-1"
    assert parse_record("client-erased", derived().headers(), derived().data.to_json(), NOW) == derived()
