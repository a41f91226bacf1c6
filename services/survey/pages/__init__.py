"""The questionnaire on the phone, without JavaScript: one question at a time, saved as it goes.

Opening a page changes nothing; only the buttons do. Every page has the way out (F10) and the way to help.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import jinja2
import structlog
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from pymongo.errors import PyMongoError

from services.survey.answering import Answering, Visit
from services.survey.domain import questionnaire
from services.survey.domain.links import Links, Opening
from services.survey.domain.questionnaire import InvalidAnswer, Question
from services.survey.ending import Unavailable
from shared.mongo.encryption import Sealed
from shared.web import help_lines
from shared.web.problems import Problem
from shared.web.texts import LANGUAGES, Language, choose, text

log = structlog.get_logger(__name__)

FOLDER = Path(__file__).parent

STATUS: Mapping[Opening, int] = {"expired": 410, "called-off": 410, "withdrawn": 410}
"""A link that leads to nothing any more is gone; one that was answered still shows how it ended."""


class Pages:
    """Renders the pages and their headers."""

    headers: ClassVar[dict[str, str]] = {
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex, nofollow",
    }

    def __init__(self, links: Links, help_file: Path | None = None) -> None:
        self.root = urlsplit(links.base_url).path.rstrip("/")
        self.links = links
        self.help = help_lines.load(help_file)
        self._style = (FOLDER / "style.css").read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        self._policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'"
        )
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(FOLDER),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def page(self, name: str, language: Language, status: int = 200, **values: Any) -> HTMLResponse:
        """A page in one language."""

        def words(key: str, **params: object) -> str:
            return text(f"survey.{key}", language, **params)

        other = next(one for one in LANGUAGES if one != language)
        body = self._templates.get_template(f"{name}.html").render(
            t=words, language=language, other=other, style=self._style, root=self.root, **values
        )
        headers = self.headers | {"Content-Security-Policy": self._policy, "Content-Language": language}
        return HTMLResponse(body, status, headers=headers)

    def go(self, path: str, language: Language) -> RedirectResponse:
        """On to another page after a button was pressed: reloading that one sends nothing twice."""
        return RedirectResponse(f"{self.root}{path}?lang={language}", 303, headers=self.headers)

    def help_page(self, language: Language, *, stopped: bool, told: bool = True) -> HTMLResponse:
        """Tap-to-call help (F58). Never says that anyone is safe, never names a disorder."""
        return self.page("help", language, lines=self.help, stopped=stopped, told=told)


def routes(pages: Pages, answering: Answering) -> APIRouter:
    """The pages behind an invitation link, and the help page that needs none."""
    router = APIRouter(
        tags=["questionnaire"], default_response_class=HTMLResponse, route_class=_never_bare(pages)
    )

    async def visited(token: str) -> Visit:
        invitation = pages.links.read(token)
        visit = await answering.visit(invitation) if invitation else None
        if visit is None:
            raise _NoSuchLink
        return visit

    def closed(opening: Opening, language: Language) -> Response:
        """The last page of a link that no longer opens a questionnaire."""
        if opening == "stopped-for-crisis":
            return pages.help_page(language, stopped=True)
        return pages.page("closed", language, STATUS.get(opening, 200), how=opening)

    def question_page(
        visit: Visit, question: Question, token: str, language: Language, problem: str = ""
    ) -> Response:
        place = [one.id for one in visit.asked].index(question.id)
        return pages.page(
            "question",
            language,
            422 if problem else 200,
            question=question,
            given=visit.answers.get(question.id, ()),
            problem=problem,
            place=place + 1,
            total=len(visit.asked),
            back=visit.asked[place - 1].id if place else None,
            token=token,
            longest=questionnaire.LONGEST_COMMENT,
        )

    @router.get("/help", summary="Whom to call")
    async def help_page(lang: str = "zh") -> Response:
        return pages.help_page(choose(lang), stopped=False)

    @router.get("/s/{token}", summary="The first page: purpose, length, rights (F49, F54)")
    async def first_page(token: str, lang: str = "zh") -> Response:
        language = choose(lang)
        try:
            visit = await visited(token)
        except _NoSuchLink:
            return pages.page("closed", language, 404, how="unknown")
        if visit.opening != "open":
            return closed(visit.opening, language)
        upcoming = questionnaire.next_question(visit.asked, visit.answers)
        return pages.page(
            "first",
            language,
            token=token,
            minutes=questionnaire.minutes(visit.asked),
            begun=bool(visit.answers),
            dropped=visit.follow_up.case_class == "dropped",
            go_on=f"/s/{token}/q/{upcoming.id}" if upcoming else f"/s/{token}/send",
        )

    @router.get("/s/{token}/q/{key}", summary="One question")
    async def show_question(token: str, key: str, lang: str = "zh") -> Response:
        language = choose(lang)
        visit = await _or_none(visited(token))
        question = visit.question(key) if visit else None
        if visit is None or question is None:
            return pages.page("closed", language, 404, how="unknown")
        if visit.opening != "open":
            return closed(visit.opening, language)
        return question_page(visit, question, token, language)

    @router.post("/s/{token}/q/{key}", summary="Save the answer, go on")
    async def answer_question(request: Request, token: str, key: str, lang: str = "zh") -> Response:
        language = choose(lang)
        form = await request.form(max_files=0, max_fields=20)
        given = [value for value in form.getlist("answer") if isinstance(value, str)]
        try:
            visit = await _or_none(visited(token))
            question = visit.question(key) if visit else None
            if visit is None or question is None:
                return pages.page("closed", language, 404, how="unknown")
            if visit.opening != "open":
                return closed(visit.opening, language)
            try:
                answer = question.read(given)
            except InvalidAnswer as problem:
                return question_page(visit, question, token, language, str(problem))
            opening = await answering.answered(visit.follow_up, question, answer)
        except (PyMongoError, Unavailable):
            # F58: whoever has just told of danger gets help, whatever else is broken.
            if key == questionnaire.RISK and given and given != [questionnaire.NO_RISK]:
                log.exception("a sign of danger could not be stored")
                return pages.help_page(language, stopped=True, told=False)
            raise
        if opening != "open":
            return closed(opening, language)  # at once: the help page must not need one more reading
        upcoming = questionnaire.next_question(visit.asked, {**visit.answers, key: answer})
        return pages.go(f"/s/{token}/q/{upcoming.id}" if upcoming else f"/s/{token}/send", language)

    @router.get("/s/{token}/send", summary="The last page before sending")
    async def send_page(token: str, lang: str = "zh") -> Response:
        language = choose(lang)
        visit = await _or_none(visited(token))
        if visit is None:
            return pages.page("closed", language, 404, how="unknown")
        if visit.opening != "open":
            return closed(visit.opening, language)
        upcoming = questionnaire.next_question(visit.asked, visit.answers)
        if upcoming:
            return pages.go(f"/s/{token}/q/{upcoming.id}", language)
        return pages.page("send", language, token=token, back=visit.asked[-1].id, total=len(visit.asked))

    @router.post("/s/{token}/send", summary="Send the response: the link is spent")
    async def send(token: str, lang: str = "zh") -> Response:
        visit = await _or_none(visited(token))
        if visit and visit.opening == "open":
            await answering.finished(visit.follow_up.id)
        return pages.go(f"/s/{token}", choose(lang))

    @router.get("/s/{token}/stop", summary="The ways to stop")
    async def stop_page(token: str, lang: str = "zh") -> Response:
        language = choose(lang)
        visit = await _or_none(visited(token))
        if visit is None:
            return pages.page("closed", language, 404, how="unknown")
        return pages.page("stop", language, token=token, open=visit.opening == "open")

    @router.post("/s/{token}/refuse", summary="No more of this follow-up (F10)")
    async def refuse(token: str, lang: str = "zh") -> Response:
        visit = await _or_none(visited(token))
        if visit:
            await answering.refused(visit.follow_up.id, withdraw=False)
        return pages.go(f"/s/{token}", choose(lang))

    @router.post("/s/{token}/withdraw", summary="No follow-ups any more (F10)")
    async def withdraw(token: str, lang: str = "zh") -> Response:
        visit = await _or_none(visited(token))
        if visit:
            await answering.refused(visit.follow_up.id, withdraw=True)
        return pages.go(f"/s/{token}", choose(lang))

    return router


def _never_bare(pages: Pages) -> type[APIRoute]:
    """Routes that answer a client with a page even when the database is away, not with a problem document."""

    class Route(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                try:
                    return await handle(request)
                except (PyMongoError, Unavailable) as error:
                    log.warning("a page waits for the database", error=type(error).__name__)
                    return pages.page(
                        "closed", choose(request.query_params.get("lang")), 503, how="unavailable"
                    )
                except (Problem, Sealed):  # erased between two taps
                    return pages.page("closed", choose(request.query_params.get("lang")), 404, how="unknown")

            return guarded

    return Route


class _NoSuchLink(Exception):
    pass


async def _or_none(visiting: Any) -> Visit | None:
    try:
        found: Visit = await visiting
    except (_NoSuchLink, Problem):
        return None
    return found
