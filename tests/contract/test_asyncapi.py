"""The AsyncAPI document: whole, without a reference that leads nowhere, and of the shape that AsyncAPI 3.0 asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema

from shared.contracts.asyncapi import asyncapi_document, json_schema
from shared.contracts.envelope import Event
from shared.contracts.topics import TOPICS

DOCUMENT = asyncapi_document()


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for inner in part.values():
            yield from references(inner)
    if isinstance(part, list):
        for inner in part:
            yield from references(inner)


def follow(reference: str) -> Any:
    """What a reference leads to, from the root of the document. Raises KeyError."""
    assert reference.startswith("#/")
    place: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        place = place[step.replace("~1", "/").replace("~0", "~")]
    return place


def test_it_is_json_and_says_its_version() -> None:
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"]["title"]
    assert DOCUMENT["info"]["version"]


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert found == {f"#/channels/{topic}" for topic in TOPICS}
    for reference in found:
        assert follow(reference)["address"] == reference.rsplit("/", 1)[1]


def test_a_channel_for_every_topic_and_a_message_for_every_version() -> None:
    assert set(DOCUMENT["channels"]) == set(TOPICS)
    for topic in TOPICS.values():
        channel = DOCUMENT["channels"][topic.name]
        assert channel["address"] == topic.name
        assert channel["bindings"]["kafka"]["partitions"] == topic.partitions
        assert [message["name"] for message in channel["messages"].values()] == [
            topic.event_type(version) for version in topic.versions
        ]


def test_every_channel_is_sent_to_and_received_from() -> None:
    operations = DOCUMENT["operations"].values()
    assert {one["action"] for one in operations} == {"send", "receive"}
    told = {(one["action"], one["channel"]["$ref"]) for one in operations}
    assert told == {(verb, f"#/channels/{topic}") for verb in ("send", "receive") for topic in TOPICS}
    for topic in TOPICS.values():
        assert all(
            name in DOCUMENT["operations"][f"send-{topic.name}"]["summary"] for name in topic.publishers
        )
        assert all(
            name in DOCUMENT["operations"][f"receive-{topic.name}"]["summary"] for name in topic.consumers
        )


@pytest.mark.parametrize("topic", TOPICS)
def test_a_message_describes_its_body_by_a_schema_that_its_example_fits(topic: str) -> None:
    for message in DOCUMENT["channels"][topic]["messages"].values():
        payload = message["payload"]
        assert payload["schemaFormat"] == "application/schema+json;version=draft-2020-12"
        validator = jsonschema.Draft202012Validator(payload["schema"])
        validator.check_schema(payload["schema"])
        for one in message["examples"]:
            assert validator.is_valid(one["payload"])
            assert not validator.is_valid(one["payload"] | {"surname": "x"})


@pytest.mark.parametrize("topic", TOPICS)
def test_the_headers_that_it_describes_are_those_that_an_event_has(topic: str, told: Event) -> None:
    headers = {name: value.decode() for name, value in told.headers()}
    for message in DOCUMENT["channels"][topic]["messages"].values():
        jsonschema.validate(headers, message["headers"])
        described = message["headers"]["properties"].keys() | {"content-type"}
        assert headers.keys() <= described


@pytest.fixture
def told() -> Event:
    from tests.builders import at, event

    return event(
        "client-erased",
        {"client_id": "cl-1", "requested_at": at("2026-03-02"), "by": "cl-1"},
        traceparent=f"00-{'1' * 32}-{'2' * 16}-01",
    )


def test_fast_streams_own_model_of_asyncapi_takes_it() -> None:
    """No package here ships the official meta-schema; this is the nearest there is."""
    read = ApplicationSchema.model_validate({"components": {}, "servers": {}, **DOCUMENT})
    assert set(read.channels) == set(TOPICS)
    assert len(read.operations) == 2 * len(TOPICS)


def test_it_says_what_the_schemas_say() -> None:
    assert "$defs" in json_schema("case-classified", 1)
    assert "$defs" not in json.dumps(DOCUMENT)
