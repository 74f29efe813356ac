"""A span as it is told, by the SDK in this process or by OTLP from another one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind

from tests.telemetry.witness import attributes


@dataclass(frozen=True)
class ToldSpan:
    """A span that has ended; ids are hexadecimal digits."""

    name: str
    is_client: bool
    trace_id: str
    span_id: str
    attributes: Mapping[str, Any]


def of_sdk(spans: Iterable[ReadableSpan]) -> list[ToldSpan]:
    """The spans that the SDK has finished in this process."""
    return [_of_span(span) for span in spans]


def _of_span(span: ReadableSpan) -> ToldSpan:
    context = span.get_span_context()
    assert context is not None
    ids = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return ToldSpan(span.name, span.kind is SpanKind.CLIENT, *ids, attributes(span))


def of_otlp(requests: Iterable[ExportTraceServiceRequest]) -> list[ToldSpan]:
    """The spans in requests of OTLP."""
    return [
        ToldSpan(
            span.name,
            span.kind == SpanMessage.SPAN_KIND_CLIENT,
            span.trace_id.hex(),
            span.span_id.hex(),
            dict(_attributes(span.attributes)),
        )
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _attributes(items: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    for item in items:
        kind = item.value.WhichOneof("value")
        value = getattr(item.value, kind)
        yield item.key, [each.string_value for each in value.values] if kind == "array_value" else value
