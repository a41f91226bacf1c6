"""What follow-ups a client's events ask for in the end, computed a second time.

Written from the published contract (how facts combine, the follow-up rules as names), plainly and on its own: it
imports nothing of the services and nothing of the policy, keeps no state and knows no order of arrival. It takes the
events as CloudEvents JSON, all of one client, with nothing conducted yet, and leaves out care after a crisis (A32).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time
from typing import Any, NamedTuple

from tests.reference.days import DAY, SHANGHAI, end_of, instant, known, months_later, worked

Fact = dict[str, Any]


class Demanded(NamedTuple):
    """A follow-up that must stand on the agenda, planned, due or missed."""

    case_id: str
    rule: str
    scheduled_for: datetime
    complete_by: datetime
    forms: tuple[str, ...]
    provisional: bool


def demanded(events: Iterable[Fact]) -> set[Demanded]:
    """Everything that must stand on the agenda once all events have come, in whatever order."""
    facts = list({(fact["source"], fact["id"]): fact for fact in events}.values())
    if any(
        fact["data"]["status"] in ("deceased", "incapable") for fact in _of(facts, "client-status-changed")
    ):
        return set()
    words = [
        fact
        for fact in _of(facts, "consent-changed")
        if fact["data"]["purposes"].get("follow-up") is not None
    ]
    words.sort(key=_rank)
    if words and not words[-1]["data"]["purposes"]["follow-up"]:
        return set()
    cases = {fact["data"]["case_id"] for fact in facts if "case_id" in fact["data"]}
    found = {one for case_id in cases for one in _of_case(case_id, facts)}
    given_again = _given_again(words)
    return {one for one in found if given_again is None or one.scheduled_for > given_again}


def _given_again(words: list[Fact]) -> datetime | None:
    """When consent to follow-ups was given after the last withdrawal; what lay before it is not made up for."""
    since: datetime | None = None
    for before, word in zip([None, *words], words, strict=False):
        if before and not before["data"]["purposes"]["follow-up"] and word["data"]["purposes"]["follow-up"]:
            since = instant(word["data"]["changed_at"])
    return since


def _of_case(case_id: str, facts: list[Fact]) -> Iterable[Demanded]:
    mine = [fact for fact in facts if fact["data"].get("case_id") == case_id]
    sessions = _sessions(mine)
    closing, closed_at = _holding(mine, "case-closed", "closed_at")
    _, dropped_at = _holding(mine, "client-dropped", "dropped_at")
    status = _status(mine, sessions, closed_at, dropped_at)

    if status == "open":
        endings = [ending for ending in (closed_at, dropped_at) if ending]
        for position, ended_at in enumerate(
            sorted(instant(s["data"]["ended_at"]) for s in sessions), start=1
        ):
            if position % 3 == 0 and all(ended_at > ending for ending in endings):
                yield _inside(case_id, "counselling-every-3", ended_at, 2, ("questionnaire", "phone"))
    if status == "dropped" and dropped_at:
        yield _inside(case_id, "dropped-7d", dropped_at, 3, ("phone", "questionnaire"))
    if status == "closed" and closed_at:
        if _attentive(mine, sessions, closing):
            forms: tuple[str, ...] = ("phone", "video", "questionnaire")
            steps = {"key-15d": (0, 15), "key-1m": (1, 0), "key-3m": (3, 0), "key-6m": (6, 0)}
        else:
            forms = ("questionnaire", "phone")
            steps = {"closed-15d": (0, 15), "closed-3m": (3, 0)}
        for rule, (months, days) in steps.items():
            yield _moved_on(case_id, rule, closed_at, months, days, forms)


def _status(
    mine: list[Fact], sessions: list[Fact], closed_at: datetime | None, dropped_at: datetime | None
) -> str:
    opening, opened_at = _holding(mine, "case-opened", "opened_at")
    if opening and refused(opening["data"]):
        return "referred"
    if closed_at and opened_at and opened_at > closed_at:
        closed_at = None
    if dropped_at and opened_at and opened_at > dropped_at:
        dropped_at = None
    if dropped_at and any(instant(session["data"]["ended_at"]) > dropped_at for session in sessions):
        dropped_at = None
    if closed_at and dropped_at:
        return "dropped" if dropped_at > closed_at else "closed"
    if dropped_at:
        return "dropped"
    return "closed" if closed_at else "open"


def refused(opened: Fact) -> bool:
    """W23, W26, W28, of workplace adaptation alone: what is not known refuses nobody, and no ending admits anybody."""
    if opened["service"] != "workplace-adaptation":
        return False
    said = opened["eligibility"]
    if said["acute_crisis"] or said["severe_illness"]:
        return True
    if opened.get("enterprise_id"):
        return said.get("agreements_signed") is False
    return not 18 <= said.get("age", 18) <= 60 or said.get("employment") == "none"


def _attentive(mine: list[Fact], sessions: list[Fact], closing: Fact | None) -> bool:
    """F13: the newest of what was said outright, marked in a session that stands, or seen at the closing."""
    said = [fact for fact in sessions if fact["data"]["marks"]] + _of(mine, "attention-changed")
    if closing and closing["data"]["outcome"] == "below-expectation":
        said.append(closing)
    return bool(said) and max(said, key=_rank)["data"].get("state") != "lifted"


# --- facts ----------------------------------------------------------------------------------------------------


def _of(facts: list[Fact], topic: str) -> list[Fact]:
    return [fact for fact in facts if fact["type"] == f"aftercare.{topic}.v1"]


def _rank(fact: Fact) -> tuple[datetime, str, str]:
    return instant(fact["time"]), fact["source"], fact["id"]


def _holding(mine: list[Fact], topic: str, field: str) -> tuple[Fact | None, datetime | None]:
    of_kind = _of(mine, topic)
    if not of_kind:
        return None, None
    newest = max(of_kind, key=_rank)
    return newest, instant(newest["data"][field])


def _sessions(mine: list[Fact]) -> list[Fact]:
    """One for each session_no: the newest word on it."""
    newest: dict[int, Fact] = {}
    for fact in sorted(_of(mine, "session-completed"), key=_rank):
        newest[fact["data"]["session_no"]] = fact
    return list(newest.values())


# --- days -----------------------------------------------------------------------------------------------------


def _moved_on(
    case_id: str, rule: str, anchor: datetime, months: int, days: int, forms: tuple[str, ...]
) -> Demanded:
    day = months_later(anchor.date(), months) + days * DAY
    provisional = not known(day)
    while not worked(day):
        day += DAY
        provisional = provisional or not known(day)
    return _demanded(case_id, rule, day, day + 7 * DAY, forms, provisional)


def _inside(case_id: str, rule: str, anchor: datetime, days: int, forms: tuple[str, ...]) -> Demanded:
    first = anchor.date()
    limit = first + 7 * DAY
    candidates = [first + n * DAY for n in range(days, 8)] + [first + n * DAY for n in range(days - 1, 0, -1)]
    tried: list[date] = []
    for day in candidates:
        tried.append(day)
        if worked(day):
            break
    else:
        day, forms = first + days * DAY, ("questionnaire",)
    return _demanded(case_id, rule, day, limit, forms, not all(map(known, tried)))


def _demanded(
    case_id: str, rule: str, day: date, last: date, forms: tuple[str, ...], provisional: bool
) -> Demanded:
    return Demanded(
        case_id,
        rule,
        datetime.combine(day, time(10), SHANGHAI),
        end_of(last),
        forms,
        provisional,
    )
