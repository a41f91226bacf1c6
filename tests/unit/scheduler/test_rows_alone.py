"""A duty that nobody has written code for: a row in a policy file, and it opens, warns, escalates, is fulfilled."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.scheduler.domain.planning import Regime
from shared.policy.model import REGIME as SHIPPED
from shared.policy.reading import PolicyError
from shared.policy.versions import load
from tests.builders import at, case_closed, case_opened, milestone_reached, staff_updated
from tests.reference.fold import REGIME
from tests.unit.scheduler.desk import Desk, classified

ROWS = """duties:
  - name: welcome-3d
    clause: A26
    role: customer-service
    opened_by: {event: case-opened, when: {equals: {service: stress}}}
    fulfilled_by: {event: milestone-reached, milestone: client-welcomed}
    cancelled_by:
      - {event: case-closed}
      - {event: client-dropped}
    subject: case_id
    limit: {days: 3}
    warn_before: 24 h
    escalate_to: department-manager
    urgency: page
  - name: scene-visited
    clause: W9
    role: counsellor
    service: workplace-relations
    opened_by: {event: case-opened}
    fulfilled_by: {event: milestone-reached, milestone: scene-visited}
    repeats: true
    subject: case_id
    limit: {working_days: 2}
    escalate_to: psychology
  - name: badge-issued
    clause: F33
    role: administration
    opened_by: {event: staff-updated, when: {equals: {available: true}}}
    fulfilled_by: {event: milestone-reached, milestone: badge-issued}
    subject: staff_id
    limit: {hours: 48}
    escalate_to: human-resources
"""


@pytest.fixture
def regime(tmp_path: Path) -> Regime:
    text = SHIPPED.read_text(encoding="utf-8")
    file = tmp_path / "regime.yaml"
    named = ("badge-issued", "client-welcomed", "scene-visited")
    text = text.replace("\nmilestones:\n", "\nmilestones:\n" + "".join(f"  - {name}\n" for name in named), 1)
    file.write_text(text.replace("\nduties:\n", f"\n{ROWS}", 1), encoding="utf-8")
    return Regime(load(file), REGIME.calendar)


def test_it_opens_warns_escalates_and_is_fulfilled(regime: Regime) -> None:
    desk = Desk("2026-03-02 10:00", regime).hears(case_opened(opened_at="2026-03-02 10:00"))
    assert desk.duty("welcome-3d").due_at == at("2026-03-05 23:59:59")

    desk.until("2026-03-04 23:59:59")
    limit = at("2026-03-05 23:59:59")
    assert desk.escalations("welcome-3d") == [("due-soon", "customer-service", limit)]
    desk.until("2026-03-06 09:00")
    assert desk.escalations("welcome-3d")[1:] == [("late", "department-manager", limit)]
    assert [data.urgency for data in desk.told("escalation-required") if data.rule == "welcome-3d"] == [
        "notify",
        "page",
    ]
    desk.hears(
        milestone_reached(milestone="client-welcomed", subject="case-1", reached_at="2026-03-06 11:00")
    )
    assert [change for change, _ in desk.duties("welcome-3d")] == ["opened", "late", "fulfilled"]


def test_any_of_several_endings_cancels_it(regime: Regime) -> None:
    desk = Desk("2026-03-02 10:00", regime).hears(case_opened(opened_at="2026-03-02 10:00"))
    desk.hears(case_closed(closed_at="2026-03-03 10:00")).until("2026-03-20")

    assert [change for change, _ in desk.duties("welcome-3d")] == ["opened", "cancelled"]


def test_it_repeats_for_the_cases_of_its_service(regime: Regime) -> None:
    desk = Desk("2026-03-02 10:00", regime)
    desk.hears(case_opened(opened_at="2026-03-02 10:00", service="workplace-relations"))
    assert desk.duties("scene-visited") == []  # nobody said yet that the case stands so

    body = classified(status="open", closed_at=None, service="workplace-relations") | {"class": "new"}
    desk.hears_of("case-classified", "2026-03-02 10:00", **body)
    desk.hears(milestone_reached(milestone="scene-visited", subject="case-1", reached_at="2026-03-03 10:00"))

    assert desk.duties("scene-visited") == [
        ("opened", at("2026-03-02 10:00")),
        ("fulfilled", at("2026-03-03 10:00")),
        ("opened", at("2026-03-03 10:00")),
    ]


def test_it_need_not_be_about_a_client(regime: Regime) -> None:
    desk = Desk("2026-03-01 09:00", regime).hears(staff_updated())

    assert desk.duty("badge-issued").due_at == at("2026-03-03 09:00")


def test_what_nobody_can_mean_is_refused(tmp_path: Path) -> None:
    text = SHIPPED.read_text(encoding="utf-8")
    file = tmp_path / "regime.yaml"
    row = ROWS.replace("      - {event: client-dropped}", "      - {event: client-dropped, undoes: x}")
    file.write_text(text.replace("\nduties:\n", f"\n{row}", 1), encoding="utf-8")

    with pytest.raises(PolicyError, match=r"duties\.0\.cancelled_by\.1\.undoes"):
        load(file)
