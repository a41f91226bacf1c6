"""Publishing a file: lines, requests, refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aftercare.mistakes import Mistake
from aftercare.publish import BATCH_BYTES, BATCH_EVENTS, Line, batches, read_lines, readable
from tests.unit.aftercare.command_line import Invoke


class Intake(ThreadingHTTPServer):
    """Answers as intake does: an event whose id begins with `bad` is refused."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[list[Any]] = []
        self.tokens: list[str] = []
        self.statuses: list[int] = []
        """Statuses to answer first, before it is well."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Intake

    def do_POST(self) -> None:
        documents = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.tokens.append(self.headers["Authorization"])
        if self.server.statuses:
            self._send(self.server.statuses.pop(0), {"detail": "not now"})
            return
        self.server.requests.append(documents)
        results = [
            {
                "index": index,
                "status": "refused",
                "reason": "invalid-field",
                "field": "data.x",
                "detail": "no",
            }
            if document["id"].startswith("bad")
            else {"index": index, "status": "accepted", "id": document["id"]}
            for index, document in enumerate(documents)
        ]
        self._send(200, {"results": results})

    def _send(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def intake() -> Iterator[Intake]:
    with Intake() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_refusals_carry_their_line_numbers(aftercare: Invoke, intake: Intake, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text('{"id":"one"}\n\nnot json\n{"id":"bad"}\n{"id":"two"}\n')
    result = aftercare("publish", str(file), "--url", intake.url, "--token", "t")
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "line 3: malformed: the line is not JSON",
        "line 4: invalid-field: data.x: no",
        "2 accepted, 2 refused",
    ]
    assert intake.tokens == ["Bearer t"]


def test_standard_input_is_read(aftercare: Invoke, intake: Intake) -> None:
    result = aftercare("publish", "-", "--url", intake.url, "--token", "t", input='{"id":"one"}')
    assert result.exit_code == 0
    assert result.output == "1 accepted, 0 refused\n"


def test_many_events_go_in_several_requests(aftercare: Invoke, intake: Intake, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_text("".join(f'{{"id":"e{number}"}}\n' for number in range(1201)))
    assert aftercare("publish", str(file), "--url", intake.url, "--token", "t").exit_code == 0
    assert [len(request) for request in intake.requests] == [500, 500, 201]
    assert [event["id"] for request in intake.requests for event in request] == [f"e{n}" for n in range(1201)]


def test_an_intake_that_is_away_for_a_moment_is_asked_again(
    aftercare: Invoke, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("aftercare.publish.time.sleep", pauses.append)
    intake.statuses = [503, 503]
    result = aftercare("publish", "-", "--url", intake.url, "--token", "t", input='{"id":"one"}')
    assert result.output == "1 accepted, 0 refused\n"
    assert pauses == [1, 2]


def test_a_token_that_is_not_taken_is_not_tried_again(aftercare: Invoke, intake: Intake) -> None:
    intake.statuses = [403]
    result = aftercare("publish", "-", "--url", intake.url, "--token", "t", input='{"id":"one"}')
    assert isinstance(result.exception, Mistake)
    assert "403 not now" in str(result.exception)
    assert len(intake.tokens) == 1


def test_a_file_that_is_not_there_is_named(aftercare: Invoke) -> None:
    result = aftercare("publish", "nowhere.jsonl", "--token", "t")
    assert isinstance(result.exception, Mistake)
    assert str(result.exception) == "nowhere.jsonl cannot be read (No such file or directory): check the path"


@given(st.lists(st.integers(min_value=1, max_value=2 * BATCH_BYTES), max_size=40), st.integers(0, 1500))
def test_batches_keep_the_order_and_fit_a_request(long_lines: list[int], short_lines: int) -> None:
    lines = [Line(number, "x" * length) for number, length in enumerate([*long_lines, *[1] * short_lines])]
    made = list(batches(lines))
    assert [line for batch in made for line in batch] == lines
    for batch in made:
        assert 1 <= len(batch) <= BATCH_EVENTS
        assert len(batch) == 1 or sum(len(line.text) for line in batch) <= BATCH_BYTES


def test_a_line_longer_than_a_request_is_refused_here() -> None:
    documents, refused = readable([Line(7, '"' + "x" * BATCH_BYTES + '"'), Line(8, "1")])
    assert [line.number for line, _ in documents] == [8]
    assert [(answer.number, answer.reason) for answer in refused] == [(7, "too-large")]


def test_empty_lines_count_but_hold_nothing() -> None:
    assert list(read_lines(["\n", "a\n", "  \n", "b"])) == [Line(2, "a\n"), Line(4, "b")]
