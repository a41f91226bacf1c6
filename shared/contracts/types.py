"""The few types that every event is built from: ids, times, coded values."""

from __future__ import annotations

import hashlib
import re
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
)

from shared.clock import to_millisecond

COMPANY_ZONE = ZoneInfo("Asia/Shanghai")
"""The zone in which the regime counts its days, and in which times are written out."""

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:\-]{1,64}$")]
"""An opaque, pseudonymous identifier."""

Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
"""A coded value: lower case with hyphens. Free text does not fit, on purpose: none may travel on the bus."""

Month = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
"""A calendar month, `2026-03`."""


_ID = re.compile(r"[A-Za-z0-9_.:\-]{1,64}")


def staff_id(subject: str) -> str:
    """The id under which a signed-in person goes on the bus. A subject that is no opaque id (it may be an e-mail
    address, hence a name) goes as its hash."""
    if _ID.fullmatch(subject):
        return subject
    return f"staff-{hashlib.sha256(subject.encode()).hexdigest()[:24]}"


_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)

_OnTheWire = Annotated[
    str, Field(pattern=f"^{_RFC_3339.pattern}$", json_schema_extra={"format": "date-time"})
]

EARLIEST = to_millisecond(datetime.fromisoformat("2000-01-01T00:00:00+08:00"))
"""Nothing that we are told of happened before."""
LATEST = to_millisecond(datetime.fromisoformat("2200-01-01T00:00:00+08:00"))
"""No plan reaches so far: half a year can be added to every time, in any zone."""


def read_time(text: str) -> datetime:
    """Read RFC 3339 with an offset, and nothing that only looks like it. A leap second is refused.

    Raises ValueError, whose message does not repeat the text.
    """
    if not _RFC_3339.fullmatch(text):
        raise ValueError("it must be RFC 3339 with an offset")
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError("there is no such date or time") from None


def _instant(value: Any) -> datetime:
    # One validator rather than pydantic's own, which takes Unix seconds, spaces and times without seconds as well.
    if isinstance(value, str):
        value = read_time(value)
    elif not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("it must be RFC 3339 with an offset")
    try:
        instant = to_millisecond(value)
    except OverflowError:
        instant = LATEST
    if not EARLIEST <= instant < LATEST:
        raise ValueError("it must lie between the years 2000 and 2199")
    return instant


@lru_cache(maxsize=10_000)
def write_time(instant: datetime) -> str:
    """RFC 3339 in the company's zone: `2026-03-02T10:00:00+08:00`, with milliseconds only where there are any."""
    local = instant.astimezone(COMPANY_ZONE)
    return local.isoformat(timespec="milliseconds" if local.microsecond else "seconds")


Timestamp = Annotated[
    datetime,
    PlainValidator(_instant, json_schema_input_type=_OnTheWire),
    PlainSerializer(write_time, return_type=str, when_used="json"),
]
"""An instant: RFC 3339 with offset on the wire, UTC to the millisecond in memory."""


class Strict(BaseModel):
    """A frozen value that refuses unknown fields, guesses no types and never echoes a refused value."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        validate_by_name=True,
        allow_inf_nan=False,
    )


class EventData(Strict):
    """The body of an event. Absent fields are left out on the wire."""

    def to_json(self) -> bytes:
        return self.model_dump_json(exclude_none=True, by_alias=True).encode()

    @classmethod
    def from_json(cls, body: bytes) -> Self:
        """Read a body from the wire, by its published names alone. Raises pydantic.ValidationError."""
        return cls.model_validate_json(body, by_alias=True, by_name=False)
