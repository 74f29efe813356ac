"""The reference page of all telemetry: ``python -m cycles_otel.telemetry.reference > docs/telemetry.md``."""

from __future__ import annotations

from collections.abc import Iterable

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Kind, Metric, Span

_INTRODUCTION = f"""\
# Telemetry reference

Generated from `cycles_otel/telemetry/semconv.py` by `python -m cycles_otel.telemetry.reference`; change it there.
The instrumentation scope is `{semconv.SCOPE}`. An attribute that has no value is left out, on spans and on metrics.
"""
_SPANS = """\
## Spans

A call that works has no status, and neither has a denial: find denials by `cycles.decision`. A call that fails has the
status ERROR and an `error.type`: the protocol's code, else `timeout`, `connection_error`, the HTTP status, or `_OTHER`
(a reply that is not the protocol's, for one).
"""
_EVENTS = """\
## Events

They stand on the span of the reservation.
"""
_METRICS = """\
## Metrics

A way out is chosen by `setup_telemetry(metrics=...)` or `CYCLES_OTEL_METRICS`; both give the same series. On Prometheus
the dots of an attribute key become underscores. Amounts are whole numbers of the unit in `cycles.unit`.
"""


def page() -> str:
    """The whole page, as Markdown."""
    return "\n".join(
        [
            _INTRODUCTION,
            _SPANS,
            _table(("name", "kind", "parent", "covers"), map(_span_row, semconv.SPANS)),
            _table(("span", "attributes"), ((name, _codes(keys)) for name, keys in semconv.SPAN_ATTRIBUTES.items())),
            _EVENTS,
            _table(("event", "attributes"), ((f"`{name}`", _codes(keys)) for name, keys in semconv.EVENTS.items())),
            "## Values\n",
            _table(("attribute", "values"), ((f"`{key}`", _codes(values)) for key, values in semconv.VALUES.items())),
            _METRICS,
            _table(("OpenTelemetry", "Prometheus", "type, unit", "attributes", "what"), map(_metric, semconv.METRICS)),
            "## Buckets\n",
            _table(("histogram", "upper bounds"), map(_bucket_row, _histograms())),
        ]
    )


def _span_row(span: Span) -> tuple[str, ...]:
    name = span.name if span.suffix is None else f"{span.name} {{{span.suffix}}}"
    return f"`{name}`", span.kind, span.parent, span.covers


def _metric(metric: Metric) -> tuple[str, ...]:
    kind = f"{metric.kind.value}, {metric.unit}" if metric.unit else metric.kind.value
    return f"`{metric.name}`", f"`{metric.prometheus_name}`", kind, _codes(metric.attributes), metric.description


def _histograms() -> Iterable[Metric]:
    return (metric for metric in semconv.METRICS if metric.kind is Kind.HISTOGRAM)


def _bucket_row(metric: Metric) -> tuple[str, ...]:
    return f"`{metric.name}`", " ".join(repr(bound).removesuffix(".0") for bound in metric.buckets)


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    print(page(), end="")
