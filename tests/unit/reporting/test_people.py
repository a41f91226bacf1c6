"""What is reported about staff: who is qualified (A3), who sits in the expert group (W6), who is rewarded (F76)."""

from __future__ import annotations

import itertools
from datetime import datetime

import pytest

from services.reporting.domain import people
from services.reporting.domain.figures import Figures, RatedStaff, StaffFigures
from services.reporting.domain.read_models import FollowUp, YearRatings
from services.reporting.report import render
from shared.contracts.envelope import Event
from tests.unit.policy.regime import POLICY
from tests.unit.reporting.events import at, classified, planned, recorded, staff
from tests.unit.reporting.test_month_figures import figures_of, fold
from tests.unit.reporting.test_report_page import Page

JANUARY_5 = at("2027-01-05")


def staff_of(*events: Event, month: str = "2026-03") -> StaffFigures:
    told = figures_of(*events, month=month).staff
    assert told
    return told


def indicator(figures: Figures, name: str) -> tuple[float | None, int, bool | None]:
    found = next(one for one in figures.indicators if one.name == name)
    return (found.value, found.counted, found.met)


# --- A3, W6 -----------------------------------------------------------------------------------------------------


@pytest.mark.clause("A3")
def test_counsellors_are_qualified_by_the_certificates_that_the_policy_accepts() -> None:
    told = figures_of(
        staff("c1"),
        staff("c2", certificate="psychotherapist"),
        staff("c3", certificate="first-aid"),
        staff("o1", roles=("follow-up",), certificate="first-aid"),  # no counsellor
        staff("c4", certificate="first-aid", available=False),  # conducts nothing
    )
    assert indicator(told, "counsellors-qualified") == (2 / 3, 3, False)
    assert indicator(figures_of(staff("c1")), "counsellors-qualified") == (1, 1, True)
    assert indicator(figures_of(staff("o1", roles=("legal",))), "counsellors-qualified") == (None, 0, None)


@pytest.mark.clause("W9")
def test_counsellors_with_experience_of_the_scene_are_told_by_their_roles() -> None:
    plain, post, onboarding = (
        ("counsellor",),
        ("counsellor", "change-of-post-experience"),
        ("onboarding-experience",),
    )
    name = "counsellors-with-scene-experience"
    told = [staff(f"c{n}", roles=post) for n in range(4)]
    assert indicator(figures_of(*told, staff("c4", roles=plain)), name) == (0.8, 5, True)
    assert indicator(figures_of(*told[1:], staff("c0", roles=plain)), name) == (0.75, 4, False)
    assert indicator(figures_of(*told, staff("o1", roles=onboarding)), name) == (1, 4, True)  # no counsellor
    assert indicator(figures_of(staff("c1", roles=plain)), name) == (None, 0, None)  # nobody tells it


@pytest.mark.clause("A3")
@pytest.mark.parametrize(
    ("changed", "qualified"),
    [("2026-03-31 23:59", 1), ("2026-04-01 00:00", 0)],  # midnight in Shanghai, still March in UTC
)
def test_a_month_is_reported_by_what_held_at_its_end_in_any_order(changed: str, qualified: int) -> None:
    events = [staff("c1", certificate="none"), staff("c1", changed)]
    for order in itertools.permutations(events):
        assert staff_of(*order).qualified.reached == qualified
        assert staff_of(*order, month="2026-04").qualified.reached == 1


@pytest.mark.clause("W6")
def test_the_expert_group_is_counted_seat_by_seat() -> None:
    senior = {"roles": ("expert-group", "counsellor")}
    told = staff_of(
        staff("head", roles=("expert-group-head",)),
        *(staff(f"s{n}", **senior, experience_months=60) for n in range(4)),
        staff("young", **senior, experience_months=59),
        staff("outside", roles=("counsellor",), experience_months=200),
        staff("service", roles=("expert-group", "customer-service")),
        staff("marketing", roles=("expert-group", "marketing"), available=False),
        staff("legal", roles=("expert-group", "legal")),
    )
    assert [(one.name, one.needed, one.filled, one.met) for one in told.expert_group] == [
        ("expert-director", 1, 1, True),
        ("expert-senior-counsellors", 4, 4, True),
        ("expert-service", 2, 1, False),
        ("expert-marketing", 1, 0, False),
        ("expert-legal", 1, 1, True),
    ]


def test_where_nobody_is_known_nothing_is_said() -> None:
    assert figures_of().staff is None
    assert figures_of(staff("c1", "2026-04-01")).staff is None


# --- F76 --------------------------------------------------------------------------------------------------------


