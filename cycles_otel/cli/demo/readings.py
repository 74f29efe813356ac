"""The figures of the demo, read where a Prometheus would read them: from the metrics of the registry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

from cycles_otel.telemetry.schema import Kind, Metric, prometheus_label


class Readings:
    """What the metrics said at one moment."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._samples: dict[str, list[Sample]] = defaultdict(list)
        for family in registry.collect():
            for sample in family.samples:
                self._samples[sample.name].append(sample)

    def total(self, metric: Metric, where: Mapping[str, str] | None = None) -> int:
        """The sum of the series in which the attributes have these values; of a histogram, its count."""
        return sum(self.by(metric, (), where).values())

    def by(
        self, metric: Metric, attributes: Iterable[str], where: Mapping[str, str] | None = None
    ) -> dict[tuple[str, ...], int]:
        """The same sum for each combination of the values of ``attributes``."""
        sums: dict[tuple[str, ...], int] = defaultdict(int)
        labels = [prometheus_label(attribute) for attribute in attributes]
        wanted = {prometheus_label(attribute): value for attribute, value in (where or {}).items()}
        name = metric.prometheus_name + ("_count" if metric.kind is Kind.HISTOGRAM else "")
        for sample in self._samples[name]:
            if wanted.items() <= sample.labels.items():
                sums[tuple(sample.labels[label] for label in labels)] += int(sample.value)
        return dict(sums)
