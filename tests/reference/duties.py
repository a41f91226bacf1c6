"""What duties events ask for, computed a second time.

Written from the published contract and from the policy's rows, which are read as they stand in the file; it imports
nothing of the services and nothing of the policy, keeps no state and knows no order of arrival. It takes the events
as CloudEvents JSON: those of company systems, and those of Aftercare to which a row listens (`follow-up-due`,
`follow-up-planned`, `follow-up-recorded`, `calendar-due`, `report-published`). Switches are taken as they are shipped:
hours run on the clock, the first day does not count, a month ends on its last day.

What it says of a client who is gone, and of a case that the rule is not for (another service, W26), is how things
stand for somebody who hears of each event as it happens: what was open then is cancelled, and nothing opens again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from tests.reference.days import DAY, end_of, instant, months_later, worked
from tests.reference.followups import refused

Fact = dict[str, Any]
Row = dict[str, Any]

AT_ONE_INSTANT = (
    "case-opened", "booking-requested", "session-scheduled", "session-completed", "case-closed", "client-dropped",
    "milestone-reached", "staff-updated", "follow-up-recorded", "calendar-due", "report-published",
)  # fmt: skip
"""Of what happens at one instant, the contract's order of topics. What the scheduler says of a follow-up comes last, in
the order in which it was said."""

COUNSELLING = ("case-opened", "session-scheduled", "session-completed", "case-closed")
"""A referred client is owed nothing that these open (W26)."""


@dataclass(frozen=True)
class Owed:
    """One time that a duty has to be done."""

    rule: str
    subject: str
    opened_at: datetime
    due_at: datetime
    ended_at: datetime | None = None
    how: Literal["fulfilled", "cancelled"] | None = None
    firm: bool = True
    """False where the client is gone or the rule is not for the case: who hears of that first is told of nothing."""

    @property
    def late_after(self) -> datetime:
        """A limit that lay before the opening leaves the rest of the opening's day."""
        return self.due_at if self.due_at > self.opened_at else end_of(self.opened_at.date())

    def late(self, at: datetime) -> bool:
        return (self.ended_at or at) > self.late_after

    def state(self, at: datetime) -> str:
        return self.how or ("late" if self.late(at) else "open")


class Said(NamedTuple):
    """What an event says to a row about one subject."""

    at: datetime
    kind: Literal["opens", "fulfils", "ends", "resumes"]
    start: datetime | None = None
    for_good: bool = True


@cache
def rows() -> tuple[Row, ...]:
    """The duty rules of the regime, as written."""
    file = Path(__file__).parents[2] / "shared" / "policy" / "regime.yaml"
    return tuple(yaml.safe_load(file.read_text(encoding="utf-8"))["duties"])


def owed(events: Iterable[Fact]) -> list[Owed]:
    """Every duty that the events ask for, one for each time that it has to be done."""
    facts = sorted({(fact["source"], fact["id"]): fact for fact in events}.values(), key=_happened)
    gone = _gone(facts)
    clients = _clients(facts)
    facts = [fact for fact in facts if not _too_late(fact, gone.get(_client(fact, clients) or ""))]
    found: list[Owed] = []
    for row in rows():
        about: defaultdict[str, list[Fact]] = defaultdict(list)
        for fact in facts:
            subject = _subject(row, fact)
            if subject:
                about[subject].append(fact)
        for subject, mine in about.items():
            client = next((one for fact in mine if (one := _client(fact, clients))), None)
            end = min(
                [one for one in (gone.get(client or ""), not_for(row, subject, facts)) if one], default=None
            )
            mine = [fact for fact in mine if not _too_late(fact, end)]
            said = [one for place, fact in enumerate(mine) for one in _said(row, fact, mine[:place])]
            times = _times(row, subject, said)
            found += times if end is None else [replace(_ended(one, end), firm=False) for one in times]
    return found


def _too_late(fact: Fact, end: datetime | None) -> bool:
    return end is not None and _happened(fact)[0] > end


def _ended(one: Owed, at: datetime) -> Owed:
    return one if one.how else replace(one, ended_at=at, how="cancelled")


