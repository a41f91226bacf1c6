"""Log lines: JSON, with the trace they belong to."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider

from shared.observability.logging import configure


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What is logged once logging was configured; afterwards everything is as before."""
    before = structlog.get_config()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure("INFO", stream)
    yield stream
    structlog.configure(**before)
    root.handlers[:], root.level = handlers, level


def test_a_line_carries_the_trace_it_belongs_to(written: io.StringIO) -> None:
    tracer = TracerProvider().get_tracer("test")
    with tracer.start_as_current_span("work") as span:
        structlog.get_logger().warning("a batch was put back", service="intake")

    line = json.loads(written.getvalue())
    assert line["event"] == "a batch was put back"
    assert line["service"] == "intake"
    assert line["trace_id"] == format(span.get_span_context().trace_id, "032x")
    assert line["span_id"] == format(span.get_span_context().span_id, "016x")


def test_libraries_log_in_the_same_form(written: io.StringIO) -> None:
    logging.getLogger("aiokafka").warning("the broker is away")
    logging.getLogger("aiokafka").info("of no interest")

    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [("the broker is away", "warning")]


def test_a_line_below_the_level_is_not_written(written: io.StringIO) -> None:
    structlog.get_logger().debug("details")

    assert written.getvalue() == ""
