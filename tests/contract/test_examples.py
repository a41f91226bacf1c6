"""The example payloads: valid by model and by JSON Schema, one story of one case, and refused once they are bent."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from shared.contracts import asyncapi
from shared.contracts.envelope import explain
from shared.contracts.topics import TOPICS
from shared.contracts.types import EventData

VERSIONS = [(topic.name, version) for topic in TOPICS.values() for version in topic.versions]
EXAMPLES = Path(asyncapi.__file__).parent / "examples"
NAME = "张三 13800138000"
"""What must never be on the bus."""

each_version = pytest.mark.parametrize(("topic", "version"), VERSIONS)


def example(topic: str, version: int = 1) -> dict[str, Any]:
    """A fresh copy of an example."""
    return dict(copy.deepcopy(asyncapi.example(topic, version)))


def read(topic: str, version: int, body: Any) -> EventData:
    return TOPICS[topic].versions[version].from_json(json.dumps(body).encode())


def by_schema(topic: str, version: int, body: Any) -> bool:
    """Whether the published JSON Schema lets the body through."""
    schema = asyncapi.json_schema(topic, version)
    return jsonschema.Draft202012Validator(schema).is_valid(body)


def leaves(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every plain value of a body with its path."""
    if isinstance(part, dict | list):
        for key, inner in part.items() if isinstance(part, dict) else enumerate(part):
            yield from leaves(inner, (*path, key))
    else:
        yield path, part


