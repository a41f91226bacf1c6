"""The questionnaire as a client meets it: by its link, one question at a time, and out of it at any moment."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from services.survey.domain import questionnaire
from shared.web.texts import text
from tests.builders import at, consent_changed
from tests.integration.survey.events import due, planned, reminder
from tests.integration.survey.gateway import FakeGateway

if TYPE_CHECKING:
    from tests.system import System

BEST = {
    "plan": "4",
    "state": "4",
    "progress": "4",
    "risk": "never",
    "need": "nothing",
    "counsellor": "5",
    "process": "4",
    "emotion": "3",
    "communication": "5",
    "setting": "4",
    "result-feedback": "2",
    "recommendation": "4",
    "dropped-reason": "time",
    "comment": "the receptionist was kind",
}


class Page(HTMLParser):
    """What a page offers: its links, its forms, its text."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        self.answer = answer
        self.links: list[str] = []
        self.forms: list[str] = []
        self.text = re.sub(r"<style>.*?</style>", "", answer.text, flags=re.S)
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "a":
            self.links.append(str(given["href"]))
        if tag == "form":
            self.forms.append(str(given["action"]))

    def form(self, ending: str) -> str:
        [found] = [action for action in self.forms if action.split("?")[0].endswith(ending)]
        return found.replace("/survey/s/", "/s/")


