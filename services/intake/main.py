"""Wiring of intake: the only place that builds its clients."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI

from services.intake import forms_api
from services.intake.api import PUBLISHING, routes
from services.intake.forms import Forms
from services.intake.ingress import Ingress
from services.intake.reactions import IntakeReactions
from services.intake.settings import IntakeSettings
from services.intake.snapshots import SnapshotTaker
from services.intake.store import Store
from shared.clock import Clock
from shared.messaging.progress import Progress
from shared.mongo.erasure import carry_out
from shared.policy.versions import load_versions
from shared.web.crisis import crisis_client
from shared.web.service import Readiness, Runtime, create_app


def build(settings: IntakeSettings, clock: Clock, progress: Progress) -> FastAPI:
    """The intake service as an application."""
    runtime = Runtime("intake", settings, clock, progress)
    store = Store(runtime.db)
    runtime.preparations.append(store.ensure_indexes)
    erased = asyncio.Event()
    policies = load_versions(settings.policy_file)
    snapshots = SnapshotTaker(store, runtime.journal, policies, progress)

    def wake() -> None:
        erased.set()
        snapshots.wake.set()

    runtime.react(IntakeReactions(store, policies), after_batch=wake)
    runtime.run("snapshots", snapshots.run)
    runtime.run(
        "erasures", lambda: carry_out(runtime.db, runtime.vault, erased, lambda: progress.busy("intake"))
    )
    crisis = crisis_client("intake", settings, settings.crisis_url, settings.crisis_token)
    if crisis:
        runtime.closes(crisis)
    ingress = Ingress(settings, runtime.journal, store, clock, progress, crisis, policies)
    forms = Forms(store, runtime.vault, runtime.access_log, runtime.journal, clock, policies)
    app = create_app(
        runtime,
        "Aftercare intake",
        required=_can_take_something(settings),
        large_bodies=frozenset({PUBLISHING}),
    )
    app.include_router(routes(store, runtime.vault, runtime.access_log, ingress, forms, clock, policies))
    app.include_router(forms_api.routes(forms, policies))
    return app


def _can_take_something(settings: IntakeSettings) -> Readiness:
    """Intake is ready when it can store an event or forward a crisis: Kubernetes must not take that away."""

    async def required(runtime: Runtime) -> dict[str, bool]:
        dependencies = await runtime.reachable()
        return {"stores events or forwards a crisis": dependencies["database"] or bool(settings.crisis_url)}

    return required
