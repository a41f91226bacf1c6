"""AsyncAPI 3.0 and JSON Schema, generated from the declaration of the topics."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from shared.contracts.compatibility import resolved
from shared.contracts.topics import TOPICS

HERE = Path(__file__).parent


@cache
def json_schema(topic: str, version: int) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a body, as it stands on the wire."""
    schema = TOPICS[topic].versions[version].model_json_schema(by_alias=True, mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:aftercare:{topic}:v{version}",
        **schema,
    }


def example(topic: str, version: int) -> Any:
    """The example payload of a version."""
    return json.loads((HERE / "examples" / f"{topic}.v{version}.json").read_text("utf-8"))


_HEADERS = {
    "type": "object",
    "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"],
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "description": "With ce_source, unique for each event."},
        "ce_source": {"type": "string"},
        "ce_type": {"type": "string"},
        "ce_time": {"type": "string", "format": "date-time", "description": "When it happened."},
        "ce_subject": {"type": "string", "description": "Equal to the record's key."},
        "traceparent": {"type": "string", "description": "W3C trace context."},
    },
}


def _channel(name: str) -> dict[str, Any]:
    topic = TOPICS[name]
    return {
        "address": name,
        "description": f"{topic.says} Published by {', '.join(topic.publishers)}; key: `{topic.subject}`.",
        "messages": {
            f"v{version}": {
                "name": topic.event_type(version),
                "contentType": "application/json",
                "headers": _HEADERS,
                "payload": {"schemaFormat": "application/schema+json;version=draft-2020-12"}
                # Without references: in here they would be read from the root of the whole document.
                | {"schema": resolved(json_schema(name, version))},
                "examples": [{"payload": example(name, version)}],
            }
            for version in topic.versions
        },
        "bindings": {"kafka": {"partitions": topic.partitions}},
    }


@cache
def asyncapi_document() -> dict[str, Any]:
    """The whole bus as one AsyncAPI 3.0 document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Aftercare events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 in Kafka's binary mode. No name, number or free text is on the bus.",
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name) for name in TOPICS},
        "operations": {
            f"{verb}-{name}": {
                "action": verb,
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": f"by {', '.join(topic.publishers if verb == 'send' else topic.consumers)}",
            }
            for name, topic in TOPICS.items()
            for verb in ("send", "receive")
        },
    }
