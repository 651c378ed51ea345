"""Makes spans of what workers tell, and sends them to a collector: OTLP over HTTP, by OpenTelemetry's own packages.

For a process of its own. The exporter sends from a thread, waits and tries again as long as it likes, and drops what
it cannot hold; headers and certificates are set by OpenTelemetry's variables, such as OTEL_EXPORTER_OTLP_HEADERS.
"""

from __future__ import annotations

import logging
import select
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from freehold import __version__
from freehold.gateway.watch.span_names import error_of, is_latest, span_attributes, span_name
from freehold.gateway.watch.spans import place_of, read_told

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from freehold.gateway.watch.span_names import SpanProvider
    from freehold.gateway.watch.spans import Told
    from freehold.gateway.workers import Stop

_LONGEST_MESSAGE = 1 << 20
_QUEUE, _BATCH = 8192, 512
_EVERY_MS = 1000.0
_EXPORT_S = 5.0
_LAST_WORD_MS = 5000
_SCOPE = InstrumentationScope("freehold.gateway", __version__)


def export_spans(
    reader: socket.socket, endpoint: str, providers: Mapping[str, SpanProvider], *, sample: float, stop: Stop
) -> None:
    """Send spans until told to stop, and then what is left, if the collector takes it within seconds.

    Args:
        reader: The end of the channel that is read from.
        endpoint: Address of the collector, without `/v1/traces`.
        providers: By their names in the settings.
        sample: As the workers have it.
        stop: Says when.
    """
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # each try of each batch would be a warning
    resource = Resource.create({"service.name": "freehold-gateway", "service.version": __version__})
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_S)
    processor = BatchSpanProcessor(
        exporter, max_queue_size=_QUEUE, schedule_delay_millis=_EVERY_MS, max_export_batch_size=_BATCH
    )
    reader.setblocking(False)
    latest, is_over = is_latest(), False
    while not is_over:
        ready, _, _ = select.select([reader.fileno(), stop.fileno()], [], [])
        is_over = stop.fileno() in ready
        for message in _messages(reader):
            span = span_of(read_told(message), providers, resource, latest=latest, sample=sample)
            if span is not None:
                processor.on_end(span)
    processor.force_flush(_LAST_WORD_MS)
    exporter.shutdown()
    processor.shutdown()


def _messages(reader: socket.socket) -> list[bytes]:
    """What lies in the channel."""
    found: list[bytes] = []
    try:
        while len(found) < _QUEUE:
            found.append(reader.recv(_LONGEST_MESSAGE))
    except BlockingIOError:
        pass
    return found


def span_of(
    told: Told, providers: Mapping[str, SpanProvider], resource: Any, *, latest: bool, sample: float
) -> ReadableSpan | None:  # Any: OpenTelemetry's resource, which type checkers see only where it is installed
    """The span of an attempt; None where there is to be none."""
    head, tail = told.head, told.tail
    place = place_of(told.call_id, head.traceparent, sample=sample)
    if place is None:
        return None
    sampled = TraceFlags(TraceFlags.SAMPLED)
    context = SpanContext(place.trace_id, place.span_id, is_remote=False, trace_flags=sampled)
    parent = None
    if place.parent_id is not None:
        parent = SpanContext(place.trace_id, place.parent_id, is_remote=True, trace_flags=sampled)
    error = error_of(tail)
    return ReadableSpan(
        span_name(head),
        context,
        parent,
        resource,
        span_attributes(head, tail, providers.get(head.provider or ""), latest=latest),
        kind=SpanKind.CLIENT,
        status=Status(StatusCode.UNSET) if error is None else Status(StatusCode.ERROR, error),
        start_time=head.started_at_us * 1000,
        end_time=head.started_at_us * 1000 + int((tail.duration_ms or 0.0) * 1_000_000),
        instrumentation_scope=_SCOPE,
    )
