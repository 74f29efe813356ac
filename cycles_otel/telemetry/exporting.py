"""OTLP export of spans and metrics: added to the providers of the program, or to our own where it has none.

The standard environment variables hold: ``OTEL_SDK_DISABLED``, ``OTEL_SERVICE_NAME``, ``OTEL_RESOURCE_ATTRIBUTES``,
``OTEL_TRACES_SAMPLER``, ``OTEL_TRACES_EXPORTER``, ``OTEL_METRICS_EXPORTER`` and ``OTEL_EXPORTER_OTLP_*``. A provider
that the program has set already followed them, so only an endpoint that is given as an argument adds to it.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from opentelemetry import metrics, trace

from cycles_otel.telemetry.errors import TelemetrySetupError

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

logger = logging.getLogger("cycles_otel")

_ENDPOINT_VARIABLES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_{}_ENDPOINT"
_PROTOCOL_VARIABLES = "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_{}_PROTOCOL"
_PROTOCOL = "http/protobuf"
_SDK_MAX_SERIES = 2_000


class Sender(Protocol):
    """What sends by itself, now and then: a span processor or a metric reader."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is waiting."""

    def shutdown(self) -> None:
        """Send what is waiting, and stop."""


class Heeded:
    """An exporter that counts what did not arrive: a sender of the SDK forgets that."""

    def __init__(self, exporter: Any) -> None:
        self._exporter = exporter
        self.failures = 0

    def export(self, batch: Any, *args: Any, **options: Any) -> Any:
        """Send a batch, and note whether that worked."""
        result = self._exporter.export(batch, *args, **options)
        self.failures += result.name != "SUCCESS"
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exporter, name)


class Exporting:
    """What has been set up to export."""

    def __init__(self, sender: Sender, exporter: Heeded) -> None:
        self._sender = sender
        self._exporter = exporter

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is waiting, and say whether all of it arrived since this was last asked."""
        flushed = self._sender.force_flush(timeout_millis)
        failures, self._exporter.failures = self._exporter.failures, 0
        return flushed and not failures

    def shutdown(self) -> None:
        """Send what is waiting, and stop."""
        self._sender.shutdown()


def checked_endpoint(endpoint: str | None) -> str | None:
    """The base address of an OTLP receiver, without a slash at its end."""
    if endpoint is None:
        return None
    parts = urlsplit(endpoint) if isinstance(endpoint, str) else urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise TelemetrySetupError("otlp_endpoint", endpoint, "an address such as http://localhost:4318")
    return endpoint.rstrip("/")


def is_disabled() -> bool:
    """Whether the environment switches the OpenTelemetry SDK off."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def export_spans(
    provider: trace.TracerProvider | None, service_name: str | None, endpoint: str | None
) -> tuple[trace.TracerProvider, Exporting | None]:
    """Export the spans of ``provider`` (by default the global one, which is set if none is)."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = provider or trace.get_tracer_provider()
    ours = isinstance(provider, trace.ProxyTracerProvider)
    if ours:
        # The end of the program is ours to handle: a provider of its own would stop before the last settlement.
        provider = TracerProvider(resource=_resource(service_name), shutdown_on_exit=False)
        trace.set_tracer_provider(provider)
    if endpoint is None and not (ours and _is_configured("TRACES")):
        return provider, None
    if not isinstance(provider, TracerProvider):
        logger.warning("Spans are not exported by OTLP: the tracer provider is not the SDK's")
        return provider, None
    exporter = _span_exporter(endpoint)
    processor = BatchSpanProcessor(exporter)
    provider.add_span_processor(processor)
    return provider, Exporting(processor, exporter)


def export_metrics(
    provider: metrics.MeterProvider | None, service_name: str | None, endpoint: str | None, max_series: int = 0
) -> Exporting | None:
    """Export the metrics of ``provider`` (by default the global one, which is set if none is).

    A gauge may have ``max_series`` series, also where the SDK by itself would fold so many into one.
    """
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    provider = provider or metrics.get_meter_provider()
    theirs = isinstance(provider, MeterProvider)
    if endpoint is None and (theirs or os.environ.get("OTEL_METRICS_EXPORTER", "otlp") != "otlp"):
        return None
    exporter = _metric_exporter(endpoint)
    reader = PeriodicExportingMetricReader(exporter, **_with_room_for(max_series))
    if isinstance(provider, MeterProvider):
        provider.add_metric_reader(reader)
    else:
        metrics.set_meter_provider(MeterProvider([reader], _resource(service_name), shutdown_on_exit=False))
    return Exporting(reader, exporter)


def _is_configured(signal: str) -> bool:
    exporter = os.environ.get(f"OTEL_{signal}_EXPORTER")
    if exporter is not None:
        return exporter == "otlp"
    return any(os.environ.get(variable.format(signal)) for variable in _ENDPOINT_VARIABLES)


def _warn_of_protocol(signal: str) -> None:
    for variable in _PROTOCOL_VARIABLES:
        protocol = os.environ.get(variable.format(signal), _PROTOCOL)
        if protocol != _PROTOCOL:
            logger.warning("%s=%s is not supported: %s is used", variable.format(signal), protocol, _PROTOCOL)


def _span_exporter(endpoint: str | None) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    _warn_of_protocol("TRACES")
    return Heeded(OTLPSpanExporter(endpoint and f"{endpoint}/v1/traces"))


def _metric_exporter(endpoint: str | None) -> Any:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    _warn_of_protocol("METRICS")
    return Heeded(OTLPMetricExporter(endpoint and f"{endpoint}/v1/metrics"))


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


def _resource(service_name: str | None) -> Resource:
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource

    return Resource.create({SERVICE_NAME: service_name} if service_name else {})
