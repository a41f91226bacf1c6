"""Working days by the State Council's yearly notice, make-up days included (collision 8).

Nobody knows a year before its notice is out. In an unknown year only weekends are off (a switch of the policy), and
every result that looked at one of its days says so: it is provisional, to be computed again once the calendar is known.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal, Self

import chinese_calendar
from pydantic import model_validator

from shared.contracts.types import Strict
from shared.policy.reading import read

State = Literal["working", "off", "unknown"]
UnknownYear = Literal["weekends-off", "all-worked"]
"""What is assumed of a year whose notice is not out."""

OVERRIDES = Path(__file__).with_name("workdays.yaml")
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Moved:
    """A computed day. `provisional`: a day of an unknown year was looked at on the way."""

    day: date
    provisional: bool


class Notice(Strict):
    """What one notice changes. Where it names a `year`, that whole year counts as known."""

    reference: str
    year: int | None = None
    days_off: tuple[date, ...] = ()
    days_worked: tuple[date, ...] = ()

    @model_validator(mode="after")
    def _says_one_thing_of_a_day(self) -> Self:
        if both := sorted(set(self.days_off) & set(self.days_worked)):
            raise ValueError(f"{both[0]} cannot be both off and worked")
        return self


class Notices(Strict):
    notices: tuple[Notice, ...]


class WorkCalendar:
    """The company's working days: what the library knows, corrected by `overrides` (day -> is it worked).

    `known_years` are years whose notice the overrides carry whole; `unknown_year` says what is assumed of the others.
    """

    def __init__(
        self,
        overrides: Mapping[date, bool] | None = None,
        known_years: Iterable[int] = (),
        unknown_year: UnknownYear = "weekends-off",
    ) -> None:
        self._known_years = frozenset(known_years)
        self._weekends_off = unknown_year == "weekends-off"
        # Asking the library is slow. At most one entry a day that is ever asked for: some thousands.
        self._states: dict[date, State] = {
            day: "working" if worked else "off" for day, worked in (overrides or {}).items()
        }

    def state(self, day: date) -> State:
        state = self._states.get(day)
        if state is None:
            state = self._states[day] = self._look_up(day)
        return state

    def _look_up(self, day: date) -> State:
        try:
            return "working" if chinese_calendar.is_workday(day) else "off"
        except NotImplementedError:
            if day.year not in self._known_years:
                return "unknown"
            return "off" if _is_weekend(day) else "working"

    def is_working(self, day: date) -> bool:
        """In an unknown year, every day but Saturday and Sunday, or (`all-worked`) every day."""
        state = self.state(day)
        if state == "unknown":
            return not (self._weekends_off and _is_weekend(day))
        return state == "working"

    def known(self, day: date) -> bool:
        return self.state(day) != "unknown"

    def first_working(self, candidates: Iterable[date], otherwise: date) -> Moved:
        """The first working day among `candidates`, taken in their order; `otherwise` where there is none."""
        provisional = False
        for day in candidates:
            provisional = provisional or not self.known(day)
            if self.is_working(day):
                return Moved(day, provisional)
        return Moved(otherwise, provisional)

    def next_working_day(self, day: date) -> Moved:
        """The day itself when it is a working day, else the next one: "moved on"."""
        return self.first_working((day + n * _DAY for n in itertools.count()), day)

    def add_working_days(self, day: date, n: int) -> Moved:
        """The n-th working day after `day`, before it where n is negative. The first day does not count."""
        step = _DAY if n > 0 else -_DAY
        left, provisional = abs(n), False
        while left:
            day += step
            provisional = provisional or not self.known(day)
            left -= self.is_working(day)
        return Moved(day, provisional)


def load_calendar(path: Path | None = None, unknown_year: UnknownYear = "weekends-off") -> WorkCalendar:
    """The calendar with the override file applied, later notices over earlier ones. Raises PolicyError.

    `unknown_year` is the switch of that name in the policy (collision 8).
    """
    notices = read(path or OVERRIDES, Notices).notices
    overrides: dict[date, bool] = {}
    for notice in notices:
        overrides.update(dict.fromkeys(notice.days_off, False))
        overrides.update(dict.fromkeys(notice.days_worked, True))
    known = [notice.year for notice in notices if notice.year is not None]
    return WorkCalendar(overrides, known, unknown_year)


def _is_weekend(day: date) -> bool:
    return day.weekday() >= 5
