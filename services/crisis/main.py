"""Wiring of the crisis service."""

from __future__ import annotations

import httpx
import structlog
from fastapi import FastAPI
from pymongo.errors import PyMongoError

from services.crisis.api import FLAGGING, routes
from services.crisis.auditor import Auditor
from services.crisis.board import Board
from services.crisis.callbacks_api import callback_routes
from services.crisis.chains import Chains
from services.crisis.console_api import console_routes, root_of
from services.crisis.dispatch import Dispatcher
from services.crisis.erasures import Erasures
from services.crisis.flags import FlagReader
from services.crisis.keeper import SERVICE, Keeper
from services.crisis.links import Links, ReceiptLinks
from services.crisis.live import Live
from services.crisis.message import Composer
from services.crisis.notices import Notices
from services.crisis.oncall.feed import Feed
from services.crisis.oncall.hand_overs import HandOvers
from services.crisis.oncall.holders import OnCall
from services.crisis.oncall.store import OnCallStore
from services.crisis.oncall_api import on_call_routes
from services.crisis.pager import Pager
from services.crisis.pages.console_files import console
from services.crisis.reactions import TOPICS, CrisisReactions
from services.crisis.roster import read_roster
from services.crisis.settings import CrisisSettings
from services.crisis.signing_in import SignIn
from services.crisis.steady import SteadyClock
from services.crisis.store import Store
from services.crisis.working_hours import WorkingHours
from shared.clock import Clock, SystemClock
from shared.messaging.progress import Progress
from shared.mongo.encryption import master_key
from shared.policy.versions import load_versions
from shared.web import help_lines
from shared.web.service import Runtime, create_app

log = structlog.get_logger(__name__)


def build(
    settings: CrisisSettings,
    clock: Clock,
    progress: Progress,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> FastAPI:
    """The application. `transport` carries all requests that leave it, where no real provider may be reached."""
    runtime = Runtime(SERVICE, settings, clock, progress)
    policies = load_versions(settings.policy_file)
    if isinstance(clock, SystemClock):  # what is due stays due, whatever the machine or the database says
        clock = SteadyClock(clock)
    chains = Chains(policies)
    http = httpx.AsyncClient(timeout=settings.page_timeout, transport=transport)
    store = Store(runtime.db)
    key = master_key(settings.master_key.get_secret_value() if settings.master_key else None)
    base = settings.base_url()
    links = Links(key, base, settings.page_link_valid)
    composer = Composer(links, settings.client_url, chains)
    roster = read_roster(settings.roster_file)
    people = [person.id for person in roster.people]
    on_call = OnCall(settings.rota_file, settings.workdays_file, people, clock)
    on_call_store = OnCallStore(runtime.db)
    dispatcher = Dispatcher(
        roster,
        settings.fallback(),
        http,
        clock=clock,
        budgets=settings.page_budgets,
        timeout=settings.page_timeout,
        holders=on_call.holders,
    )
    if unreachable := roster.without_channel():
        log.warning("people can be paged over the channels for everybody only", people=unreachable)
    keeper = Keeper(runtime.journal, store, runtime.dead_letters, chains, clock, progress)
    erasures = Erasures(store, runtime.vault, progress)
    board = Board(store, keeper, chains, clock, progress, erasures.wake)
    pager = Pager(board, store, keeper, dispatcher, composer, clock, progress)
    flags = FlagReader(settings, pager, clock, progress)
    notices = Notices(store, dispatcher, WorkingHours(policies, settings.workdays_file), clock, progress)
    heartbeat = settings.heartbeat_url.get_secret_value() if settings.heartbeat_url else None
    live = Live(board, keeper, composer, clock, runtime.draining)
    auditor = Auditor(pager, keeper, flags, clock, heartbeat, http)

    async def after_batch() -> None:
        erasures.wake.set()
        notices.wake.set()
        try:  # at once: an escalated deadline pages without waiting for the next look
            await board.sync()
            await board.forget_erased()
        except PyMongoError as error:  # it is committed: the next look does it
            log.warning("following up waits for the database", error=type(error).__name__)

    runtime.preparations += [
        store.ensure_indexes,
        board.load,
        flags.wait_started,
        on_call_store.ensure_indexes,
    ]
    runtime.react(CrisisReactions(store, chains), TOPICS, after_batch=after_batch)
    runtime.run("pager", pager.run, at_once=True)
    runtime.run("keeper", lambda: keeper.run(board), at_once=True)
    runtime.run("flags", lambda: flags.run(keeper.prepared.wait), at_once=True)
    if isinstance(
        clock, SystemClock
    ):  # in time-lapse hours pass in milliseconds: nothing there could be late
        runtime.run("auditor", auditor.run, at_once=True)
    if settings.rota_file:
        runtime.preparations.append(lambda: on_call.refresh(on_call_store))
        runtime.run("on call", lambda: on_call.run(on_call_store), at_once=True)
    runtime.closes(http)
    runtime.run("publishing", keeper.publish)
    runtime.run("notices", notices.run)
    runtime.run("erasures", erasures.run)
    runtime.run("sync", board.sync_for_ever)
    runtime.run("console", live.follow, at_once=True)
    runtime.run("console of other replicas", live.look_at_others)

    async def required(_: Runtime) -> dict[str, bool]:
        return {"pager": pager.running}

    app = create_app(runtime, "Aftercare crisis", required=required, large_bodies=frozenset({FLAGGING}))
    app.state.pager = pager
    app.state.auditor = auditor
    sign_in = _sign_in(settings, base, http)
    page = console(root_of(base), help_lines.load(settings.help_file), _way_in(settings, sign_in))
    app.include_router(console_routes(page, live, board, store, sign_in))
    app.include_router(routes(pager, store, links, composer, clock))
    app.include_router(callback_routes(pager, dispatcher, ReceiptLinks(key, base), clock))
    hand_overs = HandOvers(on_call, on_call_store, runtime.vault, runtime.access_log, clock)
    feed = Feed(key, base, settings.calendar_edition)
    app.include_router(on_call_routes(on_call, on_call_store, hand_overs, feed, clock))
    return app


def _sign_in(settings: CrisisSettings, base: str, http: httpx.AsyncClient) -> SignIn | None:
    if not (settings.oidc_issuer and settings.console_client_id):
        return None
    back = f"{base}/console"
    return SignIn(settings, settings.console_client_id, settings.console_scope, back, http)


def _way_in(settings: CrisisSettings, sign_in: SignIn | None) -> str:
    if settings.token_secret:
        return "token"
    return "issuer" if sign_in else "paste"
