"""What metrics say, by whatever way they were read: a page, OTLP, or the API of a Prometheus.

Names and labels are Prometheus' own, so that what is read one way can be held against what is read another way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client import CollectorRegistry, exposition, parser
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Kind, Metric, prometheus_label

PREFIX = "cycles_"
# prometheus_client does not annotate these.
_render: Callable[[CollectorRegistry], bytes] = generate_latest
_render_text: Callable[[CollectorRegistry], bytes] = exposition.generate_latest
_parse_text: Callable[[str], Iterable[Family]] = parser.text_string_to_metric_families
_parse: Callable[[str], Iterable[Family]] = text_string_to_metric_families
_BY_NAME = {metric.name: metric for metric in semconv.METRICS}

Labels: TypeAlias = Mapping[str, str]


@dataclass(frozen=True)
class Example:
    """The trace and the span that an exemplar names, as hexadecimal digits."""

    trace_id: str
    span_id: str


@dataclass(frozen=True)
class Reading:
    """The last value of one series; an empty label is no label, and ``le`` is spelled in one way."""

    name: str
    labels: Labels
    value: float
    examples: tuple[Example, ...] = ()


class Readings:
    """All series of this package, from one source at one moment."""

    def __init__(self, readings: Iterable[Reading]) -> None:
        self._by_name: dict[str, list[Reading]] = {}
        for reading in readings:
            if reading.name.startswith(PREFIX):
                self._by_name.setdefault(reading.name, []).append(reading)

    def __iter__(self) -> Iterator[Reading]:
        return (reading for readings in self._by_name.values() for reading in readings)

    def total(self, metric: Metric, suffix: str = "", **labels: str) -> float:
        """The sum over all series of a metric that have these labels; a histogram's is its ``_count`` or ``_sum``."""
        found = self._by_name.get(metric.prometheus_name + suffix, ())
        return sum(reading.value for reading in found if labels.items() <= reading.labels.items())

    def by(self, metric: Metric, *keys: str, suffix: str = "") -> Counter[tuple[str, ...]]:
        """The sums of a metric for each value of these attributes, without those that are 0."""
        sums: Counter[tuple[str, ...]] = Counter()
        for reading in self._by_name.get(metric.prometheus_name + suffix, ()):
            if reading.value:
                sums[tuple(reading.labels.get(prometheus_label(key), "") for key in keys)] += int(reading.value)
        return sums

    def series(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Each series by its name and labels; when a series was made is not part of what it says.

        The last digits are left out: two threads may add to one sum in another order on another route.
        """
        return {
            (each.name, tuple(sorted(each.labels.items()))): float(f"{each.value:.12g}")
            for each in self
            if not each.name.endswith("_created")
        }


def of_registry(registry: CollectorRegistry) -> Readings:
    """What a scraper reads that asks for OpenMetrics."""
    return of_page(_render(registry).decode())


def of_page(page: str) -> Readings:
    """What an OpenMetrics page says."""
    return Readings(reading for family in _parse(page) for reading in _of_family(family))


def of_text(registry: CollectorRegistry) -> Readings:
    """What a scraper reads that asks for nothing: it sees no exemplars, and minds the order of lines less."""
    return of_text_page(_render_text(registry).decode())


def of_text_page(page: str) -> Readings:
    """What a page in the text format says."""
    return Readings(reading for family in _parse_text(page) for reading in _of_family(family))


def _of_family(family: Family) -> Iterator[Reading]:
    for sample in family.samples:
        exemplar = sample.exemplar
        examples = () if exemplar is None else (Example(exemplar.labels["trace_id"], exemplar.labels["span_id"]),)
        yield Reading(sample.name, plain(sample.labels), sample.value, examples)


def plain(labels: Labels) -> Labels:
    """Labels without the empty ones, and with a number for ``le``."""
    return {key: str(float(value)) if key == "le" else value for key, value in labels.items() if value != ""}


def of_otlp(request: ExportMetricsServiceRequest) -> Readings:
    """What an OTLP request says, as Prometheus would have it."""
    return Readings(
        reading
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name in _BY_NAME
        for reading in _of_metric(_BY_NAME[metric.name], metric)
    )


def _of_metric(schema: Metric, metric: Any) -> Iterator[Reading]:
    for point in getattr(metric, metric.WhichOneof("data")).data_points:
        labels = {prometheus_label(item.key): item.value.string_value for item in point.attributes}
        examples = tuple(Example(each.trace_id.hex(), each.span_id.hex()) for each in point.exemplars)
        if schema.kind is Kind.HISTOGRAM:
            yield from _of_histogram(schema.prometheus_name, labels, point, examples)
        else:
            yield Reading(schema.prometheus_name, labels, getattr(point, point.WhichOneof("value")), examples)


def _of_histogram(name: str, labels: Labels, point: Any, examples: tuple[Example, ...]) -> Iterator[Reading]:
    yield Reading(f"{name}_count", labels, point.count, examples)
    yield Reading(f"{name}_sum", labels, point.sum)
    below = 0
    for bound, count in zip((*point.explicit_bounds, float("inf")), point.bucket_counts, strict=True):
        below += count
        yield Reading(f"{name}_bucket", {**labels, "le": str(float(bound))}, below)
