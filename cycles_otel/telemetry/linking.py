"""Links between traces of different processes, kept as text (a ``traceparent``) where a process may end in between."""

from __future__ import annotations

from opentelemetry import context, trace
from opentelemetry.trace import Link, Span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_propagator = TraceContextTextMapPropagator()
_KEY = "traceparent"


def link_text(span: Span) -> str | None:
    """The span as a text that ``links_to`` understands; None where nobody traces."""
    if not span.get_span_context().is_valid:
        return None
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(span, context.Context()))
    return carrier.get(_KEY)


def links_to(text: str) -> list[Link]:
    """A link to the span that the text tells of; none where it tells of none."""
    span = trace.get_current_span(_propagator.extract({_KEY: text}, context.Context()))
    return [Link(span.get_span_context())] if span.get_span_context().is_valid else []
