"""The trace that a measurement was made in, in the form that each back end takes."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.trace import Span, format_span_id, format_trace_id, set_span_in_context


class Exemplar:
    """A sampled span, as the example of what a measurement counts."""

    __slots__ = ("_context", "_labels", "_span")

    def __init__(self, span: Span) -> None:
        self._span = span
        self._labels: dict[str, str] | None = None
        self._context: Context | None = None

    @staticmethod
    def of(span: Span | None) -> Exemplar | None:
        """The exemplar for this span; None where nobody will find its trace, since it is not sampled."""
        if span is None:
            return None
        context = span.get_span_context()
        return Exemplar(span) if context.is_valid and context.trace_flags.sampled else None

    @property
    def labels(self) -> dict[str, str]:
        """The ids as the labels of an OpenMetrics exemplar."""
        if self._labels is None:
            ids = self._span.get_span_context()
            self._labels = {"trace_id": format_trace_id(ids.trace_id), "span_id": format_span_id(ids.span_id)}
        return self._labels

    @property
    def context(self) -> Context:
        """The context from which an OpenTelemetry instrument takes its exemplar."""
        if self._context is None:
            self._context = set_span_in_context(self._span, Context())
        return self._context
