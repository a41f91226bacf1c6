"""Who publishes and who reads what: as designed, as declared, and as the services are wired."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path

import pytest

from shared.clock import VirtualClock
from shared.contracts.topics import (
    COMPANY,
    COMPANY_TOPICS,
    SERVICES,
    TOPICS,
    consumed_by,
    dead_letter_topic,
)
from shared.messaging.progress import Progress
from tests.builders import at

ROOT = Path(__file__).parents[2]

PUBLISHERS = {
    "case-opened": {COMPANY},
    "booking-requested": {COMPANY},
    "session-scheduled": {COMPANY},
    "session-completed": {COMPANY},
    "case-closed": {COMPANY},
    "client-dropped": {COMPANY},
    # Who is refused for an acute crisis is in one, and intake sees it at the opening (W26).
    "crisis-flagged": {COMPANY, "survey", "intake"},
    "attention-changed": {COMPANY, "intake"},
    "consent-changed": {COMPANY, "survey"},
    "client-status-changed": {COMPANY},
    "client-erased": {COMPANY},
    # A plan's approval is a milestone as well, and the scheduler's own page takes it (F45).
    # So is a form that intake keeps, once it is filled in (W34).
    "milestone-reached": {COMPANY, "survey", "scheduler", "intake"},
    "staff-updated": {COMPANY},
    "case-classified": {"intake"},
    "follow-up-planned": {"scheduler"},
    "follow-up-due": {"scheduler"},
    "reminder-due": {"scheduler"},
    "duty-changed": {"scheduler"},
    "calendar-due": {"scheduler"},
    "follow-up-recorded": {"survey"},
    "escalation-required": {"scheduler", "crisis"},
    "incident-changed": {"crisis"},
    "report-published": {"reporting"},
}
"""By design, written down by hand."""

MUST_READ = {
    "intake": {
        "case-opened", "session-completed", "case-closed", "client-dropped", "attention-changed",
        "consent-changed", "client-status-changed", "client-erased", "follow-up-recorded", "calendar-due",
        "milestone-reached",
    },
    "scheduler": {
        "case-classified", "client-dropped", "follow-up-recorded", "milestone-reached", "incident-changed",
        "client-erased",
    },
    "survey": {
        "follow-up-due", "follow-up-planned", "reminder-due", "staff-updated", "consent-changed", "client-erased",
    },
    "crisis": {"crisis-flagged", "escalation-required", "client-erased"},
    "reporting": set(TOPICS),
}  # fmt: skip


def test_every_topic_is_published_by_whom_the_design_names() -> None:
    assert {name: set(topic.publishers) for name, topic in TOPICS.items()} == PUBLISHERS


def test_publishers_and_consumers_are_known_and_named_once() -> None:
    for topic in TOPICS.values():
        assert set(topic.publishers) <= {COMPANY, *SERVICES}
        assert set(topic.consumers) <= set(SERVICES)
        assert topic.publishers
        assert topic.consumers
        assert len(set(topic.publishers)) == len(topic.publishers)
        assert len(set(topic.consumers)) == len(topic.consumers)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reads_what_the_design_gives_it(service: str) -> None:
    assert set(consumed_by(service)) >= MUST_READ[service]


def test_company_topics_are_those_that_outside_systems_publish() -> None:
    assert {name for name, who in PUBLISHERS.items() if COMPANY in who} == COMPANY_TOPICS


def test_the_subject_of_a_topic_is_a_required_field_of_every_version() -> None:
    for topic in TOPICS.values():
        for model in topic.versions.values():
            assert model.model_fields[topic.subject].is_required()


def test_what_concerns_a_client_is_keyed_by_the_client_and_what_concerns_a_case_by_the_case() -> None:
    clients = {
        "consent-changed", "client-status-changed", "client-erased", "crisis-flagged", "incident-changed",
    }  # fmt: skip
    cases = {
        "case-opened", "session-scheduled", "session-completed", "case-closed", "client-dropped",
        "attention-changed", "case-classified",
    }  # fmt: skip
    assert {name for name, topic in TOPICS.items() if topic.subject == "client_id"} == clients
    assert {name for name, topic in TOPICS.items() if topic.subject == "case_id"} == cases


def test_an_event_type_names_the_newest_version_unless_one_is_given() -> None:
    topic = TOPICS["case-closed"]
    assert topic.event_type() == "aftercare.case-closed.v1"
    assert topic.event_type(1) == "aftercare.case-closed.v1"
    assert topic.model is topic.versions[1]


def test_dead_letter_topics_are_no_topics_of_events() -> None:
    letters = {dead_letter_topic(service) for service in SERVICES}
    assert len(letters) == len(SERVICES)
    assert not letters & set(TOPICS)


class Readings(Progress):
    """Hears which topics a service reads when it is built; nothing is connected."""

    def __init__(self) -> None:
        super().__init__()
        self.topics: set[str] = set()

    def reads(self, group: str, topics: Iterable[str]) -> None:
        self.topics.update(topics)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_wired_to_the_topics_that_it_is_declared_to_read(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERCARE_TOKEN_SECRET", "a-secret-for-tests-of-32-characters")
    monkeypatch.setenv("AFTERCARE_MASTER_KEY", "A" * 128)
    settings = import_module(f"services.{service}.settings")
    progress = Readings()
    made = getattr(settings, f"{service.capitalize()}Settings")()
    import_module(f"services.{service}.main").build(made, VirtualClock(at("2026-03-02")), progress)
    assert progress.topics == {made.topic(name) for name in consumed_by(service)}


def derived(service: str) -> Iterator[str]:
    """The topics that a service's code names where it makes an event."""
    for path in (ROOT / "services" / service).rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            named = [one.value for one in call.keywords if one.arg == "topic"]
            if isinstance(call.func, ast.Attribute) and call.func.attr == "_publish":
                named += call.args[:1]
            yield from (
                one.value
                for one in named
                if isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value in TOPICS
            )


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_makes_only_events_that_it_is_declared_to_publish(service: str) -> None:
    made = set(derived(service))
    assert made, "no event is made here: has the way of making them changed?"
    assert made <= {name for name, topic in TOPICS.items() if service in topic.publishers}
