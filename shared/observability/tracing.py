"""Traces across HTTP, the bus and the outbox (W3C trace context).

An event carries the trace of what caused it; the events derived from it carry the span in which they were decided.
So one trace shows consultation event -> class -> follow-up, however long the outbox held them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_W3C = TraceContextTextMapPropagator()
_TRACER = trace.get_tracer("aftercare")
_IDS = RandomIdGenerator()
_SAMPLED = trace.TraceFlags(trace.TraceFlags.SAMPLED)

_recording = True
"""Whether anybody will see the spans. If not, only their ids are made, for headers and logs: half the cost."""


def configure(service: str) -> None:
    """Record spans and export them, where `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector."""
    global _recording
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return
    provider = TracerProvider(resource=Resource.create({"service.name": f"aftercare-{service}"}))
    _recording = bool(os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"))
    if _recording:
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


@contextmanager
def span(name: str, parent: str | None = None, **attributes: str | int) -> Iterator[None]:
    """Run a block in a span; `parent` is the `traceparent` of what caused it."""
    if not _recording:
        caused_by = int(parent[3:35], 16) if parent else trace.get_current_span().get_span_context().trace_id
        trace_id = caused_by or _IDS.generate_trace_id()
        ids = trace.SpanContext(trace_id, _IDS.generate_span_id(), is_remote=False, trace_flags=_SAMPLED)
        token = attach(trace.set_span_in_context(trace.NonRecordingSpan(ids)))
        try:
            yield
        finally:
            detach(token)
        return
    context = _W3C.extract({"traceparent": parent}) if parent else None
    with _TRACER.start_as_current_span(name, context=context, attributes=attributes):
        yield


def current() -> str | None:
    """The `traceparent` of the present span, to be carried by what it causes."""
    ids = trace.get_current_span().get_span_context()
    return f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{ids.trace_flags:02x}" if ids.is_valid else None
