"""Who can be paged, in which role, over which channels. People are ids here: names have no place in it.

```yaml
people:
  - id: staff-017
    roles: [on-call]            # the roles of the policy's crisis chain
    channels:                   # now: a bot; after a minute: a text; after three: a call
      - {kind: wecom, url: "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=...", mention: [zhang]}
      - {kind: webhook, url: "https://pager.example/hook", secret: "..."}      # if the bot does not take it
      - {kind: sms, number: "+8613800000000", after: 1 min}
      - {kind: voice, number: "+8613800000000", after: 3 min, providers: [tencent, aliyun]}
providers:                      # for texts and calls, first choice first
  - {kind: aliyun, key_id: ..., key_secret: ..., sign_name: ..., sms: {id: SMS_1}, voice: {id: TTS_1}}
  - {kind: tencent, key_id: ..., key_secret: ..., voice_app: "1400000000", voice: {id: "1000"}}
```

Channels with the same `after` are a stage: they are tried in their order until one takes the page. All kinds, their
limits and what counts as accepted: `docs/channels.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import model_validator

from services.crisis.addresses import Account, Address, Phone
from services.crisis.parts import Part
from shared.contracts.types import Code, Id
from shared.policy.reading import read

EVERYONE = "everyone-on-call"
"""The role that everyone on the list has."""


class Person(Part):
    """Somebody who can be paged."""

    id: Id
    roles: tuple[Code, ...]
    channels: tuple[Address, ...] = ()
    """Without one the person is told over the channels for everybody, and the chain does not wait for them."""

    @model_validator(mode="after")
    def _begins_at_once(self) -> Person:
        if self.channels and all(channel.after for channel in self.channels):
            raise ValueError("every channel waits: one must go out at once, without `after`")
        return self


class Roster(Part):
    """Everyone who can be paged."""

    people: tuple[Person, ...] = ()
    providers: tuple[Account, ...] = ()
    """Who carries text messages and calls, first choice first."""

    @model_validator(mode="after")
    def _everyone_once(self) -> Roster:
        ids = [person.id for person in self.people]
        if len(ids) != len(set(ids)):
            raise ValueError("somebody is listed twice: give each person one entry with all channels")
        return self

    @model_validator(mode="after")
    def _knows_its_providers(self) -> Roster:
        names = [account.name for account in self.providers]
        if len(names) != len(set(names)):
            raise ValueError("two providers have one name: give each a `name` of its own")
        phones = [channel for person in self.people for channel in person.channels]
        for phone in phones:
            if isinstance(phone, Phone) and not (names and set(phone.providers) <= set(names)):
                raise ValueError("a channel for a phone names a provider that is not among `providers`")
        return self

    def without_channel(self) -> tuple[str, ...]:
        """The ids of those who can be reached only over the channels for everybody."""
        return tuple(person.id for person in self.people if not person.channels)


@dataclass(frozen=True)
class Recipient:
    """One who gets a page of their own, with the channels to try in this order."""

    id: str
    channels: tuple[Address, ...]
    fallback: tuple[Address, ...] = ()
    """The channels for everybody: tried once none of their own took the first page."""


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
    found = tuple(Recipient(person.id, person.channels, fallback) for person in on_call or listed)
    if found or not fallback:
        return found
    return (Recipient(DEFAULT, fallback),)


@dataclass(frozen=True)
class Stage:
    """Channels that are tried one after the other, until one takes the page."""

    after: float
    """Seconds after the person's first page."""
    channels: tuple[Address, ...]


def stages(channels: Sequence[Address]) -> tuple[Stage, ...]:
    """The channels in the order in which they are used; those of one stage keep the order of the list."""
    delays = sorted({channel.after for channel in channels})
    return tuple(
        Stage(delay.total_seconds(), tuple(channel for channel in channels if channel.after == delay))
        for delay in delays
    )
