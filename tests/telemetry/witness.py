"""A recorder whose spans and metrics stay in memory, and how a test reads them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    HistogramDataPoint,
    InMemoryMetricReader,
    MetricReader,
    NumberDataPoint,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Sample

from cycles_otel.telemetry import Recorder, TelemetryObserver
from cycles_otel.telemetry.schema import Metric, prometheus_label
from cycles_otel.testing.tree import parent_id as parent_id
from cycles_otel.testing.tree import span_id as span_id


class OpenSpans(SpanProcessor):
    """The spans that have started and not ended."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self.started = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.started += 1
        self._names[span_id(span)] = span.name

    def on_end(self, span: ReadableSpan) -> None:
        del self._names[span_id(span)]

    @property
    def names(self) -> list[str]:
        return list(self._names.values())


class Witness:
    """Keeps what a recorder records; metrics go both ways, so that the ways can be compared.

    Parameters
    ----------
    otlp: the address of a receiver of OTLP, which is sent the metrics at each flush of ``meters``.
    """

    def __init__(self, *, otlp: str | None = None, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.open_spans = OpenSpans()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.provider.add_span_processor(self.open_spans)
        self.registry = CollectorRegistry()
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader, *([] if otlp is None else [_sender(otlp)])])
        self.recorder = Recorder(
            **{
                "metrics": "both",
                "registry": self.registry,
                "tracer_provider": self.provider,
                "meter_provider": self.meters,
                **options,
            }
        )
        self.observer = TelemetryObserver(self.recorder)

    def close(self) -> None:
        self.provider.shutdown()
        self.meters.shutdown()

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended, in the order of their ends."""
        return self.exporter.get_finished_spans()

    @property
    def client_spans(self) -> list[ReadableSpan]:
        return [span for span in self.spans if span.kind is SpanKind.CLIENT]

    def span(self, name: str) -> ReadableSpan:
        """The only span of this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found

    def families(self) -> dict[str, Family]:
        return {family.name: family for family in self.registry.collect()}

    def samples(self, metric: Metric, suffix: str = "") -> Iterator[Sample]:
        name = metric.prometheus_name + suffix
        return (sample for family in self.registry.collect() for sample in family.samples if sample.name == name)

    def total(self, metric: Metric, suffix: str = "", **labels: str) -> float:
        """The sum over all series of a metric that have these labels; a histogram's is its ``_count`` or ``_sum``."""
        found = (s for s in self.samples(metric, suffix) if labels.items() <= dict(s.labels).items())
        return sum(sample.value for sample in found)

    def series(self, metric: Metric, suffix: str = "") -> dict[tuple[tuple[str, str], ...], float]:
        """Each series of a metric on ``/metrics``: its labels, without the empty ones, and its value."""
        return {_shown(sample.labels): sample.value for sample in self.samples(metric, suffix)}

    def otel_series(self, metric: Metric) -> dict[tuple[tuple[str, str], ...], float]:
        """The same from the OpenTelemetry meter: values, and the counts of histograms."""
        return {
            _shown({prometheus_label(key): str(value) for key, value in (point.attributes or {}).items()}): (
                point.count if isinstance(point, HistogramDataPoint) else point.value
            )
            for point in self._points(metric)
        }

    def bounds(self, metric: Metric) -> tuple[float, ...]:
        """The buckets of a histogram, as the OpenTelemetry meter has them."""
        (point,) = self._points(metric)
        assert isinstance(point, HistogramDataPoint)
        return tuple(point.explicit_bounds)

    def _points(self, metric: Metric) -> list[HistogramDataPoint | NumberDataPoint]:
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for instrument in scope.metrics
            if instrument.name == metric.name
            for point in instrument.data.data_points
            if isinstance(point, HistogramDataPoint | NumberDataPoint)
        ]


def _sender(otlp: str) -> MetricReader:
    return PeriodicExportingMetricReader(OTLPMetricExporter(f"{otlp}/v1/metrics"), export_interval_millis=math.inf)


def _shown(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((key, value) for key, value in labels.items() if value != ""))


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def event_names(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events]
