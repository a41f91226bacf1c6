"""What is committed of the contracts is what the models say, and a published version does not change."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from shared.contracts import publish
from shared.contracts.asyncapi import json_schema
from shared.contracts.compatibility import breaking_changes
from shared.contracts.topics import TOPICS
from shared.contracts.types import EventData, Id, Timestamp

AGAIN = "run `python -m shared.contracts.publish` and commit what it writes"


def test_no_published_version_is_broken() -> None:
    assert publish.broken(publish.SCHEMAS, publish.schemas()) == []


def test_the_committed_schemas_are_up_to_date() -> None:
    committed = {path.name: path.read_text("utf-8") for path in publish.SCHEMAS.iterdir()}
    assert committed == publish.schemas(), AGAIN


def test_the_committed_page_is_up_to_date() -> None:
    assert publish.EVENTS_PAGE.read_text("utf-8") == publish.events_page(), AGAIN


def test_the_page_shows_every_topic_with_every_field() -> None:
    page = publish.events_page()
    for topic in TOPICS.values():
        section = page.split(f"\n## {topic.name}\n")[1].split("\n## ")[0]
        assert topic.says in section
        assert f"`{topic.subject}`" in section
        assert f"{topic.retention_days} days" in section
        for version in topic.versions:
            assert topic.event_type(version) in section
            for name in json_schema(topic.name, version)["properties"]:
                assert f"\n| `{name}` |" in section


def mutated(change: str) -> dict[str, str]:
    """The schemas with one of them changed."""
    fresh = publish.schemas()
    schema = json.loads(fresh["case-closed.v1.json"])
    if change == "removed":
        del schema["properties"]["advice"]
    elif change == "added":
        schema["properties"]["remark"] = {"type": "string"}
    else:
        schema["description"] = "Other words."
    return fresh | {"case-closed.v1.json": json.dumps(schema)}


@pytest.mark.parametrize("change", ["removed", "added"])
def test_publishing_refuses_what_would_break_a_version_and_writes_nothing(
    change: str, tmp_path: Path
) -> None:
    folder, page = tmp_path / "schemas", tmp_path / "events.md"
    publish.publish(folder, page, publish.schemas())
    page.write_text("as it was")
    with pytest.raises(publish.BreaksPublished, match="declare version 2 beside it"):
        publish.publish(folder, page, mutated(change))
    assert {path.name: path.read_text("utf-8") for path in folder.iterdir()} == publish.schemas()
    assert page.read_text() == "as it was"


def test_publishing_takes_other_words_and_a_new_version(tmp_path: Path) -> None:
    folder, page = tmp_path / "schemas", tmp_path / "events.md"
    publish.publish(folder, page, publish.schemas())
    second = mutated("added")["case-closed.v1.json"]
    fresh = mutated("description") | {"case-closed.v2.json": second}
    publish.publish(folder, page, fresh)
    assert {path.name: path.read_text("utf-8") for path in folder.iterdir()} == fresh


def test_publishing_refuses_to_withdraw_a_version(tmp_path: Path) -> None:
    folder, page = tmp_path / "schemas", tmp_path / "events.md"
    publish.publish(folder, page, publish.schemas())
    less = {name: text for name, text in publish.schemas().items() if name != "case-closed.v1.json"}
    with pytest.raises(
        publish.BreaksPublished, match=r"case-closed\.v1: the version is not declared any more"
    ):
        publish.publish(folder, page, less)
    assert (folder / "case-closed.v1.json").exists()


def test_the_command_says_what_is_wrong_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(publish, "SCHEMAS", tmp_path / "schemas")
    monkeypatch.setattr(publish, "EVENTS_PAGE", tmp_path / "events.md")
    assert publish.main() == 0
    old = json.loads((tmp_path / "schemas/case-closed.v1.json").read_text())
    old["properties"]["gone"] = {"type": "string"}
    (tmp_path / "schemas/case-closed.v1.json").write_text(json.dumps(old))
    assert publish.main() == 1
    assert "case-closed.v1: gone: the field was removed" in capsys.readouterr().err


# --- changes of a model, as an engineer would make them ----------------------------------------------------------


class Erased(EventData):
    client_id: Id
    requested_at: Timestamp
    why: Literal["asked", "law"] | None = None


class WithOptional(Erased):
    by: Id | None = None


class WithRequired(Erased):
    by: Id


class FewerValues(Erased):
    why: Literal["asked"] | None = None


class MoreValues(Erased):
    why: Literal["asked", "law", "age"] | None = None


class Demanded(Erased):
    why: Literal["asked", "law"]


class Shorter(Erased):
    client_id: Annotated[str, Field(pattern="^[a-z]{1,8}$")]


class Renamed(EventData):
    who: Id = Field(alias="client")
    requested_at: Timestamp
    why: Literal["asked", "law"] | None = None


class SaidOtherwise(EventData):
    """The same in other words and another order."""

    why: Literal["law", "asked"] | None = Field(None, description="The ground.")
    requested_at: Timestamp
    client_id: Id


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (WithOptional, ["by: the optional field was added; readers of the published version refuse it"]),
        (WithRequired, ["by: the required field was added"]),
        (FewerValues, ['why: the value "law" was removed; publishers may still send it']),
        (MoreValues, ['why: the value "age" was added; readers of the published version refuse it']),
        (Demanded, ["why: it was optional and became required", "why: null is not taken any more"]),
        (Shorter, ["client_id: pattern changed"]),
        (Renamed, ["client: the required field was added", "client_id: the field was removed"]),
        (SaidOtherwise, []),
    ],
)
def test_a_changed_model_is_found_out(model: type[EventData], told: list[str]) -> None:
    changes = breaking_changes(Erased.model_json_schema(), model.model_json_schema())
    assert len(changes) == len(told), changes
    assert all(change.startswith(start) for change, start in zip(changes, told, strict=True)), changes


@pytest.mark.parametrize("name", sorted(publish.schemas()))
def test_taking_any_field_out_of_any_version_is_found_out(name: str) -> None:
    schema = json.loads(publish.schemas()[name])
    for field in schema["properties"]:
        less = copy.deepcopy(schema)
        del less["properties"][field]
        assert f"{field}: the field was removed; publishers may still send it" in breaking_changes(
            schema, less
        )
        assert breaking_changes(less, schema)[0].startswith(f"{field}: the ")
