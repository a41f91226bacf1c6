"""`aftercare oncall` on a file, before any service is given it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from aftercare.mistakes import Mistake
from aftercare.oncall import of_file, of_service, said
from tests.builders import at
from tests.unit.aftercare.command_line import Invoke
from tests.unit.crisis.oncall.rotas import written

WEEKS = {"name": "weeks", "people": ["staff-1", "staff-2"], "begins": "2026-01-05"}
NOW = at("2026-03-24 12:00")


def test_now_and_next_and_no_gap(tmp_path: Path) -> None:
    told = of_file(written(tmp_path, [WEEKS]), 14, NOW)
    assert list(said(told, 14)) == [
        "on-call: staff-2 until 2026-03-30 09:00, then staff-1",
        "no gap in the next 14 days",
    ]


def test_a_gap_is_told_with_its_times(tmp_path: Path) -> None:
    told = of_file(written(tmp_path, [{**WEEKS, "ends": "2026-03-25"}]), 2, NOW)
    assert list(said(told, 2)) == [
        "on-call: staff-2 until 2026-03-25 09:00, then nobody",
        "gap: on-call from 2026-03-25 09:00 to 2026-03-26 12:00",
    ]


def test_a_mistake_in_the_file_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"rota\.yaml:\d+: .*people"):
        of_file(written(tmp_path, [{**WEEKS, "people": []}]), 14, NOW)


@pytest.mark.parametrize(("layer", "code"), [(WEEKS, 0), ({**WEEKS, "ends": "2026-01-12"}, 1)])
def test_the_exit_code_says_whether_there_is_a_gap(
    layer: dict[str, object], code: int, tmp_path: Path, aftercare: Invoke
) -> None:
    assert aftercare("oncall", "--file", str(written(tmp_path, [layer]))).exit_code == code


def asked(answer: httpx.Response) -> dict[str, object]:
    transport = httpx.MockTransport(lambda request: answer)
    with httpx.Client(base_url="http://crisis", transport=transport) as client:
        return of_service(client, 14)


def test_what_a_running_service_tells_is_shown_alike(tmp_path: Path) -> None:
    told = of_file(written(tmp_path, [WEEKS]), 14, NOW)
    assert list(said(asked(httpx.Response(200, json=told)), 14)) == list(said(told, 14))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (httpx.Response(403, json={"detail": "this needs one of the roles: engineer"}), "403 this needs"),
        (httpx.Response(502, text="<html>"), "does not answer"),
    ],
)
def test_a_service_that_does_not_tell_is_a_mistake(answer: httpx.Response, reason: str) -> None:
    with pytest.raises(Mistake, match=reason):
        asked(answer)
