"""When staff may be told what does not page."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import structlog

from shared.policy.reading import PolicyError
from shared.policy.schedule import within_hours
from shared.policy.versions import Policies
from shared.policy.workdays import UnknownYear, WorkCalendar, load_calendar

log = structlog.get_logger(__name__)


class WorkingHours:
    """The working hours of the policy on the company's working days.

    The days of a year whose notice is not out are what the switch `unknown_year` says: rather told on a day off than
    kept back on a working day.
    """

    def __init__(self, policies: Policies, workdays_file: Path | None = None) -> None:
        self._policies = policies
        self._calendars = {
            policy.version: _calendar(workdays_file, policy.switches.unknown_year)
            for policy in policies.versions
        }

    def at(self, instant: datetime) -> datetime:
        """The instant itself where it lies within working hours, else when they begin next."""
        policy = self._policies.by(instant)
        switches = policy.switches
        return within_hours(instant, switches.working_hours, self._calendars[policy.version], switches.zone)

    def full_hour_after(self, instant: datetime) -> datetime:
        """The next full hour of the company's clock."""
        local = instant.astimezone(self._policies.by(instant).switches.zone)
        return local.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _calendar(path: Path | None, unknown_year: UnknownYear) -> WorkCalendar:
    """The company's calendar; without the file, if that cannot be used: it must not keep crisis from starting."""
    try:
        return load_calendar(path, unknown_year)
    except PolicyError as error:
        problems = [str(problem) for problem in error.problems]
        log.error("the working days cannot be used: those of the release hold", problems=problems)
        return load_calendar(unknown_year=unknown_year)
