"""The command line as a caller meets it."""

from __future__ import annotations

import sys

import jwt
import pytest
from typer.testing import Result

from aftercare.cli import main
from aftercare.mistakes import Mistake
from tests.unit.aftercare.command_line import Invoke

SECRET = "a-secret-of-at-least-thirty-two-bytes"


def refused(result: Result) -> str:
    assert isinstance(result.exception, Mistake), result.output
    return str(result.exception)


def test_a_mistake_ends_with_2_and_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["aftercare", "run", "nonsense"])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert "there is no service 'nonsense': choose one of intake, scheduler" in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_every_command_explains_itself(aftercare: Invoke) -> None:
    commands = (
        "up",
        "run",
        "publish",
        "tail",
        "topics",
        "dead-letters",
        "policy",
        "drill",
        "doctor",
        "token",
    )
    for command in (*commands, "simulate", "demo"):
        result = aftercare(command, "--help")
        assert result.exit_code == 0, command
        assert "Usage" in result.output


def test_a_token_carries_its_roles_and_ends_in_time(
    aftercare: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERCARE_TOKEN_SECRET", SECRET)
    result = aftercare(
        "token", "--role", "supervisor", "--role", "manager", "--valid", "30m", "--subject", "s-1"
    )
    claims = jwt.decode(result.output.strip(), SECRET, ["HS256"], audience="aftercare")
    assert claims["roles"] == ["supervisor", "manager"]
    assert claims["sub"] == "s-1"
    assert claims["exp"] - claims["iat"] == 1800


@pytest.mark.parametrize("valid", ["8", "8 h", "0h", "-1h", "1.5h", "999999h", "forever"])
def test_a_validity_that_cannot_be_read_is_refused(
    aftercare: Invoke, monkeypatch: pytest.MonkeyPatch, valid: str
) -> None:
    monkeypatch.setenv("AFTERCARE_TOKEN_SECRET", SECRET)
    assert "write 30m, 8h or 7d" in refused(aftercare("token", "--role", "supervisor", f"--valid={valid}"))


def test_an_unknown_role_is_refused(aftercare: Invoke) -> None:
    assert "there is no role 'boss'" in refused(aftercare("token", "--role", "boss"))


def test_where_oidc_signs_people_in_no_token_is_made(
    aftercare: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERCARE_OIDC_ISSUER", "https://login.example")
    assert "from your OIDC provider" in refused(aftercare("token", "--role", "supervisor"))


def test_the_topics_are_listed(aftercare: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    output = aftercare("topics", "list").output
    assert "case-closed" in output
    assert "A case was formally closed" in output


def test_a_bus_that_is_away_is_told_within_the_time_given(
    aftercare: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFTERCARE_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    said = refused(aftercare("topics", "apply", "--wait", "0"))
    assert "the bus at 127.0.0.1:1 did not create the topics within 0 s" in said


def test_a_service_without_its_key_says_how_to_make_one(aftercare: Invoke) -> None:
    said = refused(aftercare("run", "intake"))
    assert "intake cannot start" in said
    assert "openssl rand -base64 96" in said


def test_an_unknown_topic_cannot_be_watched(aftercare: Invoke) -> None:
    assert "there is no topic 'gossip'" in refused(aftercare("tail", "gossip"))


@pytest.mark.parametrize("arguments", [(), ("abc", "--all")])
def test_a_replay_names_its_letters_or_takes_all(aftercare: Invoke, arguments: tuple[str, ...]) -> None:
    assert "name the letters to replay" in refused(aftercare("dead-letters", "replay", *arguments))
