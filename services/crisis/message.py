"""What a page says: Chinese first, English second; pseudonyms and times only."""

from __future__ import annotations

from datetime import datetime, timedelta

from services.crisis.chains import Chains
from services.crisis.channels import Message
from services.crisis.domain import Incident, Page
from services.crisis.links import Links
from services.crisis.roster import Recipient
from shared.contracts.types import COMPANY_ZONE, write_time
from shared.web.texts import Language, text

NEXT_MARGIN = timedelta(hours=1)
"""A link outlives the coming of the next one by this much."""


class Composer:
    """Writes pages."""

    def __init__(self, links: Links, client_url: str, chains: Chains) -> None:
        self._links = links
        self._client_url = client_url
        self._chains = chains

    def compose(self, incident: Incident, page: Page, recipient: Recipient, now: datetime) -> Message:
        """The page for one recipient."""
        link = self._links.make(
            incident.id, recipient.id, now, at_least=self._until_next_round(incident, now)
        )
        record = self.record(incident)
        lines = [self._line(incident, page, "zh"), text("crisis.page.acknowledge", "zh", link=link)]
        if record:
            lines.append(text("crisis.page.record", "zh", link=record))
        lines += ["--", self._line(incident, page, "en"), text("crisis.page.same-link", "en")]
        return Message(
            id=f"{incident.id}:{page.key.replace(' ', ':')}:{recipient.id}",
            text="\n".join(lines),
            data=self._data(incident, page, recipient, link, record),
            at=now,
            title=lines[0],
            words=self._words(incident),
            urgent=not incident.drill,
            danger=incident.crisis,
            topic=topic(incident.id, incident.run),
        )

    def _until_next_round(self, incident: Incident, now: datetime) -> timedelta:
        """How long until a message with a newer link comes, if nobody answers: late rounds come a week apart."""
        assert incident.since is not None
        age = max(now - incident.since, timedelta())
        return self._chains.of(incident).repetition(age).every + NEXT_MARGIN

    def _line(self, incident: Incident, page: Page, language: Language) -> str:
        assert incident.since is not None
        values = {
            "level": text(f"crisis.level.{incident.level}", language),
            "client": incident.client_id,
            "since": _clock(incident.since),
            "until": _clock(incident.since + self._chains.of(incident).intervention_within),
            "origin": next((flag.origin for flag in reversed(incident.flags) if flag.origin), "-"),
        }
        if incident.deadline:
            values |= {
                "rule": incident.deadline.rule,
                "clause": incident.deadline.clause,
                "subject": incident.deadline.subject,
                "due": _clock(incident.deadline.due_at),
            }
        said = text(f"crisis.page.{_what(incident)}", language, **values)
        if not incident.open:
            return said + text("crisis.page.resolved-already", language)
        if page.step == "head" and not incident.awaiting:
            return said + text("crisis.page.acknowledged-already", language)
        return said

    def _words(self, incident: Incident) -> dict[str, str]:
        """What fills the gaps of a template for texts and calls: short, since providers allow 35 characters each."""
        assert incident.since is not None
        deadline = incident.deadline
        until = (
            deadline.due_at if deadline else incident.since + self._chains.of(incident).intervention_within
        )
        level = text(f"crisis.level.{incident.level}", "zh")
        return {
            "what": text(f"crisis.phone.{_what(incident)}", "zh", level=level),
            "subject": deadline.subject if deadline else incident.client_id,
            "until": _clock(until),
        }

    def headline(self, incident: Incident) -> dict[str, str]:
        """What it is about, in both languages."""
        page = Page("", (), "")
        return {"zh": self._line(incident, page, "zh"), "en": self._line(incident, page, "en")}

    def record(self, incident: Incident) -> str:
        """The address of the company's own record of the client; empty where there is none."""
        if not self._client_url or incident.deadline or incident.level == "unknown":
            return ""
        return self._client_url.replace("{client_id}", incident.client_id)

    def _data(
        self, incident: Incident, page: Page, recipient: Recipient, link: str, record: str
    ) -> dict[str, str | bool]:
        assert incident.since is not None
        data: dict[str, str | bool] = {
            "incident_id": incident.id,
            "what": _what(incident),
            "level": incident.level,
            "drill": incident.drill,
            "state": incident.state,
            "step": page.step,
            "recipient": recipient.id,
            "since": write_time(incident.since),
            "acknowledge_url": link,
        }
        if incident.client_id:
            data["client_id"] = incident.client_id
        if record:
            data["client_url"] = record
        return data


def topic(incident_id: str, run: int) -> str:
    """Under what name an incident is known to systems that page people themselves. A chain that starts anew has a
    name of its own: theirs would stay quiet about what was acknowledged before."""
    return incident_id if run <= 1 else f"{incident_id}.{run}"


def _what(incident: Incident) -> str:
    if incident.drill:
        return "drill"
    if incident.deadline:
        return "deadline"
    return "unreadable" if incident.level == "unknown" else "crisis"


def _clock(instant: datetime) -> str:
    return instant.astimezone(COMPANY_ZONE).strftime("%m-%d %H:%M")
