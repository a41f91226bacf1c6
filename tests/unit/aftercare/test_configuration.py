"""Where a command finds the stack, and how it says that it cannot."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from aftercare.configuration import (
    not_in_environment,
    read_settings,
    service_url,
    stack_settings,
    token_secret,
    write_private,
)
from aftercare.mistakes import Mistake
from shared.settings import Settings

LEFT = {
    "kafka_bootstrap_servers": "127.0.0.1:19092",
    "kafka_assigned": True,
    "kafka_partitions": 1,
    "mongo_url": "mongodb://127.0.0.1:27117/",
    "token_secret": "of the folder",
}


def test_what_up_left_is_used_where_the_environment_says_nothing() -> None:
    assert not_in_environment(LEFT, {}) == LEFT


def test_the_environment_comes_first() -> None:
    found = not_in_environment(LEFT, {"AFTERCARE_TOKEN_SECRET": "my own"})
    assert "token_secret" not in found
    assert found["mongo_url"] == LEFT["mongo_url"]


def test_a_bus_of_ones_own_gets_none_of_the_embedded_ones_options() -> None:
    found = not_in_environment(LEFT, {"AFTERCARE_KAFKA_BOOTSTRAP_SERVERS": "kafka:9092"})
    assert not [name for name in found if name.startswith("kafka_")]


def test_settings_of_a_running_stack(tmp_path: Path) -> None:
    write_private(tmp_path / "secrets.json", {"token_secret": "s" * 40})
    write_private(
        tmp_path / "stack.json",
        {"settings": {"kafka_assigned": True}, "services": {"crisis": "http://there:1"}},
    )
    settings = stack_settings(tmp_path)
    assert settings.kafka_assigned
    assert token_secret(settings, tmp_path) == "s" * 40
    assert service_url("crisis", tmp_path) == "http://there:1"
    assert service_url("intake", tmp_path) == "http://127.0.0.1:8001"


def test_without_a_secret_no_token_is_signed(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="start `aftercare up`, or set AFTERCARE_TOKEN_SECRET"):
        token_secret(stack_settings(tmp_path), tmp_path)


def test_a_mistaken_setting_is_told_by_its_variable_and_never_its_value(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AFTERCARE_BATCH_RECORDS", "Zhang San")
    monkeypatch.setenv("AFTERCARE_NAMESPACE", "Li Si")
    with pytest.raises(Mistake) as caught:
        read_settings(Settings)
    said = str(caught.value)
    assert "AFTERCARE_BATCH_RECORDS: Input should be a valid integer" in said
    assert "AFTERCARE_NAMESPACE: String should match pattern" in said
    assert "Zhang" not in said
    assert "Li Si" not in said


def test_a_setting_that_should_be_json_says_so_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    from services.crisis.settings import CrisisSettings

    monkeypatch.setenv("AFTERCARE_CRISIS_CHANNELS", "https://hook/?key=secret")
    with pytest.raises(Mistake) as caught:
        read_settings(CrisisSettings)
    assert "crisis_channels" in str(caught.value)
    assert "must be JSON" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "stack.json").write_text("{")
    with pytest.raises(Mistake, match=r"stack\.json cannot be read"):
        stack_settings(tmp_path)


def test_a_private_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text("old and open to all")
    write_private(path, {"a": 1})
    assert json.loads(path.read_text()) == {"a": 1}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secrets.json"]