class Phone:
    """A client's browser, which follows redirects within the path that the gateway of the company maps."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def get(self, path: str) -> Page:
        return Page(await self._followed(await self.http.get(path)))

    async def press(self, path: str, answer: str | list[str] | None = None) -> Page:
        data: dict[str, Any] = {} if answer is None else {"answer": answer}
        return Page(await self._followed(await self.http.post(path, data=data)))

    async def _followed(self, answer: httpx.Response) -> httpx.Response:
        if answer.status_code == 303:
            return await self.http.get(answer.headers["location"].replace("/survey/s/", "/s/"))
        return answer

    async def answer_all(self, path: str, answers: dict[str, str], until: str | None = None) -> Page:
        """Answer one question after the other, `until` the named one is asked or the last page is reached."""
        page = await self.get(path)
        go_on = next(link for link in page.links if "/q/" in link or link.split("?")[0].endswith("/send"))
        page = await self.get(go_on.replace("/survey/s/", "/s/"))
        while key := self._asked(page):
            if key == until:
                return page
            page = await self.press(page.form(f"/q/{key}"), answers[key])
        return page

    @staticmethod
    def _asked(page: Page) -> str | None:
        found = re.search(r"/q/([a-z-]+)\?", " ".join(page.forms))
        return found[1] if found else None


@pytest.fixture
async def phone(survey: System) -> Any:
    async with survey.client("survey") as http:
        yield Phone(http)


async def invited(survey: System, gateway: FakeGateway, **given: Any) -> str:
    """The path of the link that the client got."""
    template = given.pop("template", "closed")
    await survey.publish(planned(**given), due(template=template, **given), reminder())
    link: str = gateway.sent["reminder-questionnaire-invitation"]["params"]["link"]
    return link.removeprefix("https://ask.example.com/survey")


@pytest.mark.clause("F9", "F17", "F18", "F19", "F20", "A4", "A9", "A15", "A20", "A21", "A23", "A26")
async def test_a_finished_questionnaire_is_recorded_with_scores_only(
    survey: System, gateway: FakeGateway, phone: Phone
) -> None:
    link = await invited(survey, gateway)
    last = await phone.answer_all(link, BEST | {"need": "more-sessions"})
    done = await phone.press(last.form("/send"))
    await survey.settled()

    assert "已收到" in done.text
    [recorded] = await survey.events("follow-up-recorded")
    assert recorded.data.outcome == "completed"
    assert recorded.data.form == "questionnaire"
    assert recorded.data.satisfaction == 4  # the lower of the two
    assert recorded.data.flags == ("needs-counselling",)
    assert recorded.data.bands == {
        "effect": "high",
        "emotion": "fair",
        "communication": "good",
        "setting": "good",
        "result-feedback": "poor",
        "recommendation": "good",
    }
    assert [m.data.milestone for m in await survey.events("milestone-reached")] == ["follow-up-conducted"]
    everything = [
        r.value for topic in ("follow-up-recorded", "milestone-reached") for r in await survey.records(topic)
    ]
    assert b"receptionist" not in b"".join(everything)
    stored = await survey.db("survey").get_collection("responses").find_one({"_id": "follow-up-1"})
    assert "receptionist" not in str(stored)
    async with survey.client("survey", "operations") as http:
        opened = (await http.get("/v1/follow-ups/follow-up-1/record")).json()
    assert opened["answers"]["comment"] == "the receptionist was kind"


@pytest.mark.clause("F56")
async def test_a_link_is_spent_by_finishing_and_by_nothing_less(
    survey: System, gateway: FakeGateway, phone: Phone
) -> None:
    link = await invited(survey, gateway)
    for _ in range(3):  # robots that preview links, and a client who looks in and leaves
        assert (await phone.get(link)).answer.status_code == 200
        await phone.get(f"{link}/stop")
        await phone.get(f"{link}/send")
    assert await survey.db("survey").get_collection("responses").count_documents({}) == 0

    page = await phone.answer_all(link, BEST, until="need")
    assert "6 / 13" in page.text
    saved = await phone.get(f"{link}/q/plan")
    assert re.search(r'value="4" required checked', saved.text)
    back = await phone.get(link)
    assert "继续填写" in back.text
    await phone.press(f"{link}/send")  # not finished: nothing is sent
    await survey.settled()
    assert await survey.events("follow-up-recorded") == []

    last = await phone.answer_all(link, BEST)
    await phone.press(last.form("/send"))
    again = await phone.press(f"{link}/q/state", "1")
    await phone.press(f"{link}/send")
    await survey.settled()
    assert "已收到" in again.text
    assert len(await survey.events("follow-up-recorded")) == 1


@pytest.mark.clause("F58")
@pytest.mark.parametrize("answer", ["some-days", "often", "daily"])
async def test_a_sign_of_danger_stops_the_form_and_flags_a_crisis(
    survey: System, gateway: FakeGateway, phone: Phone, answer: str
) -> None:
    link = await invited(survey, gateway)
    page = await phone.answer_all(link, BEST, until="risk")
    help_page = await phone.press(page.form("/q/risk"), answer)
    await survey.settled()

    [flag] = await survey.events("crisis-flagged")
    assert (flag.data.source, flag.data.level) == ("questionnaire", "high")
    assert (flag.data.client_id, flag.data.follow_up_id) == ("client-1", "follow-up-1")
    [recorded] = await survey.events("follow-up-recorded")
    assert recorded.data.outcome == "stopped-for-crisis"
    calls = [link for link in help_page.links if link.startswith("tel:")]
    assert calls == ["tel:120", "tel:110", "tel:12356", "tel:4001619995"]
    assert "24 小时" not in help_page.text
    assert "24小时" not in help_page.text

    later = await phone.get(link)  # coming back by the link: still the help
    assert "tel:12356" in later.text
    async with survey.client("survey", "operations") as http:
        kept = (await http.get("/v1/follow-ups/follow-up-1/record")).json()["answers"]
    assert kept == {"plan": "4", "state": "4", "progress": "4", "risk": answer}


async def test_no_sign_of_danger_is_never_called_safe(
    survey: System, gateway: FakeGateway, phone: Phone
) -> None:
    link = await invited(survey, gateway)
    page = await phone.answer_all(link, BEST, until="risk")
    page = await phone.press(page.form("/q/risk"), "never")
    assert "安全" not in page.text
    english = await phone.get(f"{link}/q/need?lang=en")
    assert "safe" not in english.text
    assert await survey.events("crisis-flagged") == []


@pytest.mark.clause("F10")
async def test_refusing_ends_the_asking(survey: System, gateway: FakeGateway, phone: Phone) -> None:
    gateway.answers = [202, 500, 500]
    link = await invited(survey, gateway)
    await survey.publish(reminder("questionnaire-reminder"))
    stop = await phone.get(f"{link}/stop")
    done = await phone.press(stop.form("/refuse"))
    await survey.settled()

    assert "不再询问" in done.text
    [recorded] = await survey.events("follow-up-recorded")
    assert recorded.data.outcome == "refused"
    assert await survey.events("consent-changed") == []
    message = (
        await survey.db("survey")
        .get_collection("messages")
        .find_one({"_id": "reminder-questionnaire-reminder"})
    )
    assert message is not None
    assert message["state"] == "cancelled"


@pytest.mark.clause("F10")
async def test_withdrawing_takes_back_the_consent(survey: System, gateway: FakeGateway, phone: Phone) -> None:
    link = await invited(survey, gateway)
    await survey.publish(due(follow_up_id="follow-up-2", template="closed"))
    stop = await phone.get(f"{link}/stop")
    await phone.press(stop.form("/withdraw"))
    await phone.press(stop.form("/withdraw"))
    await survey.settled()

    [changed] = await survey.events("consent-changed")
    assert changed.data.purposes.follow_up is False
    assert [r.data.outcome for r in await survey.events("follow-up-recorded")] == ["refused"]
    async with survey.client("survey", "operations") as http:
        assert (await http.get("/v1/worklist")).json()["items"] == []


@pytest.mark.clause("F10")
@pytest.mark.parametrize(
    ("fact", "status", "says"),
    [
        (planned("2026-03-17 09:00", change="cancelled"), 410, "已取消"),
        (consent_changed(changed_at="2026-03-17 09:00"), 410, "不会再做回访"),
    ],
)
async def test_a_link_that_leads_nowhere_says_why(
    survey: System, gateway: FakeGateway, phone: Phone, fact: Any, status: int, says: str
) -> None:
    link = await invited(survey, gateway)
    await survey.publish(fact)
    page = await phone.get(link)
    assert page.answer.status_code == status
    assert says in page.text
    assert (await phone.press(f"{link}/q/state", "3")).answer.status_code == 410


async def test_a_link_expires_seven_days_after_the_deadline(
    survey: System, gateway: FakeGateway, phone: Phone
) -> None:
    link = await invited(survey, gateway)
    await survey.until(at("2026-03-31 23:59"))
    assert (await phone.get(link)).answer.status_code == 200
    await survey.until(at("2026-04-01 00:00"))
    page = await phone.get(link)
    assert page.answer.status_code == 410
    assert "已过期" in page.text


@pytest.mark.parametrize("token", ["x", "A" * 38, "AAAA.BBBB", "%00"])
async def test_a_forged_link_opens_nothing(phone: Phone, token: str) -> None:
    assert (await phone.get(f"/s/{token}")).answer.status_code == 404
    assert (await phone.get(f"/s/{token}/q/state")).answer.status_code == 404


async def test_an_answer_that_is_none_is_asked_again(
    survey: System, gateway: FakeGateway, phone: Phone
) -> None:
    link = await invited(survey, gateway)
    for bad in (None, "7", ["1", "2"]):
        page = await phone.press(f"{link}/q/state", bad)
        assert page.answer.status_code == 422
        assert "请选择" in page.text
    page = await phone.press(f"{link}/q/comment", "长" * 1001)
    assert "1000" in page.text
    assert page.answer.status_code == 422


@pytest.mark.clause("F43")
async def test_who_stopped_early_is_asked_why(survey: System, gateway: FakeGateway, phone: Phone) -> None:
    link = await invited(survey, gateway, rule="dropped-7d", class_="dropped", template="dropped")
    last = await phone.answer_all(link, BEST)
    await phone.press(last.form("/send"))
    await survey.settled()
    [recorded] = await survey.events("follow-up-recorded")
    assert recorded.data.dropped_reason == "time"  # F43


async def test_pages_load_nothing_and_tell_nobody(survey: System, gateway: FakeGateway, phone: Phone) -> None:
    link = await invited(survey, gateway)
    for path in (link, f"{link}/q/state", f"{link}/stop", "/help"):
        answer = (await phone.get(path)).answer
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "<script" not in answer.text
        assert "client-1" not in answer.text
        assert not re.search(r"(?:src|href)=\"https?:", answer.text)


@pytest.mark.clause("F49", "F54")
@pytest.mark.parametrize(("template", "purpose"), [("closed", "purpose"), ("dropped", "purpose-dropped")])
async def test_the_first_page_says_the_purpose_before_anything_is_asked(
    survey: System, gateway: FakeGateway, phone: Phone, template: str, purpose: str
) -> None:
    given = {} if template == "closed" else {"rule": "dropped-7d", "class_": "dropped"}
    page = await phone.get(await invited(survey, gateway, template=template, **given))
    for key in (purpose, "voluntary", "private"):
        assert text(f"survey.first.{key}") in page.text
    assert page.forms == []


async def test_english_is_one_tap_away_and_stays(survey: System, gateway: FakeGateway, phone: Phone) -> None:
    link = await invited(survey, gateway)
    page = await phone.get(link)
    assert "English" in page.text
    english = await phone.get(f"{link}?lang=en")
    assert "How have you been?" in english.text
    assert all("lang=en" in href for href in english.links if "/s/" in href)
    question = await phone.press(f"{link}/q/plan?lang=en", "3")
    assert "How have you been feeling" in question.text


async def test_help_appears_even_when_the_database_is_away(
    survey: System, gateway: FakeGateway, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymongo.errors import AutoReconnect

    from services.survey.store import Store

    link = await invited(survey, gateway)

    async def away(*_: Any) -> None:
        raise AutoReconnect("away")

    monkeypatch.setattr(Store, "invited", away)
    page = await phone.press(f"{link}/q/{questionnaire.RISK}", "daily")
    assert "tel:120" in page.text
    assert "没能通知" in page.text
