"""A sign of danger reaches somebody, whatever is broken, and the person on the phone is helped at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from aiokafka.errors import KafkaConnectionError
from pymongo.errors import AutoReconnect

from services.survey import main
from services.survey.domain.links import Links
from shared.contracts.envelope import parse_structured
from shared.mongo.encryption import master_key
from shared.web.crisis import crisis_client
from tests.integration.survey.events import due, planned

if TYPE_CHECKING:
    from tests.conftest import Start
    from tests.system import System


class CrisisService:
    """Takes structured CloudEvents at `/v1/crises`, as the real one does, and checks them as it does."""

    def __init__(self) -> None:
        self.flags: list[Any] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/crises"
        assert request.headers["authorization"].startswith("Bearer ")
        self.flags.append(request)
        return httpx.Response(202, json={})


@pytest.fixture
def crisis(monkeypatch: pytest.MonkeyPatch) -> CrisisService:
    service = CrisisService()

    def with_transport(*given: Any) -> httpx.AsyncClient:
        client = crisis_client(*given)
        assert client is not None
        return httpx.AsyncClient(
            transport=httpx.MockTransport(service), base_url=client.base_url, headers=client.headers
        )

    monkeypatch.setattr(main, "crisis_client", with_transport)
    return service


@asynccontextmanager
async def in_danger(stack: Start) -> AsyncIterator[tuple[System, str]]:
    """The survey with an open questionnaire; yields the system and the path of the risk item."""
    own = {"crisis_url": "http://crisis.test", "crisis_patience_seconds": 0.05}
    async with stack("survey", start="2026-03-17 10:00", survey=own) as system:
        await system.publish(planned(), due())
        key = system.settings.master_key
        assert key
        links = Links(master_key(key.get_secret_value()), "")
        yield system, f"/s/{links.token(links.invitation('follow-up-1'))}/q/risk"


def flagged(crisis: CrisisService, system: System) -> list[Any]:
    import json

    return [parse_structured(json.loads(one.content), system.clock.now()).data for one in crisis.flags]


async def test_the_bus_is_away(stack: Start, crisis: CrisisService, monkeypatch: pytest.MonkeyPatch) -> None:
    async with in_danger(stack) as (system, path), system.client("survey") as http:
        with monkeypatch.context() as broken:

            async def away(*_: Any) -> None:
                raise KafkaConnectionError

            broken.setattr(system.runtime("survey").publisher, "publish", away)
            answer = await http.post(path, data={"answer": "often"})
        assert "tel:120" in answer.text
        [told] = flagged(crisis, system)
        await system.settled()
        [published] = await system.events("crisis-flagged")
        assert told == published.data  # the same flag by both ways: crisis recognises it
        assert len(await system.events("follow-up-recorded")) == 1


async def test_the_database_is_away(
    stack: Start, crisis: CrisisService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with in_danger(stack) as (system, path), system.client("survey") as http:

        async def away(*_: Any) -> None:
            raise AutoReconnect("away")

        monkeypatch.setattr(system.runtime("survey").journal, "_commit", away)
        calm = await http.post(path.replace("risk", "state"), data={"answer": "3"})
        assert calm.status_code == 503
        assert "请稍后再试" in calm.text
        answer = await http.post(path, data={"answer": "daily"})
        assert answer.status_code == 200
        assert "tel:120" in answer.text
        [told] = flagged(crisis, system)
        assert (told.client_id, told.follow_up_id, told.source) == (
            "client-1",
            "follow-up-1",
            "questionnaire",
        )

        body = {"form": "phone", "conducted_at": "2026-03-17T09:00:00+08:00", "outcome": "completed"}
        async with system.client("survey", "operations") as staff:
            harmless = await staff.post("/v1/follow-ups/follow-up-1/record", json=body)
        assert (harmless.status_code, harmless.json()["reason"]) == (503, "not-stored")
        assert len(crisis.flags) == 1


async def test_when_all_is_well_the_bus_alone_is_told(stack: Start, crisis: CrisisService) -> None:
    async with in_danger(stack) as (system, path), system.client("survey") as http:
        await http.post(path, data={"answer": "daily"})
        await system.settled()
        assert len(await system.events("crisis-flagged")) == 1
        assert crisis.flags == []
