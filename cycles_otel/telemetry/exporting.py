"""Export of spans and metrics: added to the providers of the program, or to our own where it has none.

The standard environment variables hold (``OTEL_SDK_DISABLED``, those of exporters, resource, sampler, batches and
intervals). A provider that the program has set already followed them, so only an endpoint that is given as an argument
adds to it. The default is OTLP by HTTP, and for spans only where the environment names an endpoint.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics, trace

from cycles_otel.addresses import is_http_address
from cycles_otel.telemetry.errors import TelemetrySetupError
from cycles_otel.telemetry.exporters import Signal, has_endpoint, id_generator, make_exporter, names_asked_for, sampler
from cycles_otel.telemetry.sending import Exporting, Heeded

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

logger = logging.getLogger("cycles_otel")

_SDK_MAX_SERIES = 2_000


def checked_endpoint(endpoint: str | None) -> str | None:
    """The base address of an OTLP receiver, without a slash at its end."""
    if endpoint is None:
        return None
    if not is_http_address(endpoint):
        raise TelemetrySetupError("otlp_endpoint", endpoint, "an address such as http://localhost:4318")
    return endpoint.rstrip("/")


def is_disabled() -> bool:
    """Whether the environment switches the OpenTelemetry SDK off."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def service_attributes(name: str | None, version: str | None) -> dict[str, str]:
    """What is given as arguments about the program, as attributes of a resource."""
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION

    given = {SERVICE_NAME: name, SERVICE_VERSION: version}
    return {key: value for key, value in given.items() if value}


def export_spans(
    provider: trace.TracerProvider | None, service: dict[str, str], endpoint: str | None
) -> tuple[trace.TracerProvider, list[Exporting]]:
    """Export the spans of ``provider`` (by default the global one, which is set if none is)."""
    from opentelemetry.sdk.trace import TracerProvider

    provider = provider or trace.get_tracer_provider()
    ours = isinstance(provider, trace.ProxyTracerProvider)
    exporters = [Heeded(make) for make in _exporters("traces", endpoint, from_environment=ours)]
    if ours:
        # The end of the program is ours to handle: a provider of its own would stop before the last settlement.
        provider = TracerProvider(
            sampler=sampler(), resource=_resource(service), id_generator=id_generator(), shutdown_on_exit=False
        )
        trace.set_tracer_provider(provider)
    if exporters and not isinstance(provider, TracerProvider):
        logger.warning("Spans are not exported by OTLP: the tracer provider is not the SDK's")
        return provider, []
    return provider, [_add_exporter(provider, exporter) for exporter in exporters]


def export_metrics(
    provider: metrics.MeterProvider | None, service: dict[str, str], endpoint: str | None, max_series: int = 0
) -> list[Exporting]:
    """Export the metrics of ``provider`` (by default the global one, which is set if none is).

    A gauge may have ``max_series`` series, also where the SDK by itself would fold so many into one.
    """
    from opentelemetry.sdk.metrics import MeterProvider

    provider = provider or metrics.get_meter_provider()
    if isinstance(provider, MeterProvider):
        readers = _metric_readers(endpoint, max_series, from_environment=False)
        for reader, _ in readers:
            provider.add_metric_reader(reader)
    else:
        readers = _metric_readers(endpoint, max_series, from_environment=True)
        metrics.set_meter_provider(_meter_provider(readers, service))
    return [Exporting(reader, exporter) for reader, exporter in readers]


class Anew(metrics.MeterProvider):
    """For a forked child: begins to count anew, once anything is counted, since what the parent counted is its own.

    A hook of the fork itself is no place for it: threads, on which the SDK's set-up depends, cannot be had there.

    Parameters
    ----------
    began: told what is exported from then on.
    """

    def __init__(
        self,
        service: dict[str, str],
        endpoint: str | None,
        max_series: int,
        began: Callable[[list[Exporting]], None],
    ) -> None:
        self._settings = service, endpoint, max_series
        self._began = began
        self._provider: metrics.MeterProvider | None = None
        self._lock = threading.Lock()

    def get_meter(self, *args: Any, **options: Any) -> metrics.Meter:
        """The meter of the provider that is made now."""
        with self._lock:
            if self._provider is None:
                service, endpoint, max_series = self._settings
                readers = _metric_readers(endpoint, max_series, from_environment=True)
                self._provider = _meter_provider(readers, service)
                self._began([Exporting(reader, exporter) for reader, exporter in readers])
        return self._provider.get_meter(*args, **options)


def _metric_readers(
    endpoint: str | None, max_series: int, *, from_environment: bool
) -> list[tuple[MetricReader, Heeded | None]]:
    exporters = _exporters("metrics", endpoint, from_environment=from_environment)
    return [_reader(make, max_series) for make in exporters]


def _exporters(signal: Signal, endpoint: str | None, *, from_environment: bool) -> list[Callable[[], Any]]:
    names = names_asked_for(signal) if from_environment else []
    if names is None:
        names = ["otlp"] if signal == "metrics" or has_endpoint(signal) else []
    wanted = [(name, None) for name in names if name != "otlp" or endpoint is None]
    given = [] if endpoint is None else [("otlp", endpoint)]
    return [functools.partial(make_exporter, signal, name, address) for name, address in [*given, *wanted]]


def _reader(make: Callable[[], Any], max_series: int) -> tuple[MetricReader, Heeded | None]:
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

    exporter = make()
    if isinstance(exporter, MetricReader):
        return exporter, None
    heeded: Any = Heeded(make, exporter)
    return PeriodicExportingMetricReader(heeded, **_with_room_for(max_series)), heeded


def _with_room_for(max_series: int) -> dict[str, Any]:
    """The option of a reader that lifts the SDK's own limit; newer versions have both.

    They never free the place of a series that is gone: a number of series would be reached by those that come and go.
    """
    from opentelemetry.sdk.metrics import ObservableGauge
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    is_limited = "cardinality_limits" in inspect.signature(PeriodicExportingMetricReader).parameters
    if not is_limited or max_series < _SDK_MAX_SERIES:
        return {}
    return {"cardinality_limits": {ObservableGauge: sys.maxsize}}


def _add_exporter(provider: Any, heeded: Any) -> Exporting:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    processor = BatchSpanProcessor(heeded)
    provider.add_span_processor(processor)
    return Exporting(processor, heeded)


def _meter_provider(
    readers: list[tuple[MetricReader, Heeded | None]], service: dict[str, str]
) -> metrics.MeterProvider:
    from opentelemetry.sdk.metrics import MeterProvider

    return MeterProvider([reader for reader, _ in readers], _resource(service), shutdown_on_exit=False)


def _resource(service: dict[str, str]) -> Resource:
    """What the environment and its detectors say, ``service`` before that; the SDK adds an id of this process."""
    from opentelemetry.sdk.resources import Resource

    return Resource.create(dict(service))
