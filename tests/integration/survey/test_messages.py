"""`reminder-due` is what makes a message go out: once, when it may, and never against the client's word."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.builders import at, client_erased, client_status_changed, consent_changed
from tests.conftest import Start
from tests.integration.survey.events import due, incident, planned, reminder
from tests.integration.survey.gateway import FakeGateway

if TYPE_CHECKING:
    from tests.system import System


async def stored(system: System, key: str = "reminder-questionnaire-invitation") -> dict[str, Any]:
    found = await system.db("survey").get_collection("messages").find_one({"_id": key})
    assert found is not None
    return found


@pytest.mark.clause("F20")
async def test_an_invitation_goes_out_once_with_its_link(survey: System, gateway: FakeGateway) -> None:
    await survey.publish(planned(), due(), reminder())
    await survey.publish(reminder())

    assert len(gateway.calls) == 1
    call = gateway.calls[0]
    assert call["message_id"] == "reminder-questionnaire-invitation"
    assert call["template"] == "questionnaire-invitation"
    assert call["params"]["link"].startswith("https://ask.example.com/survey/s/")
    assert "client-1" not in call["params"]["link"]
    assert call["params"]["minutes"] == "8"
    assert (await stored(survey))["state"] == "sent"


@pytest.mark.clause("F49")
async def test_a_notice_says_time_form_and_purpose(survey: System, gateway: FakeGateway) -> None:
    await survey.publish(planned(), reminder("follow-up-notice", "2026-03-15 10:00"))

    params = gateway.sent["reminder-follow-up-notice"]["params"]  # F49
    assert params["scheduled_for"] == "2026-03-17T10:00:00+08:00"
    assert params["form"] == "questionnaire"
    assert params["purpose"] == "closed"
    assert "link" not in params


async def test_trouble_at_the_gateway_is_waited_out_with_growing_pauses(
    survey: System, gateway: FakeGateway
) -> None:
    gateway.answers = [500, None, 503]
    await survey.publish(planned(), due(), reminder())
    assert (await stored(survey))["attempts"] == 1

    tries = [len(gateway.calls)]
    for seconds in (1, 2, 4):
        await survey.until(survey.clock.now() + timedelta(seconds=seconds, milliseconds=-1))
        assert len(gateway.calls) == tries[-1], "tried again too early"
        await survey.until(survey.clock.now() + timedelta(milliseconds=1))
        tries.append(len(gateway.calls))

    assert tries == [1, 2, 3, 4]
    assert {call["message_id"] for call in gateway.calls} == {"reminder-questionnaire-invitation"}
    assert (await stored(survey))["state"] == "sent"


async def test_a_refusal_is_never_tried_again(survey: System, gateway: FakeGateway) -> None:
    gateway.answers = [422]
    await survey.publish(planned(), due(), reminder())
    await survey.until(at("2026-03-18 10:00"))

    assert len(gateway.calls) == 1
    assert (await stored(survey))["state"] == "refused"


@pytest.mark.clause("F10")
@pytest.mark.parametrize(
    ("fact", "reason"),
    [
        (consent_changed(changed_at="2026-03-16 10:00"), "withdrawn"),
        (client_status_changed(status="incapable", at="2026-03-16 10:00"), "incapable"),
        (client_status_changed(status="deceased", at="2026-03-16 10:00"), "deceased"),
    ],
)
@pytest.mark.parametrize("fact_first", [True, False])
async def test_the_client_is_left_alone(
    survey: System, gateway: FakeGateway, fact: Any, reason: str, fact_first: bool
) -> None:
    gateway.answers = [500] * 10
    events = [planned(), due(), reminder()]
    for event in [fact, *events] if fact_first else [*events, fact]:
        await survey.publish(event)
    before = len(gateway.calls)
    await survey.until(at("2026-03-18 10:00"))

    message = await stored(survey)
    assert (message["state"], message["reason"]) == ("cancelled", reason)
    assert len(gateway.calls) == before == (0 if fact_first else 1)


async def test_withdrawal_does_not_stop_the_reminder_of_a_booked_session(
    survey: System, gateway: FakeGateway
) -> None:
    await survey.publish(consent_changed(changed_at="2026-03-16 10:00"))
    await survey.publish(reminder("session-reminder", subject="case-1:4", clause="W44"))

    assert [call["template"] for call in gateway.calls] == ["session-reminder"]


@pytest.mark.parametrize("opened_first", [True, False])
async def test_messages_wait_while_an_incident_is_open(
    survey: System, gateway: FakeGateway, opened_first: bool
) -> None:
    gateway.answers = [] if opened_first else [500]
    events = [planned(), due(), reminder(), incident("opened")]
    for event in reversed(events) if opened_first else events:
        await survey.publish(event)
    before = len(gateway.calls)
    await survey.until(at("2026-03-18 10:00"))
    assert len(gateway.calls) == before

    await survey.publish(incident("acknowledged", "2026-03-16 11:00"))
    assert len(gateway.calls) == before

    await survey.publish(incident("resolved", "2026-03-18 09:00"))
    assert len(gateway.calls) == before + 1
    assert (await stored(survey))["state"] == "sent"


async def test_a_message_waits_a_moment_for_the_follow_up_it_is_about(
    survey: System, gateway: FakeGateway
) -> None:
    await survey.publish(reminder("follow-up-notice"))
    assert not gateway.calls

    await survey.publish(planned())
    await survey.until(survey.clock.now() + timedelta(seconds=5))
    assert gateway.calls[0]["params"]["form"] == "questionnaire"


async def test_nothing_is_sent_about_a_follow_up_that_was_cancelled(
    survey: System, gateway: FakeGateway
) -> None:
    gateway.answers = [500]
    await survey.publish(planned(), due(), reminder())
    await survey.publish(planned("2026-03-17 09:00", change="cancelled", reason="consent-changed"))
    await survey.until(at("2026-03-18 10:00"))

    assert len(gateway.calls) == 1
    assert (await stored(survey))["reason"] == "follow-up-cancelled"


async def test_what_the_scheduler_says_twice_in_one_instant_is_taken_in_its_order(survey: System) -> None:
    now = "2026-03-17 09:00"
    for number in range(6):  # the ids sort both ways
        key, ids = f"follow-up-{number}", (f"{number % 2}-{number}", f"{1 - number % 2}-{number}")
        await survey.publish(
            planned(now, id=ids[0], follow_up_id=key),
            planned(now, id=ids[1], follow_up_id=key, change="cancelled", reason="consent-changed"),
        )
    found = survey.db("survey").get_collection("follow_ups").find()
    assert {follow_up["state"] async for follow_up in found} == {"cancelled"}


async def test_a_late_session_reminder_is_dropped(survey: System, gateway: FakeGateway) -> None:
    await survey.publish(reminder("session-reminder", "2026-03-17 08:00", subject="case-1:4"))
    await survey.until(survey.clock.now() + timedelta(minutes=1))

    assert not gateway.calls
    assert (await stored(survey, "reminder-session-reminder"))["reason"] == "too-late"


async def test_what_was_pending_at_a_crash_goes_out_after_the_restart(
    stack: Start, gateway: FakeGateway
) -> None:
    async with stack("survey", start="2026-03-17 10:00") as without_gateway:
        await without_gateway.publish(planned(), due(), reminder())
        assert (await stored(without_gateway))["state"] == "pending"
        async with without_gateway.client("survey") as http:
            assert (await http.get("/healthz")).status_code == 200

    own = {"gateway_url": gateway.url, "gateway_token": "gateway-secret"}
    async with stack("survey", start="2026-03-17 11:00", survey=own) as system:
        await system.until(system.clock.now() + timedelta(seconds=5))
        await system.settled()
        assert (await stored(system))["state"] == "sent"
    assert gateway.headers[0]["authorization"] == "bearer gateway-secret"


async def test_staff_reminders_become_notices_of_the_worklist(survey: System, gateway: FakeGateway) -> None:
    await survey.publish(planned(), due())
    await survey.publish(reminder("preparation", to="role:operations", reminder_id="reminder-1"))
    await survey.publish(reminder("preparation", to="staff:staff-7", reminder_id="reminder-2"))
    await survey.publish(reminder("preparation", to="staff:staff-8", reminder_id="reminder-3"))

    async with survey.client("survey", "operations", subject="staff-7") as http:
        worklist = (await http.get("/v1/worklist")).json()
    assert sorted(notice["notice_id"] for notice in worklist["notices"]) == ["reminder-1", "reminder-2"]
    assert not gateway.calls


async def test_erasure_leaves_nothing_to_send_or_to_read(survey: System, gateway: FakeGateway) -> None:
    gateway.answers = [500] * 5
    await survey.publish(planned(), due(), reminder())
    await survey.publish(client_erased(requested_at="2026-03-17 09:59"))
    await survey.publish(planned("2026-03-17 09:59:30", change="moved"))
    await survey.until(at("2026-03-18 10:00"))

    assert len(gateway.calls) == 1
    db = survey.db("survey")
    for name in ("follow_ups", "messages", "notices", "responses", "sheets", "clients"):
        assert await db.get_collection(name).count_documents({}) == 0, name
