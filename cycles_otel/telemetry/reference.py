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

A Prometheus has the same series, whether it scrapes `/metrics`, scrapes the `prometheus` exporter of a collector (with
`without_scope_info: true`, and `honor_labels: true` in the scrape), or takes OTLP itself; only the labels of the target
(`job`, `instance`) differ, and `le` may be spelled `1` or `1.0`. A scrape has `_created` series too.

Exemplars with the `trace_id` and `span_id` of a sampled span stand on every histogram, and on
{exemplars}. They need OpenMetrics on a page
(Prometheus asks for it; `enable_open_metrics: true` on the exporter) and `--enable-feature=exemplar-storage` in
Prometheus; there are none in the multiprocess mode of `prometheus_client`.
"""
_BUCKETS = """\
## Buckets

By OTLP a histogram is native instead, without these buckets, where the environment says
`OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION=base2_exponential_bucket_histogram`. There are no native ones
on `/metrics`: `prometheus_client` has none.
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
            _METRICS.format(exemplars=_codes(_counters_with_exemplars())),
            _table(("OpenTelemetry", "Prometheus", "type, unit", "attributes", "what"), map(_metric, semconv.METRICS)),
            _BUCKETS,
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


def _counters_with_exemplars() -> Iterable[str]:
    return (metric.name for metric in semconv.METRICS if metric.exemplars and metric.kind is Kind.COUNTER)


def _bucket_row(metric: Metric) -> tuple[str, ...]:
    return f"`{metric.name}`", " ".join(repr(bound).removesuffix(".0") for bound in metric.buckets)


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    print(page(), end="")
