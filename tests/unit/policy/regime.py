"""What the policy's tests share: the shipped regime, its calendar, and instants written in Shanghai's time."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from shared.policy.model import Policy, Switches
from shared.policy.versions import Policies, load
from shared.policy.workdays import load_calendar

POLICY = load()
POLICIES = Policies((POLICY,))
CALENDAR = load_calendar()
SHANGHAI = ZoneInfo("Asia/Shanghai")


def at(text: str) -> datetime:
    """`2026-03-02 10:00` in Shanghai."""
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def written(instant: datetime) -> str:
    """An instant as Shanghai reads it."""
    return f"{instant.astimezone(SHANGHAI):%Y-%m-%d %H:%M:%S}"


def switched(**switches: Any) -> Policy:
    """The shipped regime with some switches set otherwise, checked as a file's would be."""
    values = {**POLICY.switches.model_dump(), **switches}
    return POLICY.model_copy(update={"switches": Switches.model_validate(values)})
