"""Measurements on their way to the back ends: a cached series for each label set, behind the cardinality guard."""

from __future__ import annotations

from collections.abc import Sequence

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.backends import Backend, Series
from cycles_otel.telemetry.cardinality import CardinalityGuard
from cycles_otel.telemetry.exemplar import Exemplar
from cycles_otel.telemetry.schema import Kind, Metric

_CARDINALITY = ("metrics", "cardinality")


class Metrics:
    """Takes the value of any metric in the table, and passes it to each back end.

    ``beside``, where it is set, is told the same: it has series and bounds of its own, for one test.
    """

    def __init__(self, guard: CardinalityGuard, backends: Sequence[Backend] = ()) -> None:
        self._guard = guard
        self.beside: Metrics | None = None
        self.route(backends)

    def route(self, backends: Sequence[Backend]) -> None:
        """From now on measurements go to ``backends``, and only there."""
        self._backends = tuple(backends)
        self._series: dict[str, dict[tuple[str, ...], tuple[Series, ...]]] = {
            metric.name: {} for metric in semconv.METRICS
        }

    @property
    def is_routed(self) -> bool:
        """Whether measurements go anywhere."""
        return bool(self._backends) or self.beside is not None

    def record(
        self, metric: Metric, value: float, labels: tuple[str, ...] = (), exemplar: Exemplar | None = None
    ) -> None:
        """Count, set or observe ``value``; ``labels`` stand in the order of the metric's attributes, "" for none."""
        series = self._series[metric.name].get(labels)
        for take in self._bind(metric, labels) if series is None else series:
            take(value, exemplar)
        if self.beside is not None:
            self.beside.record(metric, value, labels, exemplar)

    def forget(self, metric: Metric, labels: tuple[str, ...]) -> None:
        """Let a series of a gauge disappear until it is set again; one that is not shown is passed over.

        Where a back end cannot take it out (``prometheus_client`` in multiprocess mode), it keeps its last value and
        its place in the guard.
        """
        if self.beside is not None:
            self.beside.forget(metric, labels)
        if self._series[metric.name].pop(labels, None) is None:
            return
        gone = [backend.forget(metric, labels) for backend in self._backends]
        if all(gone):
            self._guard.forget(metric, labels)

    def _bind(self, metric: Metric, labels: tuple[str, ...]) -> tuple[Series, ...]:
        admitted = self._guard.admit(metric, labels)
        if admitted != labels:
            for drop in self._bind(semconv.TELEMETRY_DROPPED, _CARDINALITY):
                drop(1, None)
            if metric.kind is Kind.GAUGE:
                # The last of many budgets under one name would be a wrong figure, not a sum.
                return ()
        cache = self._series[metric.name]
        if admitted not in cache:
            cache[admitted] = tuple(backend.series(metric, admitted) for backend in self._backends)
        return cache[admitted]
