"""A month's sample over HTTP: drawn when its date comes, read with a trace, checked, and the duty fulfilled once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from shared.contracts import sampling
from tests.builders import at, client_erased, consent_changed, event
from tests.conftest import Start
from tests.integration.survey.events import SCHEDULER, due, planned

if TYPE_CHECKING:
    from shared.contracts.envelope import Event
    from tests.system import System

SECRET = "the balcony is the best place of the flat"
GOOD = {"complete": True, "standard": True, "accurate": True}


@pytest.fixture
async def survey(stack: Start) -> AsyncIterator[System]:
    async with stack("survey", start="2026-03-20 10:00") as system:
        yield system


def date_comes(rule: str = "records-sampled", id: str = "date") -> Event:
    body = {"rule": rule, "clause": "F71", "month": "2026-03", "due_at": at("2026-04-10 10:00")}
    return event("calendar-due", body, time="2026-04-10 10:00", id=id, source=SCHEDULER)


async def recorded(system: System, key: str, **given: Any) -> Any:
    client_id = given.pop("client_id", f"client-{key}")
    about = {"follow_up_id": key, "client_id": client_id, "case_id": f"case-{key}"}
    await system.publish(planned(id=f"p-{key}", **about), due(id=f"d-{key}", **about))
    body = {
        "form": "phone", "conducted_at": "2026-03-20T09:30:00+08:00", "outcome": "completed", "minutes": 12,
        "notes": SECRET,
    }  # fmt: skip
    async with system.client("survey", "operations", subject="staff-1") as http:
        answer = await http.post(f"/v1/follow-ups/{key}/record", json=body | given)
    await system.settled()
    return answer


async def ask(system: System, method: str, path: str, role: Any = "psychology", **given: Any) -> Any:
    async with system.client("survey", role, subject="checker-1") as http:
        answer = await http.request(method, f"/v1/samples/2026-03{path}", **given)
    await system.settled()
    return answer


async def told(system: System) -> list[tuple[str, str]]:
    events = await system.events("milestone-reached")
    return [
        (one.data.milestone, one.data.subject)  # type: ignore[attr-defined]
        for one in events
        if one.data.milestone.startswith(("sampled-", "records-", "recordings-"))  # type: ignore[attr-defined]
    ]


@pytest.mark.clause("F71", "F73", "A22", "A27", "A28")
async def test_three_in_ten_are_drawn_once_and_the_last_check_fulfils_the_duty(survey: System) -> None:
    for number in range(4):
        assert (await recorded(survey, f"f{number}")).status_code == 200
    await survey.until(at("2026-04-02 10:00"))
    april = {"conducted_at": "2026-03-31T09:30:00+08:00"}  # written down in April: of April's records
    assert (await recorded(survey, "april", **april)).status_code == 200
    await survey.until(at("2026-04-10 10:00"))
    assert (await ask(survey, "GET", "/record")).status_code == 404
    await survey.publish(date_comes())
    await survey.publish(date_comes(id="date-again"))

    [sample] = (await ask(survey, "GET", "")).json()["samples"]
    assert (sample["kind"], sample["of"], sample["drawn"], sample["waits_for"]) == ("record", 4, 2, 2)
    items = [one["follow_up_id"] for one in (await ask(survey, "GET", "/record")).json()["items"]]
    lots = sorted((f"f{n}" for n in range(4)), key=lambda key: sampling.lot("2026-03", "record", key))
    assert items == lots[:2]
    ids = [sampling.item_id("2026-03", "record", key) for key in items]
    assert sorted(await told(survey)) == sorted(("sampled-record-drawn", one) for one in ids)

    first = await ask(survey, "PUT", f"/record/{items[0]}/check", json=GOOD)
    again = await ask(survey, "PUT", f"/record/{items[0]}/check", json=GOOD)
    other = await ask(survey, "PUT", f"/record/{items[0]}/check", json=GOOD | {"standard": False})
    early = await ask(survey, "POST", "/record/done")
    assert first.json() == again.json()
    assert first.json()["checked_by"] == "checker-1"
    assert (other.status_code, other.json()["reason"]) == (409, "already-checked")
    assert (early.status_code, early.json()["reason"]) == (409, "not-checked")
    assert ("records-checked", "2026-03") not in await told(survey)

    poor = {"complete": True, "standard": False, "warning_signs": True, "crisis_judged": False}
    assert (await ask(survey, "PUT", f"/record/{items[1]}/check", json=poor)).status_code == 200
    assert (await ask(survey, "POST", "/record/done")).status_code == 200
    said = await told(survey)
    assert said.count(("records-checked", "2026-03")) == 1
    assert [name for name, subject in said if subject == ids[1]] == [
        "sampled-record-drawn",
        "sampled-record-complete-yes",
        "sampled-record-standard-no",
        "sampled-record-warning-signs-yes",
        "sampled-record-crisis-judged-no",
    ]
    [sample] = (await ask(survey, "GET", "")).json()["samples"]
    assert sample["done_at"] == "2026-04-10T10:00:00+08:00"


@pytest.mark.clause("F71")
async def test_two_last_checks_at_one_moment_fulfil_the_duty_all_the_same(survey: System) -> None:
    for number in range(10):
        await recorded(survey, f"f{number}")
    await survey.until(at("2026-04-10 10:00"))
    await survey.publish(date_comes())
    items = [one["follow_up_id"] for one in (await ask(survey, "GET", "/record")).json()["items"]]

    async with survey.client("survey", "psychology") as http:
        calls = [http.put(f"/v1/samples/2026-03/record/{key}/check", json=GOOD) for key in items]
        answers = await asyncio.gather(*calls)
    await survey.settled()

    assert [one.status_code for one in answers] == [200] * 3
    assert (await told(survey)).count(("records-checked", "2026-03")) == 1


@pytest.mark.clause("F72")
async def test_a_recording_needs_consent_to_exist_and_to_be_drawn(survey: System) -> None:
    refused = await recorded(survey, "f1", recorded=True)
    assert (refused.status_code, refused.json()["reason"]) == (422, "no-recording-consent")
    # A crisis is taken all the same (F58), and is told what is wrong; its recording is never drawn.
    crisis = await recorded(survey, "f1", recorded=True, crisis=True)
    assert crisis.status_code == 200
    assert any("has to be destroyed" in remark for remark in crisis.json()["remarks"])
    for key in ("f2", "f3"):
        allowed = {"client_id": f"client-{key}", "changed_at": "2026-03-01 09:00", "id": f"yes-{key}"}
        await survey.publish(consent_changed(**allowed, purposes={"recording": True}))
        assert (await recorded(survey, key, recorded=True)).status_code == 200
    assert (await recorded(survey, "f4")).status_code == 200
    # Word of a withdrawal before the call comes late: what was recorded against it is not listened to.
    late = {"client_id": "client-f3", "changed_at": "2026-03-10 09:00", "id": "no-f3"}
    await survey.publish(consent_changed(**late, purposes={"recording": False}))
    await survey.until(at("2026-04-10 10:00"))
    await survey.publish(date_comes("recordings-sampled"))

    sample = (await ask(survey, "GET", "/recording")).json()
    assert (sample["of"], [one["follow_up_id"] for one in sample["items"]]) == (1, ["f2"])
    assert (await ask(survey, "PUT", "/recording/f2/check", json=GOOD)).status_code == 200
    assert ("recordings-checked", "2026-03") in await told(survey)


@pytest.mark.clause("F6", "F71")
async def test_only_what_was_drawn_is_read_by_that_department_alone_and_leaves_a_trace(
    survey: System,
) -> None:
    for number in range(4):
        await recorded(survey, f"f{number}")
    await survey.until(at("2026-04-10 10:00"))
    await survey.publish(date_comes())
    drawn = [one["follow_up_id"] for one in (await ask(survey, "GET", "/record")).json()["items"]]
    left = next(f"f{n}" for n in range(4) if f"f{n}" not in drawn)

    opened = await ask(survey, "GET", f"/record/{drawn[0]}")
    assert (opened.json()["record"]["notes"], opened.json()["record"]["minutes"]) == (SECRET, 12)
    assert (await ask(survey, "GET", f"/record/{left}")).status_code == 404
    assert (await ask(survey, "PUT", f"/record/{left}/check", json=GOOD)).status_code == 404
    for path in ("", "/record", f"/record/{drawn[0]}"):
        assert (await ask(survey, "GET", path, role="operations")).status_code == 403
    spoilt = await ask(survey, "PUT", f"/record/{drawn[0]}/check", json=GOOD | {"remark": SECRET})
    assert (spoilt.status_code, SECRET in spoilt.text) == (422, False)
    async with survey.client("survey", "compliance") as http:
        log = (await http.get("/v1/access-log")).json()["items"]
    assert [(one["who"], one["role"], one["what"], one["follow_up_id"]) for one in log] == [
        ("checker-1", "psychology", "sampled-record", drawn[0])
    ]


@pytest.mark.clause("F7", "F71")
async def test_what_is_erased_leaves_the_sample_and_holds_nothing_up(survey: System) -> None:
    await recorded(survey, "f1")
    await survey.until(at("2026-04-10 10:00"))
    await survey.publish(date_comes())
    await survey.publish(client_erased(client_id="client-f1", requested_at="2026-04-10 09:59"))

    found = (await ask(survey, "GET", "/record")).json()
    assert (found["items"], found["waits_for"]) == ([], 0)
    assert (await ask(survey, "GET", "/record/f1")).status_code == 404
    assert (await ask(survey, "POST", "/record/done")).status_code == 200
    assert ("records-checked", "2026-03") in await told(survey)


@pytest.mark.clause("F71")
async def test_a_month_without_records_is_said_to_be_checked_by_a_person(survey: System) -> None:
    await survey.until(at("2026-04-10 10:00"))
    await survey.publish(date_comes())

    assert await told(survey) == []
    done = await ask(survey, "POST", "/record/done")
    assert (done.json()["of"], done.json()["drawn"]) == (0, 0)
    assert await told(survey) == [("records-checked", "2026-03")]


@pytest.mark.clause("F22", "F25")
async def test_the_length_of_a_call_is_kept_and_pointed_out(survey: System) -> None:
    long = await recorded(survey, "f1", minutes=31)
    assert long.json()["minutes"] == 31
    assert "F22: the call was longer than 15 minutes" in long.json()["remarks"]
    none = await recorded(survey, "f2", form="questionnaire")
    assert (none.status_code, none.json()["reason"]) == (422, "no-call")
