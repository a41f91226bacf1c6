"""The figures do not depend on the order in which events arrive, and no share leaves 0 to 1."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.reporting.domain.figures import Figures, Rate
from shared.contracts.envelope import Event
from shared.contracts.events import DutyChanged, FollowUpPlanned
from tests.unit.reporting.events import (
    CLAUSES,
    at,
    classified,
    duty,
    escalation,
    incident,
    planned,
    recorded,
)
from tests.unit.reporting.test_month_figures import figures_of

START = at("2026-02-20 00:00")
KEYS = st.sampled_from(["1", "2", "3"])
INSTANTS = st.integers(0, 50).map(lambda steps: START + timedelta(hours=20 * steps))
"""Few, so that several facts often share one instant, as in a time-lapse."""


@st.composite
def follow_up_plans(draw: st.DrawFn) -> Event:
    change = draw(st.sampled_from(["planned", "moved", "superseded", "cancelled"]))
    rule = draw(st.sampled_from(sorted(CLAUSES)))
    time, scheduled = draw(INSTANTS), draw(INSTANTS)
    return planned(draw(KEYS), "", rule=rule, change=change, scheduled_for=scheduled, time=time)


@st.composite
def records(draw: st.DrawFn) -> Event:
    outcome = draw(st.sampled_from(["completed", "refused", "unreachable", "stopped-for-crisis"]))
    conducted = draw(INSTANTS)
    return recorded(
        draw(KEYS),
        "2026-03-01",
        outcome,
        conducted_at=conducted,
        recorded_at=conducted + timedelta(hours=draw(st.integers(0, 48))),
        satisfaction=draw(st.none() | st.integers(1, 5)),
        flags=tuple(draw(st.sets(st.sampled_from(["complaint", "needs-counselling"])))),
        dropped_reason=draw(st.sampled_from([None, "price", "time"])),
    )


@st.composite
def duties(draw: st.DrawFn) -> Event:
    change = draw(st.sampled_from(["opened", "fulfilled", "late", "cancelled"]))
    days = st.sampled_from(["2026-02-27", "2026-03-02", "2026-03-31", "2026-04-01"])
    return duty(draw(KEYS), change, draw(days), draw(days))


@st.composite
def incidents(draw: st.DrawFn) -> Event:
    change = draw(st.sampled_from(["opened", "paged", "acknowledged", "intervening", "resolved", "reopened"]))
    step = draw(st.sampled_from(["on-call", "head"])) if change == "paged" else None
    return incident(draw(KEYS), change, draw(INSTANTS), step=step)


@st.composite
def cases(draw: st.DrawFn) -> Event:
    status = draw(st.sampled_from(["open", "closed", "dropped"]))
    ends: dict[str, Any] = {
        "closed": {"closed_at": draw(INSTANTS)},
        "dropped": {"dropped_at": draw(INSTANTS)},
    }
    return classified(f"case-{draw(KEYS)}", draw(st.integers(1, 3)), status=status, **ends.get(status, {}))


ALL = st.one_of(
    follow_up_plans(),
    records(),
    duties(),
    incidents(),
    cases(),
    st.builds(escalation, KEYS, st.just("2026-03-05")),
)


def one_revision_once(events: list[Event]) -> list[Event]:
    """Intake says one thing under one revision, and the scheduler one thing under one event id."""
    seen: dict[object, Event] = {}
    for event in events:
        data: Any = event.data
        key = (data.case_id, data.revision) if event.topic == "case-classified" else event.unique
        if event.topic == "escalation-required":
            key = data.escalation_id
        seen.setdefault(key, event)
    return list(seen.values())


@settings(deadline=None)
@given(st.lists(ALL, max_size=25).map(one_revision_once), st.randoms(use_true_random=False))
def test_any_order_gives_the_same_figures(events: list[Event], random: Any) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)
    assert figures_of(*shuffled) == figures_of(*events)


@settings(deadline=None)
@given(st.lists(ALL, max_size=25).map(one_revision_once))
def test_every_share_lies_between_nothing_and_all(events: list[Event]) -> None:
    told = figures_of(*events)
    for rate in rates(told):
        assert 0 <= rate.reached <= rate.of
        assert (rate.value is None) == (rate.of == 0)
        assert rate.value is None or 0 <= rate.value <= 1
    for one in told.classes:
        parts = (one.completed, one.refused, one.unreachable, one.stopped_for_crisis, one.missed)
        assert one.due == sum(parts)
        assert one.completed_late <= one.completed
    for row in told.duties:
        assert row.opened == row.in_time.reached + row.late + row.open


@settings(deadline=None, max_examples=40)
@given(st.lists(ALL, max_size=25).map(one_revision_once))
def test_every_follow_up_and_duty_is_counted_in_one_month_alone(events: list[Event]) -> None:
    months = [figures_of(*events, month=f"2026-{month:02}") for month in range(1, 13)]
    follow_ups = {event.subject for event in events if isinstance(event.data, FollowUpPlanned)}
    counted = [one.planned + one.superseded + one.cancelled for told in months for one in told.classes]
    assert sum(counted) == len(follow_ups)
    known = {event.subject for event in events if isinstance(event.data, DutyChanged)}
    assert sum(row.opened + row.cancelled for told in months for row in told.duties) == len(known)


def rates(told: Figures) -> Iterator[Rate]:
    for one in told.classes:
        yield from (one.rate, one.rate_less_refusals)
    yield told.record_in_time
    yield from (row.in_time for row in told.duties)
    yield from (told.incidents.head_told_in_time, told.incidents.intervention_in_time)
