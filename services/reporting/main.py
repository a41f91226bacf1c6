"""Wiring of reporting: the only place that builds its clients."""

from __future__ import annotations

from fastapi import FastAPI

from services.reporting import budget_api
from services.reporting.api import routes
from services.reporting.domain import counting
from services.reporting.reactions import ReportingReactions
from services.reporting.settings import ReportingSettings
from services.reporting.store import Store
from shared.clock import Clock
from shared.messaging.progress import Progress
from shared.policy.versions import load_versions
from shared.web.service import Runtime, create_app


def build(settings: ReportingSettings, clock: Clock, progress: Progress) -> FastAPI:
    """The reporting service as an application. Raises PolicyError or KeyError for a policy it cannot report by."""
    policies = load_versions(settings.policy_file)
    now = clock.now()
    for policy in policies.versions:  # a target that one lacks is found now and not on the 5th
        counting.figures(f"{now:%Y-%m}", counting.Facts(), policy, now)
    runtime = Runtime("reporting", settings, clock, progress)
    store = Store(runtime.db)
    runtime.preparations.append(store.ensure_indexes)
    runtime.react(ReportingReactions(store, policies))
    app = create_app(runtime, "Aftercare reporting")
    app.include_router(routes(store, policies, clock))
    app.include_router(budget_api.routes(store, runtime.journal, policies, clock))
    return app
