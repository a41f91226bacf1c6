"""Words on consent: what holds, and since when it was given again."""

from __future__ import annotations

import itertools
from datetime import datetime

import pytest

from services.scheduler.domain.consent import Word, allowed, regained_at
from tests.builders import at


def words(*said: tuple[str, bool]) -> list[Word]:
    return [
        Word(time=at(day), source="/a", event_id=f"w{n}", said_at=at(day), allowed=yes)
        for n, (day, yes) in enumerate(said)
    ]


NO1, YES2, YES3, NO4, YES5 = (
    ("2026-03-01", False),
    ("2026-03-02", True),
    ("2026-03-03", True),
    ("2026-03-04", False),
    ("2026-03-05", True),
)


@pytest.mark.parametrize(
    ("said", "holds", "since"),
    [
        ([], None, None),
        ([YES2], True, None),
        ([NO1], False, None),
        ([NO1, YES2], True, at("2026-03-02")),
        ([NO1, YES2, YES3], True, at("2026-03-02")),  # saying it once more changes nothing
        ([NO1, YES2, NO4], False, None),
        ([NO1, YES2, NO4, YES5], True, at("2026-03-05")),
        ([YES2, YES3], True, None),
    ],
)
def test_in_any_order_the_same_holds(
    said: list[tuple[str, bool]], holds: bool | None, since: datetime | None
) -> None:
    for order in itertools.permutations(words(*said)):
        assert allowed(order) is holds
        assert regained_at(order) == since


def test_of_two_words_at_the_same_time_source_and_id_decide() -> None:
    yes = Word(time=at("2026-03-01"), source="/a", event_id="2", said_at=at("2026-03-01"), allowed=True)
    no = Word(time=at("2026-03-01"), source="/a", event_id="1", said_at=at("2026-03-01"), allowed=False)

    assert allowed([no, yes]) is True
    assert allowed([yes, no]) is True
