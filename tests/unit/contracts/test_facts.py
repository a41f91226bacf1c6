"""Which of two facts holds."""

from __future__ import annotations

import itertools

from shared.contracts.facts import Fact, holding
from tests.builders import at


def test_the_fact_of_the_greatest_rank_holds_in_any_order() -> None:
    facts = [
        Fact(time=at("2026-03-01"), source="/b", event_id="2"),
        Fact(time=at("2026-03-02"), source="/a", event_id="2"),
        Fact(time=at("2026-03-02"), source="/b", event_id="1"),
        Fact(time=at("2026-03-02"), source="/b", event_id="2"),
    ]
    for order in itertools.permutations(facts):
        held: Fact | None = None
        for fact in order:
            held = holding(held, fact)
        assert held == facts[-1]
