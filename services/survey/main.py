"""Wiring of the survey service: the only place that builds its clients."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from fastapi import FastAPI

from services.survey import api, pages, sample_api
from services.survey.answering import Answering, Answers
from services.survey.conducting import Conducting
from services.survey.domain import questionnaire
from services.survey.domain.follow_ups import FollowUp
from services.survey.domain.links import Links
from services.survey.ending import Committing, CrisisLine
from services.survey.gateway import Sender
from services.survey.reactions import SurveyReactions
from services.survey.sampling import Sampling
from services.survey.settings import SurveySettings
from services.survey.store import Store
from shared.clock import Clock
from shared.messaging.progress import Progress
from shared.mongo.encryption import master_key
from shared.mongo.erasure import carry_out
from shared.policy.versions import load_versions
from shared.web.crisis import crisis_client
from shared.web.service import Runtime, create_app


def build(settings: SurveySettings, clock: Clock, progress: Progress) -> FastAPI:
    """The survey service as an application."""
    runtime = Runtime("survey", settings, clock, progress)
    policies = load_versions(settings.policy_file)
    longest = min(policy.bound("questionnaire-length").at_most or timedelta() for policy in policies.versions)
    forms = questionnaire.load(longest)
    store = Store(runtime.db, policies)
    runtime.preparations.append(store.ensure_indexes)
    key = settings.master_key.get_secret_value() if settings.master_key else None
    links = Links(master_key(key), settings.base_url())

    def minutes(follow_up: FollowUp) -> int:
        return questionnaire.minutes(forms.asked(follow_up.template, follow_up.case_class))

    sender = Sender(
        settings, store, clock, progress, lambda subject: links.url(links.invitation(subject)), minutes
    )
    erased = asyncio.Event()

    def wake() -> None:
        sender.wake.set()
        erased.set()

    reactions = SurveyReactions(store, links, policies)
    runtime.react(reactions, after_batch=wake)
    runtime.run("messages", sender.run)
    runtime.run(
        "erasures", lambda: carry_out(runtime.db, runtime.vault, erased, lambda: progress.busy("survey"))
    )
    crisis = crisis_client("survey", settings, settings.crisis_url, settings.crisis_token)
    if crisis:
        runtime.closes(crisis)
    line = CrisisLine(crisis, settings.crisis_patience_seconds, progress)
    committing = Committing(runtime.journal, line, sender.wake.set)
    conducting = Conducting(store, committing, runtime.vault, runtime.access_log, clock, policies)
    sampling = Sampling(store, committing, conducting, clock)
    answering = Answering(store, committing, Answers(runtime.vault), clock, forms)
    app = create_app(runtime, "Aftercare survey")
    app.include_router(api.routes(store, conducting, clock, policies))
    app.include_router(sample_api.routes(store, sampling))
    app.include_router(pages.routes(pages.Pages(links, settings.help_file), answering))
    return app
