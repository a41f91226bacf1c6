"""What `up` settles before anything starts: the folder, its secrets, the services' environments."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from aftercare.mistakes import Mistake
from aftercare.stack import PORTS
from aftercare.up import locked, new_secrets, own_secrets, service_environment, without


def test_each_service_gets_its_port_and_learns_where_crisis_is() -> None:
    made = service_environment({"kafka_idempotence": False}, PORTS, {"PATH": "/bin"})
    assert {service: found["AFTERCARE_HTTP_PORT"] for service, found in made.items()} == {
        "intake": "8001", "scheduler": "8002", "survey": "8003", "crisis": "8004", "reporting": "8005",
    }  # fmt: skip
    for found in made.values():
        assert found["AFTERCARE_KAFKA_IDEMPOTENCE"] == "false"
        assert found["AFTERCARE_CRISIS_URL"] == "http://127.0.0.1:8004"
        assert found["PATH"] == "/bin"


def test_the_stack_is_for_this_machine_alone() -> None:
    given = {
        "AFTERCARE_HTTP_HOST": "0.0.0.0",
        "AFTERCARE_HTTP_PORT": "80",
        "AFTERCARE_CRISIS_URL": "http://mine",
    }
    made = service_environment({}, PORTS, given)["intake"]
    assert made["AFTERCARE_HTTP_HOST"] == "127.0.0.1"
    assert made["AFTERCARE_HTTP_PORT"] == "8001"
    assert made["AFTERCARE_CRISIS_URL"] == "http://mine"


def test_secrets_are_random_and_long_enough() -> None:
    one, other = new_secrets(), new_secrets()
    assert one != other
    assert len(base64.b64decode(one["master_key"])) == 96
    assert len(one["token_secret"]) >= 32


def test_secrets_are_made_once_and_kept(tmp_path: Path) -> None:
    first = own_secrets(tmp_path, {})
    assert own_secrets(tmp_path, {}) == first
    assert set(first) == {"token_secret", "master_key"}
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600


def test_the_environments_own_secrets_come_first(tmp_path: Path) -> None:
    assert set(own_secrets(tmp_path, {"AFTERCARE_MASTER_KEY": "mine"})) == {"token_secret"}


def test_where_oidc_signs_people_in_no_development_token_is_taken(tmp_path: Path) -> None:
    assert set(own_secrets(tmp_path, {"AFTERCARE_OIDC_ISSUER": "https://login.example"})) == {"master_key"}


def test_lost_secrets_are_not_replaced_while_data_lies_under_them(tmp_path: Path) -> None:
    (tmp_path / "mongo").mkdir()
    (tmp_path / "mongo" / "WiredTiger.wt").touch()
    with pytest.raises(Mistake, match="bring it back, or remove"):
        own_secrets(tmp_path, {})


def test_one_folder_is_for_one_stack(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with locked(folder):
        with pytest.raises(Mistake, match=r"another `aftercare up` \(process \d+\) uses"), locked(folder):
            pass
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with locked(folder):
        pass


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Mistake, match="choose another folder with --data"), locked(tmp_path / "file"):
        pass


def test_what_is_missing_for_real_use_is_said() -> None:
    assert [line.split(":")[0] for line in without({})] == ["no pager", "no message gateway"]
    assert without({"AFTERCARE_ROSTER_FILE": "r.yaml", "AFTERCARE_GATEWAY_URL": "http://gateway"}) == []