# --- how often it has to be done --------------------------------------------------------------------------------


def _times(row: Row, subject: str, said: Sequence[Said]) -> Iterable[Owed]:
    """Between two endings a duty opens once, and what repeats once more with each fulfilment."""
    stretch: list[Said] = []
    returns = False
    for one in said:
        if one.kind != "ends":
            stretch.append(one)
            continue
        found = list(_within(row, subject, stretch, returns))
        yield from (_ended(each, one.at) for each in found)
        returns = not one.for_good and (bool(found) or returns)
        stretch = []
    yield from _within(row, subject, stretch, returns)


def _within(row: Row, subject: str, stretch: Sequence[Said], returns: bool) -> Iterable[Owed]:
    places = [
        place
        for place, one in enumerate(stretch)
        if one.kind == "opens" or (one.kind == "resumes" and returns)
    ]
    if not places:
        return
    opened = stretch[places[0]].at
    done = [one.at for one in stretch if one.kind == "fulfils"]
    if not row.get("repeats"):
        how: tuple[Any, ...] = (done[0], "fulfilled") if done else ()
        starts = [(one.at, one.start or one.at) for one in stretch if one.kind == "opens"]
        yield _moved(row, Owed(row["name"], subject, opened, _limit(row, starts[0][1]), *how), starts[1:])
        return
    for at in [one.at for one in stretch[places[0] :] if one.kind == "fulfils"]:
        yield Owed(row["name"], subject, opened, _limit(row, opened), at, "fulfilled")
        opened = at
    yield Owed(row["name"], subject, opened, _limit(row, opened))


def _moved(row: Row, one: Owed, starts: Sequence[tuple[datetime, datetime]]) -> Owed:
    """What the limit counts back from may move, until the duty is done or late."""
    for at, start in starts if "before" in row["limit"] else ():
        if not one.late(at) and not (one.ended_at and one.ended_at < at):
            one = replace(one, due_at=_limit(row, start))
    return one


def _limit(row: Row, start: datetime) -> datetime:
    limit: dict[str, Any] = row["limit"]
    sign = -1 if "before" in limit else 1
    if "hours" in limit:
        return start + sign * timedelta(hours=limit["hours"])
    day = start.date()
    if "working_days" in limit:
        for _ in range(limit["working_days"]):
            day += sign * DAY
            while not worked(day):
                day += sign * DAY
    return end_of(months_later(day, limit.get("months", 0)) + sign * limit.get("days", 0) * DAY)


# --- what is said to a row --------------------------------------------------------------------------------------


def _said(row: Row, fact: Fact, before: Sequence[Fact]) -> Iterable[Said]:
    at, _ = _happened(fact)
    data = fact["data"]
    if _fits(row["opened_by"], fact):
        if _topic(fact) == "case-opened" and refused(data):
            yield Said(at, "ends")
        elif _topic(fact) != "case-opened" or row.get("service") in (None, data["service"]):
            yield Said(at, "opens", _counted_from(row, data))
    if _fits(row["fulfilled_by"], fact):
        yield Said(at, "fulfils")
    for ending in _endings(row):
        if _fits(ending, fact):
            yield Said(at, "ends", for_good="undone_by" not in ending)
        if "undone_by" in ending and _fits(ending["undone_by"], fact):
            yield Said(at, "resumes")
    if row["opened_by"]["event"] == "follow-up-due" and _topic(fact) == "follow-up-planned":
        # A follow-up whose work has begun moves, ends, or is planned again after that.
        if data["change"] in ("cancelled", "superseded"):
            yield Said(at, "ends")
        elif any(_topic(one) == "follow-up-due" for one in before):
            yield Said(at, "opens", _counted_from(row, data))


def _counted_from(row: Row, data: Fact) -> datetime | None:
    return instant(data[row["limit"]["before"]]) if "before" in row["limit"] else None


def _endings(row: Row) -> list[Fact]:
    endings = row.get("cancelled_by", [])
    return endings if isinstance(endings, list) else [endings]


