"""Wiring of the scheduler: the only place that builds its clients."""

from __future__ import annotations

from fastapi import FastAPI

from services.scheduler.api import routes
from services.scheduler.domain.planning import Regime
from services.scheduler.leases import SlotLeases
from services.scheduler.new_version import NewVersion
from services.scheduler.provisional import Provisional
from services.scheduler.reactions import SchedulerReactions
from services.scheduler.settings import SchedulerSettings
from services.scheduler.store import Store
from services.scheduler.timers import Timers
from shared.clock import Clock
from shared.messaging.progress import Progress
from shared.policy.versions import load_versions
from shared.web.service import Runtime, create_app


def build(settings: SchedulerSettings, clock: Clock, progress: Progress) -> FastAPI:
    """The scheduler service as an application."""
    runtime = Runtime("scheduler", settings, clock, progress)
    regime = Regime.of(load_versions(settings.policy_file), settings.workdays_file)
    store = Store(runtime.db)
    leases = SlotLeases(runtime.db)
    versions = NewVersion(store, runtime.journal, regime, clock, progress)
    timers = Timers(store, runtime.journal, leases, regime, clock, progress, settings.timer_batch, versions)
    provisional = Provisional(store, runtime.journal, regime, clock, progress, timers.wake.set)
    runtime.preparations += [store.ensure_indexes, leases.renew, timers.ensure_dates]
    runtime.react(SchedulerReactions(store, regime), after_batch=timers.wake.set)
    runtime.run("leases", leases.keep)
    runtime.run("calendar", provisional.run, ends=True)
    runtime.run("timers", timers.run)
    runtime.run("timer poll", timers.poll)
    app = create_app(runtime, "Aftercare scheduler")
    app.include_router(routes(store, runtime.journal, clock, regime))
    return app
