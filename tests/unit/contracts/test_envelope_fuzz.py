"""Whatever is thrown at the parsers: an event comes out, or a `Refused` that repeats nothing of it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import example as with_example
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts.asyncapi import example
from shared.contracts.envelope import Event, Refused, parse_record, parse_structured
from shared.contracts.topics import TOPICS
from tests.builders import at, event

NOW = at("2026-03-02 10:00")
MARKER = "zQx7"
"""Occurs in no text of ours, so that where it turns up, it was sent."""

topics = st.sampled_from(sorted(TOPICS))
marked = st.text(max_size=20).map(lambda text: f"{text}{MARKER}")
numbers = st.integers() | st.floats()
leaves = (
    st.none() | st.booleans() | numbers | marked | st.sampled_from(["2026-03-02T10:00:00+08:00", "a", ""])
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(marked | st.just("a"), inner, max_size=4),
    max_leaves=12,
)
some_bytes = st.binary(max_size=60) | marked.map(lambda text: text.encode(errors="replace"))


def outcome(refused_or_event: Any) -> Event | Refused:
    try:
        taken = refused_or_event()
        assert isinstance(taken, Event)
        return taken
    except Refused as refused:
        said = f"{refused} {refused.args} {refused.reason} {refused.field} {refused.message}"
        assert MARKER not in said
        return refused


def sane(taken: Event | Refused) -> None:
    """What was taken can be written, read again, and is the same."""
    if isinstance(taken, Event):
        assert parse_record(taken.topic, taken.headers(), taken.data.to_json(), NOW) == taken
        assert taken.digest()


@settings(max_examples=400, deadline=None)
@given(document=anything)
@with_example(document=[])
@with_example(document={MARKER: 1})
def test_any_document(document: Any) -> None:
    assert isinstance(outcome(lambda: parse_structured(document, NOW)), Refused)


ATTRIBUTES = ["specversion", "id", "source", "type", "time", "subject", "datacontenttype", "data"]


@settings(max_examples=250, deadline=None)
@given(
    topic=topics,
    changes=st.dictionaries(st.sampled_from(ATTRIBUTES) | marked, anything, max_size=3),
    gone=st.sets(st.sampled_from(ATTRIBUTES), max_size=1),
)
def test_an_event_with_some_attributes_replaced(topic: str, changes: dict[str, Any], gone: set[str]) -> None:
    document = event(topic, example(topic, 1), time="2026-03-02").structured() | changes
    kept = {name: value for name, value in document.items() if name not in gone}
    sane(outcome(lambda: parse_structured(kept, NOW)))


def paths(part: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    return [path, *(found for key, one in inner for found in paths(one, (*path, key)))]


@settings(max_examples=400, deadline=None)
@given(data=st.data(), topic=topics, value=anything)
def test_a_body_with_any_part_replaced_or_added(data: st.DataObject, topic: str, value: Any) -> None:
    body = json.loads(json.dumps(example(topic, 1)))
    path = data.draw(st.sampled_from(paths(body)[1:]))
    place = body
    for key in path[:-1]:
        place = place[key]
    if isinstance(place, dict) and data.draw(st.booleans()):
        place[data.draw(marked)] = value
    else:
        place[path[-1]] = value
    sent = event(topic, example(topic, 1), time="2026-03-02")
    sane(outcome(lambda: parse_structured(sent.structured() | {"subject": None, "data": body}, NOW)))
    raw = json.dumps(body).encode()
    headers = [pair for pair in sent.headers() if pair[0] != "ce_subject"]
    sane(outcome(lambda: parse_record(topic, headers, raw, NOW)))


headers = st.lists(
    st.tuples(
        st.sampled_from([f"ce_{name}" for name in ATTRIBUTES] + ["traceparent", "content-type"]) | marked,
        some_bytes | st.none(),
    ),
    max_size=6,
)


@settings(max_examples=250, deadline=None)
@given(topic=topics, extra=headers, whole=st.booleans(), body=some_bytes | st.none())
def test_any_record(topic: str, extra: list[tuple[str, Any]], whole: bool, body: bytes | None) -> None:
    sent = event(topic, example(topic, 1), time="2026-03-02")
    sane(outcome(lambda: parse_record(topic, [*sent.headers(), *extra], sent.data.to_json(), NOW)))
    started = [*sent.headers(), *extra] if whole else extra
    assert isinstance(outcome(lambda: parse_record(topic, started, body, NOW)), Refused)


@settings(max_examples=250, deadline=None)
@given(
    years=st.integers(0, 9999),
    rest=st.from_regex(r"-(0[1-9]|1[0-2])-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{0,10})?", fullmatch=True),
    offset=st.sampled_from(["Z", "z", "+14:00", "-12:00", "+08:00", "+23:59", "+24:00", "", "+0800"]),
)
def test_any_time(years: int, rest: str, offset: str) -> None:
    text = f"{years:04d}{rest}{offset}"
    sent = event("client-status-changed", example("client-status-changed", 1), time="2026-03-02").structured()
    sane(outcome(lambda: parse_structured(sent | {"time": text}, NOW)))
    sane(outcome(lambda: parse_structured(sent | {"data": sent["data"] | {"at": text}}, NOW)))