def _fits(trigger: Fact, fact: Fact) -> bool:
    if trigger["event"] != _topic(fact) or trigger.get("milestone") != fact["data"].get("milestone"):
        return False
    return "when" not in trigger or _holds(trigger["when"], fact["data"])


def _holds(when: Fact, data: Fact) -> bool:
    ((test, value),) = when.items()
    match test:
        case "any":
            return any(_holds(part, data) for part in value)
        case "flag":
            return value in data["flags"]
        case "equals":
            return all(_field(data, name) == wanted for name, wanted in value.items())
        case "at_most":
            return all((_field(data, name) or 99) <= limit for name, limit in value.items())
        case "below":
            return all((_field(data, name) or 99) < limit for name, limit in value.items())
    raise AssertionError(f"the reference does not know the test {test}")


def _field(data: Fact, path: str) -> Any:
    value: Any = data
    for name in path.split("."):
        value = (value or {}).get(name)
    return value


def _subject(row: Row, fact: Fact) -> str | None:
    """What an event is about in a row's eyes, where it may say anything to it."""
    triggers = [row["opened_by"], row["fulfilled_by"], *_endings(row)]
    triggers += [one["undone_by"] for one in triggers if "undone_by" in one]
    listens = any(_fits(one, fact) for one in triggers)
    of_follow_up = row["opened_by"]["event"] == "follow-up-due" and _topic(fact) == "follow-up-planned"
    if not (listens or of_follow_up):
        return None
    if _topic(fact) == "milestone-reached":
        return str(fact["data"]["subject"])
    parts = [fact["data"].get(name) for name in row["subject"].split(":")]
    return None if None in parts else ":".join(map(str, parts))


def _topic(fact: Fact) -> str:
    return str(fact["type"].split(".")[1])


def _happened(fact: Fact) -> tuple[datetime, int]:
    topic = _topic(fact)
    at = fact["data"]["reached_at"] if topic == "milestone-reached" else fact["time"]
    return instant(at), AT_ONE_INSTANT.index(topic) if topic in AT_ONE_INSTANT else len(AT_ONE_INSTANT)


# --- whom it is for ---------------------------------------------------------------------------------------------


def _gone(facts: Sequence[Fact]) -> dict[str, datetime]:
    """Clients who died, are incapable or were erased, and since when."""
    found: dict[str, datetime] = {}
    for fact in facts:
        if _topic(fact) == "client-erased" or fact["data"].get("status") in ("deceased", "incapable"):
            found.setdefault(fact["data"]["client_id"], instant(fact["time"]))
    return found


def _clients(facts: Sequence[Fact]) -> dict[str, str]:
    """Cases, sessions aside, and follow-ups, each with its client."""
    return {
        fact["data"][name]: fact["data"]["client_id"]
        for fact in facts
        for name in ("case_id", "follow_up_id")
        if name in fact["data"] and "client_id" in fact["data"]
    }


def _client(fact: Fact, clients: dict[str, str]) -> str | None:
    data = fact["data"]
    about = str(data.get("subject", "")).rsplit(":", 1)[0]
    named = data.get("client_id")
    return (
        named
        or clients.get(data.get("case_id", ""))
        or clients.get(data.get("subject", about))
        or clients.get(about)
    )


def not_for(row: Row, subject: str, facts: Sequence[Fact]) -> datetime | None:
    """Since when the row asks nothing of a case, by the word on its opening that holds; None where it asks."""
    service = row.get("service")
    counselling = row["opened_by"]["event"] in COUNSELLING
    if not (service or counselling):
        return None
    case = subject.rsplit(":", 1)[0] if ":" in row["subject"] else subject
    words = [fact for fact in facts if _topic(fact) == "case-opened" and fact["data"]["case_id"] == case]
    words.sort(key=lambda fact: (instant(fact["time"]), fact["source"], fact["id"]))
    since = instant("1970-01-01T00:00:00+00:00") if service else None
    for fact in words:
        asks = service in (None, fact["data"]["service"]) and not (counselling and refused(fact["data"]))
        since = None if asks else (since or instant(fact["time"]))
    return since
