"""An event and its two forms on the wire: CloudEvents 1.0 in Kafka's binary mode, and as one JSON object.

Sources: CloudEvents 1.0.2, its Kafka protocol binding (binary content mode: `ce_*` headers) and its JSON format.
Whatever does not fit is refused with a `Refused` that names a reason and a field, and never the value: a value
that was refused may itself be a name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal

from pydantic import ValidationError

from shared.clock import to_millisecond
from shared.contracts.topics import TOPICS, Topic
from shared.contracts.types import EARLIEST, EventData, read_time, write_time

Reason = Literal[
    "malformed",  # not JSON, not an object, or headers that cannot be read
    "missing-attribute",  # a CloudEvents attribute is absent
    "invalid-attribute",  # a CloudEvents attribute has a value that cannot be taken
    "unknown-type",  # no such topic
    "unknown-version",  # the topic exists, this version of its body does not
    "wrong-topic",  # the type belongs on another topic
    "not-yours",  # this publisher may not publish this type
    "invalid-field",  # the body breaks the contract
    "time-out-of-range",  # before 2000, or more than a day in the future
    "too-large",  # over the size limit
    "id-reused",  # the same source and id came before with another body
    "client-mismatch",  # the case belongs to another client
    "handler-error",  # deciding on it failed: a defect of ours
]

MAX_BODY_BYTES = 64 * 1024
"""The largest body of one event. The largest honest one is a case of 1,000 sessions."""

TOLERANCE = timedelta(days=1)
"""How far ahead of our clock an event may claim to have happened."""

_ATTRIBUTES = ("specversion", "id", "source", "type", "time", "subject", "datacontenttype")
"""The CloudEvents attributes that we read. Extensions are passed over: even their names may carry anything."""
_REQUIRED = _ATTRIBUTES[:5]

_TYPE = re.compile(r"aftercare\.([a-z-]+)\.v([0-9]{1,4})")
EVENT_ID = re.compile(r"[\x21-\x7e]{1,128}")
"""What the attribute `id` may be."""
_SOURCE = re.compile(r"[A-Za-z0-9/_.:\-]{1,128}")
_JSON = re.compile(r"application/json\s*(;.*)?", re.IGNORECASE)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class Refused(Exception):
    """An event that cannot be taken: why, at which field, and what to do. Carries no value of the event."""

    def __init__(self, reason: Reason, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.reason: Reason = reason
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, with the context attributes of CloudEvents. `source` and `id` make it unique."""

    id: str
    source: str
    topic: str
    time: datetime
    subject: str
    data: EventData
    version: int = 1
    traceparent: str | None = None

    @property
    def type(self) -> str:
        return TOPICS[self.topic].event_type(self.version)

    @property
    def unique(self) -> str:
        """`source` and `id` as one string: a space occurs in neither."""
        return f"{self.source} {self.id}"

    @property
    def rank(self) -> tuple[datetime, str, str]:
        """Of two facts of one kind, the one with the greater rank holds (`facts.py`)."""
        return (self.time, self.source, self.id)

    def digest(self) -> str:
        """A hash of what the event says, to tell a repetition from another event under the same id."""
        said = f"{self.type} {write_time(self.time)} ".encode() + self.data.to_json()
        return hashlib.sha256(said).hexdigest()

    def headers(self, traceparent: str | None = None) -> list[tuple[str, bytes]]:
        """The Kafka headers of binary mode; `traceparent` if it carries none of its own."""
        pairs = {
            "ce_specversion": "1.0",
            "ce_id": self.id,
            "ce_source": self.source,
            "ce_type": self.type,
            "ce_time": write_time(self.time),
            "ce_subject": self.subject,
            "content-type": "application/json",
        }
        if traceparent := self.traceparent or traceparent:
            pairs["traceparent"] = traceparent
        return [(name, value.encode()) for name, value in pairs.items()]

    def structured(self) -> dict[str, Any]:
        """The event as one JSON object (CloudEvents JSON format)."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "time": write_time(self.time),
            "subject": self.subject,
            "datacontenttype": "application/json",
            "data": json.loads(self.data.to_json()),
        }


def derive(
    cause: str,
    source: str,
    data: EventData,
    *,
    time: datetime,
    topic: str,
    nth: int = 0,
    traceparent: str | None = None,
) -> Event:
    """An event that follows from `cause` (the `unique` of an event, or the name of a timer or command).

    Its id is a hash of cause, topic, subject and position, so that deciding twice says the same thing twice.
    """
    subject = str(getattr(data, TOPICS[topic].subject))
    name = hashlib.sha256(f"{cause}|{source}|{topic}|{subject}|{nth}".encode()).hexdigest()[:32]
    return Event(name, source, topic, to_millisecond(time), subject, data, traceparent=traceparent)


def parse_record(
    topic: str, headers: Iterable[tuple[str, bytes]], value: bytes | None, now: datetime
) -> Event:
    """Read a Kafka record in binary mode. Raises `Refused`."""
    attributes: dict[str, str] = {}
    traceparent: str | None = None
    for header, raw in headers:
        name = header.lower()
        attribute = name.removeprefix("ce_")
        if name == "traceparent":
            traceparent = _traceparent(raw)
        elif name != attribute and attribute in _ATTRIBUTES:
            attributes[attribute] = _text(name, raw)
    event = _parse(attributes, value or b"", now, traceparent)
    if event.topic != topic:
        raise Refused("wrong-topic", "type", f"this type belongs on the topic {event.topic}")
    return event


def _text(name: str, raw: bytes | None) -> str:
    try:
        return raw.decode() if raw is not None else ""
    except UnicodeDecodeError:
        raise Refused("malformed", name, "the header is not UTF-8") from None


def _traceparent(raw: bytes | None) -> str | None:
    """W3C trace context, if it can be read: an event is never refused for how it is traced."""
    text = (raw or b"").decode(errors="replace")
    return text if _TRACEPARENT.fullmatch(text) else None


def parse_structured(document: Any, now: datetime) -> Event:
    """Read an event given as one JSON object. Raises `Refused`."""
    if not isinstance(document, dict):
        raise Refused("malformed", "", "an event must be a JSON object in the CloudEvents JSON format")
    attributes = {name: document[name] for name in _ATTRIBUTES if document.get(name) is not None}
    for name, value in attributes.items():
        if not isinstance(value, str):
            raise Refused("invalid-attribute", name, "a CloudEvents attribute must be a string")
    if not _JSON.fullmatch(attributes.get("datacontenttype", "application/json")):
        raise Refused("invalid-attribute", "datacontenttype", "only application/json is understood")
    if "data" not in document:
        raise Refused("missing-attribute", "data", "the event has no body")
    return _parse(attributes, _body(document["data"]), now)


def _body(data: Any) -> bytes:
    try:
        return json.dumps(data).encode()
    except (RecursionError, TypeError, ValueError):
        raise Refused("malformed", "data", "the body is nested too deeply or is not JSON") from None


def _parse(
    attributes: Mapping[str, str], body: bytes, now: datetime, traceparent: str | None = None
) -> Event:
    if len(body) > MAX_BODY_BYTES:
        raise Refused("too-large", "data", f"the body is over {MAX_BODY_BYTES} bytes")
    for name in _REQUIRED:
        if not attributes.get(name):
            raise Refused("missing-attribute", name, "this CloudEvents attribute is required")
    if attributes["specversion"] != "1.0":
        raise Refused("invalid-attribute", "specversion", "only CloudEvents 1.0 is understood")
    if not EVENT_ID.fullmatch(attributes["id"]):
        raise Refused("invalid-attribute", "id", "1 to 128 visible ASCII characters are allowed")
    if not _SOURCE.fullmatch(attributes["source"]):
        raise Refused("invalid-attribute", "source", "1 to 128 characters of A-Za-z0-9/_.:- are allowed")
    topic, version = _declared(attributes["type"])
    time = parse_time(attributes["time"])
    check_time(time, now)
    data = _parse_body(topic.versions[version], body)
    subject = attributes.get("subject", str(getattr(data, topic.subject)))
    if subject not in [getattr(data, field) for field in (topic.subject, *topic.or_subject)]:
        raise Refused("invalid-attribute", "subject", f"it must be equal to the body's {topic.subject}")
    return Event(
        attributes["id"], attributes["source"], topic.name, time, subject, data, version, traceparent
    )


def _declared(event_type: str) -> tuple[Topic, int]:
    match = _TYPE.fullmatch(event_type)
    topic = TOPICS.get(match[1]) if match else None
    if match is None or topic is None:
        raise Refused("unknown-type", "type", "it must be aftercare.<topic>.v<version> of a declared topic")
    version = int(match[2])
    if version not in topic.versions:
        known = ", ".join(f"v{known}" for known in sorted(topic.versions))
        raise Refused("unknown-version", "type", f"the known versions of {topic.name} are {known}")
    return topic, version


def parse_time(text: str) -> datetime:
    """Read RFC 3339 with an offset, to the millisecond. Raises `Refused`."""
    try:
        return to_millisecond(read_time(text))
    except (ValueError, OverflowError):
        raise Refused("invalid-attribute", "time", "it must be RFC 3339 with an offset") from None


def check_time(time: datetime, now: datetime) -> None:
    """Refuse what claims to have happened before 2000, or more than `TOLERANCE` after `now`."""
    if not EARLIEST <= time <= now + TOLERANCE:
        raise Refused(
            "time-out-of-range",
            "time",
            "it must lie between the year 2000 and a day from now: check the clock",
        )


def _parse_body(model: type[EventData], body: bytes) -> EventData:
    try:
        return model.from_json(body)
    except ValidationError as error:
        reason, field, message = explain(error)
        raise Refused(reason, field, message) from None


def explain(error: ValidationError) -> tuple[Reason, str, str]:
    """Reason, path and message of the first thing that is wrong, with no input value and no unknown name."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return "malformed", "data", "the body is not JSON"
    location = [_place(step) for step in first["loc"] if step != "[key]"]
    if first["type"] == "extra_forbidden":
        location[-1] = UNKNOWN_FIELD
    return "invalid-field", ".".join(["data", *location]), first["msg"].removeprefix("Value error, ")


UNKNOWN_FIELD = "(unknown field)"
"""Stands for a name that we did not declare: it is the sender's text, and may carry anything."""


def _place(step: int | str) -> str:
    return str(step) if isinstance(step, int) or step in _declared_names() else UNKNOWN_FIELD


@cache
def _declared_names() -> frozenset[str]:
    """The name of every field, at any depth, of any version of any topic."""
    schemas = [
        model.model_json_schema(by_alias=True)
        for topic in TOPICS.values()
        for model in topic.versions.values()
    ]
    objects = [one for schema in schemas for one in (schema, *schema.get("$defs", {}).values())]
    return frozenset(name for one in objects for name in one.get("properties", {}))
