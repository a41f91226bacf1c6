"""When staff may be told what does not page."""

from __future__ import annotations

from datetime import datetime, timedelta

from shared.policy.schedule import within_hours
from shared.policy.versions import Policies
from shared.policy.workdays import load_calendar


class WorkingHours:
    """The working hours of the policy on the company's working days.

    The days of a year whose notice is not out are what the switch `unknown_year` says: rather told on a day off than
    kept back on a working day.
    """

    def __init__(self, policies: Policies) -> None:
        self._policies = policies
        self._calendars = {
            policy.version: load_calendar(unknown_year=policy.switches.unknown_year)
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
