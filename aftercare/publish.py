"""`aftercare publish`: events out of a file to intake, over HTTP."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, TextIO

import httpx
import typer

from aftercare.configuration import DATA, DataFolder, own_token, service_url
from aftercare.mistakes import Mistake
from aftercare.terminal import out

BATCH_EVENTS = 500
BATCH_BYTES = 900_000
"""Under the limits of one request to intake."""
ATTEMPTS = 5


@dataclass(frozen=True)
class Line:
    """A line of the input, counted from 1."""

    number: int
    text: str


@dataclass(frozen=True)
class Answer:
    """What became of the event on a line."""

    number: int
    accepted: bool
    reason: str = ""
    field: str = ""
    detail: str = ""


def publish(
    file: Annotated[str, typer.Argument(help="CloudEvents JSON, one event a line; - reads standard input.")],
    url: Annotated[
        str | None, typer.Option(help="Where intake is; by default that of the running stack.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="AFTERCARE_TOKEN", help="A bearer token with the role publisher; made by default."
        ),
    ] = None,
    data: DataFolder = DATA,
) -> None:
    """Publish events by way of intake, which stores them before it accepts them. Repeating is harmless.

    Ends with exit code 1 when an event was refused.
    """
    url = url or service_url("intake", data)
    token = token or own_token(data, "aftercare-publish", "publisher")
    accepted = refused = 0
    with _opened(file) as source:
        for answer in _ask(url, token, batches(read_lines(source))):
            if answer.accepted:
                accepted += 1
                continue
            refused += 1
            where = f" {answer.field}:" if answer.field else ""
            out.print(
                f"line {answer.number}: {answer.reason}:{where} {answer.detail}", markup=False, soft_wrap=True
            )
    out.print(f"{accepted} accepted, {refused} refused")
    if refused:
        raise typer.Exit(1)


@contextmanager
def _opened(file: str) -> Iterator[TextIO]:
    if file == "-":
        yield sys.stdin
        return
    try:
        with open(file, encoding="utf-8", errors="replace") as source:
            yield source
    except OSError as error:
        raise Mistake(f"{file} cannot be read ({error.strerror}): check the path") from None


def read_lines(source: Iterable[str]) -> Iterator[Line]:
    """The lines that hold something."""
    for number, text in enumerate(source, 1):
        if text.strip():
            yield Line(number, text)


def batches(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """Lines in requests of a size that intake takes."""
    batch: list[Line] = []
    size = 0
    for line in lines:
        length = len(line.text.encode())
        if batch and (len(batch) == BATCH_EVENTS or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += length
    if batch:
        yield batch


def readable(batch: Iterable[Line]) -> tuple[list[tuple[Line, Any]], list[Answer]]:
    """The documents of a batch, and the refusals of lines that hold none."""
    documents: list[tuple[Line, Any]] = []
    refused: list[Answer] = []
    for line in batch:
        try:
            if len(line.text.encode()) > BATCH_BYTES:
                refused.append(
                    Answer(line.number, False, "too-large", "", "the line is longer than a request may be")
                )
                continue
            documents.append((line, json.loads(line.text)))
        except (ValueError, RecursionError):
            refused.append(Answer(line.number, False, "malformed", "", "the line is not JSON"))
    return documents, refused


def _ask(url: str, token: str, work: Iterable[list[Line]]) -> Iterator[Answer]:
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        for batch in work:
            documents, refused = readable(batch)
            answers = [*refused]
            if documents:
                results = _post(client, [document for _, document in documents])
                answers += [
                    _answer(line, result) for (line, _), result in zip(documents, results, strict=True)
                ]
            yield from sorted(answers, key=lambda answer: answer.number)


def _post(client: httpx.Client, documents: list[Any]) -> list[dict[str, Any]]:
    """The results of one request, tried again where that can help. Raises Mistake."""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(2 ** (attempt - 1))
        try:
            answer = client.post("/v1/events", json=documents)
        except httpx.TransportError as error:
            problem = f"intake at {client.base_url} does not answer ({type(error).__name__})"
            continue
        if answer.status_code == 200:
            results: list[dict[str, Any]] = answer.json()["results"]
            return results
        problem = f"intake at {client.base_url} took nothing: {_detail(answer)}"
        if answer.status_code < 500:
            break
    raise Mistake(f"{problem}. What was published before holds: mend it and publish the file again")


def _detail(answer: httpx.Response) -> str:
    try:
        return f"{answer.status_code} {answer.json()['detail']}"
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)


def _answer(line: Line, result: dict[str, Any]) -> Answer:
    return Answer(
        line.number,
        result["status"] == "accepted",
        result.get("reason", ""),
        result.get("field", ""),
        result.get("detail", ""),
    )
