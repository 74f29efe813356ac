"""Metrics for ``/metrics``, by ``prometheus_client``: in one process, or in several with its multiprocess mode."""

from __future__ import annotations

import os
import threading
from typing import Any, Literal, cast
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.backends import Series
from cycles_otel.telemetry.backends.gauges import LastValues
from cycles_otel.telemetry.exemplar import Exemplar
from cycles_otel.telemetry.processes import is_multiprocess
from cycles_otel.telemetry.schema import Kind, Metric

Instrument = Counter | Gauge | Histogram | LastValues
GaugeMode = Literal["livesum", "livemax", "livemostrecent"]

_lock = threading.Lock()
_instruments: WeakKeyDictionary[CollectorRegistry, dict[str, Instrument]] = WeakKeyDictionary()


class PrometheusBackend:
    """Registers each metric with ``registry`` when it is first used, and once however many recorders share it."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry if registry is not None else REGISTRY
        self._one_process = not is_multiprocess()

    def series(self, metric: Metric, values: tuple[str, ...]) -> Series:
        child: Any = _instrument(self._registry, metric)
        if isinstance(child, LastValues):
            return child.series(values)
        if values:
            child = child.labels(*values)
        if metric.kind is Kind.COUNTER:
            return _counting(child.inc, metric.exemplars and self._one_process)
        if metric.kind is Kind.HISTOGRAM:
            return _counting(child.observe, self._one_process)
        return _plain(child.set if metric.kind is Kind.GAUGE else child.inc)

    def forget(self, metric: Metric, values: tuple[str, ...]) -> bool:
        # The files of the multiprocess mode have no way to take a series out.
        gauge = _instrument(self._registry, metric)
        if isinstance(gauge, LastValues):
            gauge.forget(values)
        return isinstance(gauge, LastValues)


def _counting(method: Any, exemplars: bool) -> Series:
    def series(value: float, exemplar: Exemplar | None) -> None:
        method(value, exemplar.labels if exemplars and exemplar is not None else None)

    return series


def _plain(method: Any) -> Series:
    def series(value: float, exemplar: Exemplar | None) -> None:
        method(value)

    return series


def _instrument(registry: CollectorRegistry, metric: Metric) -> Instrument:
    with _lock:
        instruments = _instruments.setdefault(registry, {})
        if metric.name not in instruments:
            instruments[metric.name] = _register(registry, metric)
        return instruments[metric.name]


def _register(registry: CollectorRegistry, metric: Metric) -> Instrument:
    name, labels = metric.prometheus_name, metric.labels
    if metric.kind is Kind.COUNTER:
        return Counter(name, metric.description, labels, registry=registry)
    if metric.kind is Kind.HISTOGRAM:
        return Histogram(name, metric.description, labels, registry=registry, buckets=metric.buckets)
    if metric.kind is Kind.GAUGE and not is_multiprocess():
        gauge = LastValues(metric)
        registry.register(gauge)
        return gauge
    mode = cast("GaugeMode", metric.multiprocess)
    return Gauge(name, metric.description, labels, registry=registry, multiprocess_mode=mode)


def _forget_what_the_parent_counted() -> None:
    """In a forked child. What a gauge says holds here too; and the multiprocess mode begins new files by itself."""
    if is_multiprocess():
        return
    for registry, instruments in list(_instruments.items()):
        for metric in semconv.METRICS:
            if metric.kind is not Kind.GAUGE and metric.name in instruments:
                registry.unregister(instruments.pop(metric.name))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_what_the_parent_counted)