def objects(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every object of a body."""
    if isinstance(part, dict):
        yield path
    if isinstance(part, dict | list):
        for key, inner in part.items() if isinstance(part, dict) else enumerate(part):
            yield from objects(inner, (*path, key))


def put(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The body with another value at a path."""
    changed = copy.deepcopy(body)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def is_time(value: Any) -> bool:
    return isinstance(value, str) and len(value) > 18 and value[10] == "T"


def refused(topic: str, version: int, body: Any) -> str:
    """The field at which a body is refused; what is said about it carries nothing that was sent."""
    with pytest.raises(ValidationError) as caught:
        read(topic, version, body)
    reason, field, message = explain(caught.value)
    assert reason in ("invalid-field", "malformed")
    assert "张三" not in f"{field} {message}"
    assert "13800138000" not in f"{field} {message}"
    return field


def test_there_is_an_example_of_every_version_and_of_nothing_else() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == {f"{name}.v{n}.json" for name, n in VERSIONS}


@each_version
def test_an_example_is_valid_by_model_and_by_schema(topic: str, version: int) -> None:
    read(topic, version, example(topic, version))
    schema = asyncapi.json_schema(topic, version)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(example(topic, version), schema, jsonschema.Draft202012Validator)


@each_version
def test_an_example_survives_the_way_to_the_wire_and_back(topic: str, version: int) -> None:
    body = read(topic, version, example(topic, version))
    assert json.loads(body.to_json()) == example(topic, version)
    assert type(body).from_json(body.to_json()) == body


@each_version
def test_only_the_optional_fields_may_be_left_out_and_none_is_written_for_them(
    topic: str, version: int
) -> None:
    whole = example(topic, version)
    required = set(asyncapi.json_schema(topic, version)["required"])
    for name in whole:
        less = {key: value for key, value in whole.items() if key != name}
        assert by_schema(topic, version, less) == (name not in required)
        if name in required:
            assert refused(topic, version, less) == f"data.{name}"
        else:
            assert json.loads(read(topic, version, less).to_json()) == less


@pytest.mark.clause("F9", "W45")
@each_version
def test_an_unknown_field_is_refused_at_any_depth_and_its_name_is_not_repeated(
    topic: str, version: int
) -> None:
    whole = example(topic, version)
    for path in objects(whole):
        more = put(whole, (*path, NAME), "x")
        assert refused(topic, version, more).endswith("(unknown field)")
        assert not by_schema(topic, version, more)


@pytest.mark.clause("F9", "A4", "W4", "W45")
@each_version
def test_free_text_fits_nowhere(topic: str, version: int) -> None:
    whole = example(topic, version)
    for path, _ in leaves(whole):
        for text in (NAME, "Zhang San", "a b", "", "a\n", "x" * 65):
            bent = put(whole, path, text)
            assert refused(topic, version, bent).startswith("data.")
            # `$` of Python's re, which jsonschema uses, lets a newline pass; that of JSON Schema's dialect does not.
            assert text == "a\n" or not by_schema(topic, version, bent)


@each_version
@pytest.mark.parametrize(
    "written",
    [
        1772416800,
        1772416800.5,
        True,
        "1772416800",
        "2026-03-02",
        "2026-03-02T10:00:00",
        "2026-03-02 10:00:00+08:00",
        "2026-03-02T10:00+08:00",
        "2026-03-02T10:00:00+0800",
        "20260302T100000+08:00",
        "2026-W10-1T10:00:00+08:00",
    ],
)
def test_a_time_is_rfc_3339_with_an_offset_or_refused(topic: str, version: int, written: Any) -> None:
    whole = example(topic, version)
    times = [path for path, value in leaves(whole) if is_time(value)]
    assert times
    for path in times:
        bent = put(whole, path, written)
        refused(topic, version, bent)
        assert not by_schema(topic, version, bent)


@each_version
def test_no_type_is_guessed(topic: str, version: int) -> None:
    whole = example(topic, version)
    for path, value in leaves(whole):
        if value is None:
            continue
        other = str(value) if not isinstance(value, str) else 1
        bent = put(whole, path, other)
        refused(topic, version, bent)
        assert not by_schema(topic, version, bent)


@pytest.mark.parametrize("topic", ["case-classified", "follow-up-planned", "follow-up-due"])
def test_the_python_name_of_a_field_is_not_its_name_on_the_wire(topic: str) -> None:
    body = example(topic)
    body["case_class"] = body.pop("class")
    refused(topic, 1, body)
    assert not by_schema(topic, 1, body)


@pytest.mark.parametrize(
    ("outer", "topic"), [("purposes", "consent-changed"), ("consents", "case-classified")]
)
def test_purposes_go_by_their_published_names(outer: str, topic: str) -> None:
    body = example(topic)
    body[outer]["follow_up"] = body[outer].pop("follow-up")
    assert refused(topic, 1, body) == f"data.{outer}.(unknown field)"


@pytest.mark.parametrize(
    ("topic", "field", "value"),
    [("follow-up-recorded", "bands", "mild"), ("report-published", "figures", 1.0)],
)
def test_the_keys_of_a_mapping_are_codes_and_a_bad_one_is_not_repeated(
    topic: str, field: str, value: Any
) -> None:
    for key in (NAME, "Upper", "", "a" * 65):
        body = put(example(topic), (field, key), value)
        assert refused(topic, 1, body) == f"data.{field}.(unknown field)"
        assert not by_schema(topic, 1, body)
    assert refused(topic, 1, put(example(topic), (field, "fine"), NAME)) == f"data.{field}.(unknown field)"


def test_a_figure_that_is_no_number_is_refused() -> None:
    body = json.dumps(put(example("report-published"), ("figures", "satisfaction"), float("nan")))
    with pytest.raises(ValidationError):
        TOPICS["report-published"].model.from_json(body.encode())


def test_a_session_ends_after_its_start() -> None:
    body = example("session-completed")
    body["ended_at"] = body["started_at"]
    assert refused("session-completed", 1, body) == "data"


@pytest.mark.parametrize("recipient", ["client", "staff:st-0007", "role:head-of-psychology"])
def test_a_message_may_go_to(recipient: str) -> None:
    read("reminder-due", 1, put(example("reminder-due"), ("to",), recipient))


@pytest.mark.parametrize("recipient", ["everyone", "staff:", "role:Head", "client ", f"staff:{NAME}"])
def test_a_message_may_not_go_to(recipient: str) -> None:
    assert refused("reminder-due", 1, put(example("reminder-due"), ("to",), recipient)) == "data.to"


@each_version
def test_a_body_that_is_no_object_is_refused(topic: str, version: int) -> None:
    for body in ([NAME], NAME, 1, None):
        assert refused(topic, version, body) == "data"


# --- one story ------------------------------------------------------------------------------------------------


def told(pick: Callable[[str, Any], bool]) -> set[Any]:
    return {
        value
        for topic, version in VERSIONS
        for path, value in leaves(example(topic, version))
        if pick(str(path[-1]), value)
    }


@pytest.mark.parametrize("name", ["case_id", "client_id", "booking_id", "counsellor_id", "enterprise_id"])
def test_the_examples_tell_of_one_case(name: str) -> None:
    assert len(told(lambda key, _: key == name)) == 1


def test_the_examples_write_their_times_as_the_company_reads_them() -> None:
    times = told(lambda _, value: is_time(value))
    assert all(time.endswith("+08:00") for time in times)


def test_the_follow_up_of_the_story_is_the_same_from_plan_to_record() -> None:
    planned, due, recorded = (
        example(topic) for topic in ("follow-up-planned", "follow-up-due", "follow-up-recorded")
    )
    shared_fields = planned.keys() & due.keys()
    assert {name: planned[name] for name in shared_fields} == {name: due[name] for name in shared_fields}
    assert recorded["follow_up_id"] == planned["follow_up_id"] == example("reminder-due")["subject"]
    assert recorded["form"] == planned["forms"][0]
    assert planned["scheduled_for"] <= recorded["conducted_at"] <= planned["complete_by"]


def test_the_story_is_told_in_order() -> None:
    order = [
        ("booking-requested", "requested_at"),
        ("case-opened", "opened_at"),
        ("consent-changed", "changed_at"),
        ("session-scheduled", "starts_at"),
        ("session-completed", "ended_at"),
        ("attention-changed", "at"),
        ("client-dropped", "dropped_at"),
        ("case-closed", "closed_at"),
        ("case-classified", "as_of"),
        ("reminder-due", "at"),
        ("follow-up-due", "scheduled_for"),
        ("follow-up-recorded", "recorded_at"),
        ("milestone-reached", "reached_at"),
        ("duty-changed", "due_at"),
        ("report-published", "published_at"),
        ("crisis-flagged", "flagged_at"),
        ("incident-changed", "at"),
        ("client-status-changed", "at"),
        ("client-erased", "requested_at"),
    ]
    times = [datetime.fromisoformat(example(topic)[field]) for topic, field in order]
    assert times == sorted(times)


def test_the_classified_case_holds_what_the_facts_said() -> None:
    case = example("case-classified")
    assert case["closed_at"] == example("case-closed")["closed_at"]
    assert case["dropped_at"] == example("client-dropped")["dropped_at"]
    assert case["opened_at"] == example("case-opened")["opened_at"]
    assert len(case["session_ends"]) == example("case-closed")["sessions_completed"]
    assert example("session-completed")["ended_at"] in [end["ended_at"] for end in case["session_ends"]]
    assert case["consents"] == example("consent-changed")["purposes"]
