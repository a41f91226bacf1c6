"""What an operator sees of one event: one trace from HTTP to the follow-up, counters, and nothing private."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from shared.messaging.bus import Outgoing
from shared.observability import tracing
from tests.builders import case_closed, case_opened
from tests.conftest import Start


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    monkeypatch.setattr(
        tracing, "_recording", True
    )  # a test before may have configured a service without a collector
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield exporter
    exporter.shutdown()


async def test_one_trace_spans_http_bus_and_outbox(stack: Start, spans: InMemorySpanExporter) -> None:
    async with stack("intake", "scheduler", start="2026-04-20 18:00") as system:
        async with system.client("intake", "publisher") as client:
            answer = await client.post("/v1/events", json=case_closed().structured())
        await system.settled()
        planned = await system.events("follow-up-planned")

    assert answer.status_code == 202
    traces = {
        span.name: format(span.context.trace_id, "032x")
        for span in spans.get_finished_spans()
        if span.context
        and span.name in ("POST /v1/events", "intake case-closed", "scheduler case-classified")
    }
    assert set(traces) == {"POST /v1/events", "intake case-closed", "scheduler case-classified"}
    assert len(set(traces.values())) == 1
    assert {(event.traceparent or "").split("-")[1] for event in planned} == set(traces.values())


async def test_a_trace_that_a_company_system_began_goes_on(stack: Start, spans: InMemorySpanExporter) -> None:
    began = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with stack("intake", "scheduler") as system:
        await system.publish(case_closed(traceparent=began))
        planned = await system.events("follow-up-planned")

    assert {(event.traceparent or "").split("-")[1] for event in planned} == {began.split("-")[1]}


async def test_spans_name_cases_and_never_what_was_said(stack: Start, spans: InMemorySpanExporter) -> None:
    async with stack("intake") as system, system.client("intake", "publisher", "counsellor") as client:
        await system.publish(case_opened())
        await client.put(
            "/v1/cases/case-1/file", json={"kind_of_counselling": "x", "core_problem": "afraid-of-the-boss"}
        )

    told = json.dumps([json.loads(span.to_json()) for span in spans.get_finished_spans()])
    assert "case-1" in told
    assert "afraid-of-the-boss" not in told


async def test_metrics_count_what_was_handled_repeated_refused_and_published(stack: Start) -> None:
    async with stack("intake") as system, system.client("intake") as client:
        before = counted((await client.get("/metrics")).text)
        await system.publish(case_opened())
        await system.publish(case_opened())
        await system.put(Outgoing("case-opened", b"k", b"not json", ()))
        await system.settled()
        after = counted((await client.get("/metrics")).text)
        topic = system.settings.topic("case-opened")

    def gained(line: str) -> float:
        return after.get(line, 0) - before.get(line, 0)

    assert gained('aftercare_events_handled_total{service="intake",topic="case-opened"}') == 1
    assert gained('aftercare_events_repeated_total{service="intake"}') == 1
    letters = f'aftercare_dead_letters_total{{reason="missing-attribute",service="intake",topic="{topic}"}}'
    assert gained(letters) == 1
    for published in ("case-classified", "intake.dead-letter"):
        assert gained(f'aftercare_events_published_total{{service="intake",topic="{published}"}}') == 1
    assert gained('aftercare_batch_seconds_count{service="intake"}') == 3


def counted(text: str) -> dict[str, float]:
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {name: float(value) for name, value in lines}
