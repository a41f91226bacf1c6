"""The few types that every event is built from (contracts.md: ids, times, coded values)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, PlainSerializer, StringConstraints

from shared.clock import to_millisecond

COMPANY_ZONE = ZoneInfo("Asia/Shanghai")
"""The zone in which the regime counts its days, and in which times are written out."""

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:\-]{1,64}$")]
"""An opaque, pseudonymous identifier."""

Code = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)]
"""A coded value: lower case with hyphens. Free text does not fit, on purpose: none may travel on the bus."""

Month = Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
"""A calendar month, `2026-03`."""


def write_time(instant: datetime) -> str:
    """RFC 3339 in the company's zone: `2026-03-02T10:00:00+08:00`, with milliseconds only where there are any."""
    local = instant.astimezone(COMPANY_ZONE)
    return local.isoformat(timespec="milliseconds" if local.microsecond else "seconds")


Timestamp = Annotated[
    AwareDatetime,
    AfterValidator(to_millisecond),
    PlainSerializer(write_time, return_type=str, when_used="json"),
]
"""An instant: RFC 3339 with offset on the wire, UTC to the millisecond in memory."""


class Strict(BaseModel):
    """A frozen value that refuses unknown fields, guesses no types and never echoes a refused value."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, validate_by_name=True
    )


class EventData(Strict):
    """The body of an event. Absent fields are left out on the wire."""

    def to_json(self) -> bytes:
        return self.model_dump_json(exclude_none=True, by_alias=True).encode()

    @classmethod
    def from_json(cls, body: bytes) -> Self:
        """Read a body from the wire, by its published names alone. Raises pydantic.ValidationError."""
        return cls.model_validate_json(body, by_alias=True, by_name=False)
