"""Who can be paged, in which role, over which channels. People are ids here: names have no place in it.

```yaml
people:
  - id: staff-017
    roles: [on-call]            # the roles of the policy's crisis chain
    channels:                   # first choice first
      - {kind: wecom, url: "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=...", mention: [zhang]}
      - {kind: webhook, url: "https://pager.example/hook", secret: "..."}
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from shared.contracts.types import Code, Id
from shared.policy.reading import read

EVERYONE = "everyone-on-call"
"""The role that everyone on the list has."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class WeComAddress(_Part):
    """A WeCom bot. The address holds the bot's key."""

    kind: Literal["wecom"] = "wecom"
    url: SecretStr
    mention: tuple[str, ...] = ()
    """User ids to mention; `@all` for everyone in the group."""


class WebhookAddress(_Part):
    """Any URL that takes a CloudEvent."""

    kind: Literal["webhook"] = "webhook"
    url: SecretStr
    secret: SecretStr | None = None
    """With it each request is signed, so that the receiver can tell ours from others."""


Address = Annotated[WeComAddress | WebhookAddress, Field(discriminator="kind")]


class Person(_Part):
    """Somebody who can be paged."""

    id: Id
    roles: tuple[Code, ...]
    channels: Annotated[tuple[Address, ...], Field(min_length=1)]


class Roster(_Part):
    """Everyone who can be paged."""

    people: tuple[Person, ...] = ()

    @model_validator(mode="after")
    def _everyone_once(self) -> Roster:
        ids = [person.id for person in self.people]
        if len(ids) != len(set(ids)):
            raise ValueError("somebody is listed twice: give each person one entry with all channels")
        return self


@dataclass(frozen=True)
class Recipient:
    """One who gets a page of their own, with the channels to try in this order."""

    id: str
    channels: tuple[Address, ...]


DEFAULT = "default"
"""The id under which the channels of nobody in particular acknowledge."""


def read_roster(path: Path | None) -> Roster:
    """The roster of a file. Raises shared.policy.reading.PolicyError with line and advice."""
    return read(path, Roster) if path else Roster()


def recipients(
    roster: Roster, role: str, fallback: tuple[Address, ...], holders: Sequence[str] | None = None
) -> tuple[Recipient, ...]:
    """Everyone with the role, each with the fallback channels behind their own.

    `holders`: who has the role at this time, where the rota says so of people on the list; then they alone.
    Where nobody has the role the fallback channels get the page, and where there are none, nobody does.
    """
    on_call = [person for person in roster.people if person.id in (holders or ()) and role != EVERYONE]
    listed = [person for person in roster.people if role in person.roles or role == EVERYONE]
    found = tuple(Recipient(person.id, (*person.channels, *fallback)) for person in on_call or listed)
    if found or not fallback:
        return found
    return (Recipient(DEFAULT, fallback),)
