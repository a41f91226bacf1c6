"""An event and its two forms on the wire: CloudEvents 1.0 in Kafka's binary mode, and as one JSON object.

Sources: CloudEvents 1.0.2, its Kafka protocol binding (binary content mode: `ce_*` headers) and its JSON format.
Whatever does not fit is refused with a `Refused` that names a reason and a field, and never the value: a value
that was refused may itself be a name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import ValidationError

from shared.clock import to_millisecond
from shared.contracts.topics import TOPICS, Topic
from shared.contracts.types import EventData, write_time

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

EARLIEST = datetime.fromisoformat("2000-01-01T00:00:00+08:00")
TOLERANCE = timedelta(days=1)
"""How far ahead of our clock an event may claim to have happened."""

_TYPE = re.compile(r"^aftercare\.([a-z-]+)\.v(\d{1,4})$")
_ID = re.compile(r"^[\x21-\x7e]{1,128}$")
_SOURCE = re.compile(r"^[A-Za-z0-9/_.:\-]{1,128}$")
_TRACEPARENT = re.compile(r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
_TIME = re.compile(r"^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$")


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
        """Of two facts of one kind, the one with the greater rank holds (contracts.md, How facts combine)."""
        return (self.time, self.source, self.id)

    def digest(self) -> str:
        """A hash of what the event says, to tell a repetition from another event under the same id."""
        said = json.dumps(json.loads(self.data.to_json()), sort_keys=True)
        text = f"{self.type} {write_time(self.time)} {said}"
        return hashlib.sha256(text.encode()).hexdigest()

    def headers(self) -> list[tuple[str, bytes]]:
        """The Kafka headers of binary mode."""
        pairs = {
            "ce_specversion": "1.0",
            "ce_id": self.id,
            "ce_source": self.source,
            "ce_type": self.type,
            "ce_time": write_time(self.time),
            "ce_subject": self.subject,
            "content-type": "application/json",
        }
        if self.traceparent:
            pairs["traceparent"] = self.traceparent
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
    for name, raw in headers:
        try:
            attributes[name.lower()] = raw.decode()
        except (UnicodeDecodeError, AttributeError):
            if name.lower().startswith("ce_"):
                raise Refused("malformed", name.lower(), "the header is not UTF-8") from None
    event = _parse(
        {name.removeprefix("ce_"): text for name, text in attributes.items() if name.startswith("ce_")},
        value or b"",
        now,
    )
    if event.topic != topic:
        raise Refused("wrong-topic", "type", f"this type belongs on the topic {event.topic}")
    traceparent = attributes.get("traceparent", "")
    return replace(event, traceparent=traceparent) if _TRACEPARENT.match(traceparent) else event


def parse_structured(document: Any, now: datetime) -> Event:
    """Read an event given as one JSON object. Raises `Refused`."""
    if not isinstance(document, dict):
        raise Refused("malformed", "", "an event must be a JSON object in the CloudEvents JSON format")
    attributes = {name: value for name, value in document.items() if name != "data"}
    for name, value in attributes.items():
        if not isinstance(value, str):
            raise Refused("invalid-attribute", name, "a CloudEvents attribute must be a string")
    if "data" not in document:
        raise Refused("missing-attribute", "data", "the event has no body")
    return _parse(attributes, json.dumps(document["data"]).encode(), now)


def _parse(attributes: Mapping[str, str], body: bytes, now: datetime) -> Event:
    if len(body) > MAX_BODY_BYTES:
        raise Refused("too-large", "data", f"the body is over {MAX_BODY_BYTES} bytes")
    for name in ("specversion", "id", "source", "type", "time"):
        if not attributes.get(name):
            raise Refused("missing-attribute", name, "this CloudEvents attribute is required")
    if attributes["specversion"] != "1.0":
        raise Refused("invalid-attribute", "specversion", "only CloudEvents 1.0 is understood")
    if not _ID.match(attributes["id"]):
        raise Refused("invalid-attribute", "id", "1 to 128 visible ASCII characters are allowed")
    if not _SOURCE.match(attributes["source"]):
        raise Refused("invalid-attribute", "source", "1 to 128 characters of A-Za-z0-9/_.:- are allowed")
    topic, version = _declared(attributes["type"])
    time = parse_time(attributes["time"])
    check_time(time, now)
    data = _parse_body(topic.versions[version], body)
    subject = str(getattr(data, topic.subject))
    if attributes.get("subject", subject) != subject:
        raise Refused("invalid-attribute", "subject", f"it must be equal to the body's {topic.subject}")
    return Event(attributes["id"], attributes["source"], topic.name, time, subject, data, version)


def _declared(event_type: str) -> tuple[Topic, int]:
    match = _TYPE.match(event_type)
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
        if not _TIME.match(text):
            raise ValueError
        return to_millisecond(datetime.fromisoformat(text.upper()))
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
    location: Sequence[int | str] = first["loc"]
    if first["type"] == "extra_forbidden":
        # The name of an unknown field is the sender's text: it may carry anything.
        location = [*location[:-1], "(unknown field)"]
    return "invalid-field", ".".join(["data", *map(str, location)]), first["msg"]
