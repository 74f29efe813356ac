"""Metrics by the OpenTelemetry meter, for OTLP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter

from cycles_otel._version import __version__
from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.backends import Series
from cycles_otel.telemetry.exemplar import Exemplar
from cycles_otel.telemetry.schema import Kind, Metric


class OpenTelemetryBackend:
    """Makes each instrument on ``meter_provider`` (by default the global one) when it is first used."""

    def __init__(self, meter_provider: MeterProvider | None = None) -> None:
        self._meter_provider = meter_provider
        self._instruments: dict[str, Callable[..., None]] = {}
        self._gauges: dict[str, LastValues] = {}
        self._lock = threading.Lock()

    def series(self, metric: Metric, values: tuple[str, ...]) -> Series:
        record, attributes = self._recording(metric), _attributes(metric, values)

        def series(value: float, exemplar: Exemplar | None) -> None:
            record(value, attributes, None if exemplar is None else exemplar.context)

        return series

    def forget(self, metric: Metric, values: tuple[str, ...]) -> bool:
        gauge = self._gauges.get(metric.name)
        if gauge is not None:
            gauge.forget(_attributes(metric, values))
        return gauge is not None

    def _recording(self, metric: Metric) -> Callable[..., None]:
        with self._lock:
            if metric.name not in self._instruments:
                self._instruments[metric.name] = self._create(metric)
            return self._instruments[metric.name]

    def _create(self, metric: Metric) -> Callable[..., None]:
        meter = get_meter(semconv.SCOPE, __version__, self._meter_provider)
        named: dict[str, Any] = {"name": metric.name, "unit": metric.unit, "description": metric.description}
        if metric.kind is Kind.COUNTER:
            return meter.create_counter(**named).add
        if metric.kind is Kind.UPDOWNCOUNTER:
            return meter.create_up_down_counter(**named).add
        if metric.kind is Kind.GAUGE:
            self._gauges[metric.name] = LastValues(meter, named)
            return self._gauges[metric.name].set
        return meter.create_histogram(**named, explicit_bucket_boundaries_advisory=metric.buckets).record


class LastValues:
    """A gauge that is read whenever it is exported: one that is set is exported once by some versions of the SDK."""

    def __init__(self, meter: Meter, named: Mapping[str, Any]) -> None:
        self._values: dict[tuple[tuple[str, str], ...], Observation] = {}
        meter.create_observable_gauge(callbacks=[self._observe], **named)

    def set(self, value: float, attributes: Mapping[str, str], context: object) -> None:
        self._values[tuple(attributes.items())] = Observation(value, attributes)

    def forget(self, attributes: Mapping[str, str]) -> None:
        """Leave this series out of what is exported from now on."""
        self._values.pop(tuple(attributes.items()), None)

    def _observe(self, options: CallbackOptions) -> Iterable[Observation]:
        return list(self._values.values())


def _attributes(metric: Metric, values: tuple[str, ...]) -> dict[str, str]:
    return {key: value for key, value in zip(metric.attributes, values, strict=True) if value}