def rated(by: str, *scores: int, day: str = "2026-11-10", form: str = "phone") -> list[Event]:
    keys = [f"{by}-{day.replace(' ', '-')}-{n}" for n in range(len(scores))]
    plans = [planned(key, day) for key in keys]
    return plans + [
        recorded(key, day, by=by, satisfaction=score, form=form)
        for key, score in zip(keys, scores, strict=True)
    ]


def december(*events: Event, as_of: datetime = JANUARY_5) -> Figures:
    return figures_of(*events, month="2026-12", as_of=as_of)


@pytest.mark.clause("F76")
def test_the_best_fifth_is_listed_in_the_report_of_december() -> None:
    events = [one for n in range(10) for one in rated(f"staff-{n}", *[4] * (10 - n), *[5] * (n + 1))]
    told = december(*events).reward
    assert told
    assert (told.year, told.ranked, told.from_ratings) == ("2026", 10, 10)
    assert [(one.staff_id, one.ratings) for one in told.staff] == [("staff-9", 11), ("staff-8", 11)]
    assert indicator(december(*events), "rewarded-staff") == (0.2, 10, True)
    assert figures_of(*events, month="2026-11").reward is None
    assert indicator(figures_of(*events, month="2026-11"), "rewarded-staff") == (None, 0, None)


@pytest.mark.clause("F76")
def test_who_was_rated_rarely_or_by_nobody_they_called_is_not_ranked() -> None:
    told = december(
        *rated("often", *[3] * 10),
        *rated("rarely", *[5] * 9),
        *rated("on-paper", *[5] * 10, form="questionnaire"),
        *rated("last-year", *[5] * 10, day="2025-12-31 23:59"),
        *rated("next-year", *[5] * 10, day="2027-01-01 00:00"),
    ).reward
    assert told
    assert told.ranked == 1
    assert told.staff == ()  # a fifth of one is nobody


@pytest.mark.clause("F76")
def test_the_year_begins_and_ends_at_midnight_in_shanghai() -> None:
    edges = [*rated("staff-1", 5, day="2026-01-01 00:00"), *rated("staff-1", 3, day="2026-12-31 23:59")]
    months = [one for n in range(8) for one in rated("staff-1", 4, day=f"2026-0{n + 2}-10")]
    [only] = people.ranking("2026", fold([*edges, *months]).all(FollowUp), None, POLICY)
    assert (only.staff_id, only.mean, only.ratings) == ("staff-1", 4, 10)


@pytest.mark.clause("F76")
def test_equals_at_the_edge_are_listed_together() -> None:
    ranked = [RatedStaff(staff_id=f"staff-{n}", mean=5 if n < 3 else 4, ratings=10) for n in range(10)]
    told = people.reward("2026", ranked, POLICY)
    assert [one.staff_id for one in told.staff] == ["staff-0", "staff-1", "staff-2"]


def test_what_the_database_counted_is_not_counted_again() -> None:
    follow_ups = fold([*rated("staff-1", *[5] * 6, day="2026-06-10"), *rated("staff-1", *[4] * 5)]).all(
        FollowUp
    )
    changing = frozenset({"staff-1-2026-06-10-0"})
    known = YearRatings(id="2026", months=("2026-06",), without=changing, staff={"staff-1": (25, 5)})
    [only] = people.ranking("2026", follow_ups, known, POLICY)
    assert (only.ratings, only.mean) == (11, pytest.approx(50 / 11))


# --- A5, and the page -------------------------------------------------------------------------------------------


@pytest.mark.clause("A5")
def test_a_problem_type_is_covered_by_a_case_of_the_month() -> None:
    told = figures_of(
        classified("c1", service="stress", opened_at=at("2026-03-10")),
        classified("c2", service="stress", closed_at=at("2026-03-10")),
        classified("c3", service="workplace-relations", dropped_at=at("2026-03-10")),
        classified("c4", opened_at=at("2026-03-10")),  # its service is not known yet
    )
    assert indicator(told, "problem-types-covered") == (0.5, 4, False)
    assert indicator(figures_of(), "problem-types-covered") == (None, 0, None)


@pytest.mark.clause("A3", "W6", "F76")
def test_the_page_shows_staff_and_who_is_rewarded() -> None:
    events = [one for n in range(5) for one in rated(f"staff-{n}", *[n + 1] * 10)]
    html = render(december(*events, staff("c1")), None, POLICY)
    text = Page(html).text
    assert "咨询师持证 Counsellors qualified A3 1 1 ✓ 达标 met" in text
    assert "专家组法务 Expert group: legal W6 1 0 ✗ 未达标 not met" in text
    assert "2026 年满意度最高的随访人员" in text
    assert "<code>staff-4</code>" in html
    assert "<code>staff-3</code>" not in html
