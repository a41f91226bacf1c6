"""A trace goes on where nobody records it: its id is passed on, and each step has an id of its own."""

from __future__ import annotations

import pytest

from shared.observability import tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def _nobody_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_recording", False)


def parts(traceparent: str | None) -> list[str]:
    assert traceparent
    return traceparent.split("-")


def test_the_trace_of_the_cause_goes_on() -> None:
    with tracing.span("a step", PARENT):
        _, trace_id, span_id, flags = parts(tracing.current())
    assert (trace_id, flags) == (PARENT.split("-")[1], "01")
    assert span_id != PARENT.split("-")[2]
    assert tracing.current() is None


def test_a_trace_begins_where_there_is_none_and_holds_for_the_steps_within() -> None:
    with tracing.span("a step"):
        _, outer, first, _ = parts(tracing.current())
        with tracing.span("a step within"):
            _, inner, second, _ = parts(tracing.current())
    assert inner == outer != "0" * 32
    assert first != second
