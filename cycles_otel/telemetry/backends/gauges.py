"""Gauges for ``/metrics`` that are read when they are scraped, as those of the OpenTelemetry meter are.

To note the last value of a series is one store into a dictionary: the balances in every reply set several gauges.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from cycles_otel.telemetry.backends import Series
from cycles_otel.telemetry.exemplar import Exemplar
from cycles_otel.telemetry.schema import Metric


class LastValues(Collector):
    """The collector of one gauge of a process."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._values: dict[tuple[str, ...], float] = {}

    def series(self, values: tuple[str, ...]) -> Series:
        """The series with these label values: it shows what it took last."""
        noted = self._values

        def series(value: float, exemplar: Exemplar | None) -> None:
            noted[values] = value

        return series

    def forget(self, values: tuple[str, ...]) -> None:
        """Show this series no more, until it is set again."""
        self._values.pop(values, None)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The family without series, from which a registry takes the name."""
        yield GaugeMetricFamily(self._metric.prometheus_name, self._metric.description, labels=self._metric.labels)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The family as it is now."""
        for family in self.describe():
            for values, value in list(self._values.items()):
                family.add_metric(values, value)
            yield family
