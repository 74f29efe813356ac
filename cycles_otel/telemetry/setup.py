"""The one call that sets up telemetry for a program: where its spans go, and where its metrics are read."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Collection

from opentelemetry import trace

from cycles_otel.telemetry import exporting
from cycles_otel.telemetry.recorder import Recorder, default_recorder
from cycles_otel.telemetry.serving import MetricsServer

logger = logging.getLogger("cycles_otel")

PROMETHEUS_PORT = 9464


class Telemetry:
    """What was set up, for one recorder; ``setup_telemetry`` makes it."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._provider = recorder.tracer_provider
        self._route: str | None = None
        self._exporting: dict[tuple[str, str | None], exporting.Exporting | None] = {}
        self._servers: dict[tuple[str, int], MetricsServer] = {}

    @property
    def metrics_url(self) -> str | None:
        """The address of ``/metrics``; None where it is not served."""
        return next((server.url for server in reversed(self._servers.values())), None)

    @property
    def tracer_provider(self) -> trace.TracerProvider:
        """The provider that the spans go to."""
        return self._provider or trace.get_tracer_provider()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send the spans and metrics that wait, and say whether all of it arrived."""
        flushed = [part.force_flush(timeout_millis) for part in self._exporting.values() if part is not None]
        return all(flushed)

    def shutdown(self) -> None:
        """Send what waits, stop exporting, and stop serving; a second call does nothing."""
        with _lock:
            _set_up.pop(self._recorder, None)
            servers, self._servers = self._servers, {}
        self._stop_exporting()
        for server in servers.values():
            server.close()

    def _stop_exporting(self) -> None:
        with _lock:
            parts, self._exporting = self._exporting, {}
        for part in parts.values():
            if part is not None:
                part.shutdown()

    def _send_metrics(self, metrics: str | None) -> str:
        if metrics is not None or self._route is None:
            self._route = self._recorder.route(metrics)
            if self._route == "both":
                logger.warning("Metrics leave by two ways: one Prometheus that gets both counts everything twice")
        return self._route

    def _serve(self, host: str, port: int) -> None:
        if (host, port) not in self._servers:
            self._servers[host, port] = MetricsServer(host, port, self._recorder.registry)

    def _export(self, service_name: str | None, endpoint: str | None, *, with_metrics: bool) -> None:
        if ("spans", endpoint) not in self._exporting:
            self._provider, spans = exporting.export_spans(self._provider, service_name, endpoint)
            self._exporting["spans", endpoint] = spans
        if with_metrics and ("metrics", endpoint) not in self._exporting:
            meters, most = self._recorder.meter_provider, self._recorder.max_series
            self._exporting["metrics", endpoint] = exporting.export_metrics(meters, service_name, endpoint, most)


_set_up: dict[Recorder, Telemetry] = {}
_lock = threading.RLock()


def setup_telemetry(
    service_name: str | None = None,
    *,
    metrics: str | None = None,
    prometheus_port: int | None = PROMETHEUS_PORT,
    prometheus_host: str = "127.0.0.1",
    otlp_endpoint: str | None = None,
    subject_labels: Collection[str] | None = None,
    recorder: Recorder | None = None,
) -> Telemetry:
    """Set up spans and metrics for this process, and return a handle on what was set up.

    It never replaces a provider that the program has set. A second call returns the same handle, and adds what is
    new in it. What waits is sent when the program ends.

    Parameters
    ----------
    service_name: the name of the program in traces, by default what ``OTEL_SERVICE_NAME`` says.
    metrics: ``prometheus`` serves them, ``otlp`` sends them, ``both`` does both (and counts twice in a Prometheus
        that gets both), ``none`` records none; by default what ``CYCLES_OTEL_METRICS`` says, else ``prometheus``.
    prometheus_port: where ``/metrics`` is served; 0 picks a free port, None serves nothing.
    otlp_endpoint: the base address of an OTLP receiver (HTTP, protobuf), such as ``http://localhost:4318``; by
        default what ``OTEL_EXPORTER_OTLP_ENDPOINT`` says, where the program has set no provider of its own.
    subject_labels: the levels of the subject on metrics (tenant, workspace, app, workflow), by default the tenant.
    recorder: whose telemetry is set up, by default that of the process.

    Raises
    ------
    TelemetrySetupError: for an argument that cannot be used; a port that is taken, for instance.
    """
    recorder = recorder or default_recorder()
    endpoint = exporting.checked_endpoint(otlp_endpoint)
    with _lock:
        telemetry = _set_up.setdefault(recorder, Telemetry(recorder))
        if subject_labels is not None:
            recorder.show_on_metrics(subject_labels)
        route = telemetry._send_metrics(metrics)
        if prometheus_port is not None and route in ("prometheus", "both"):
            telemetry._serve(prometheus_host, prometheus_port)
        if not exporting.is_disabled():
            telemetry._export(service_name, endpoint, with_metrics=route in ("otlp", "both"))
        return telemetry


@atexit.register
def _send_what_waits() -> None:
    # The pages need no end of their own: their threads end with the process.
    for telemetry in list(_set_up.values()):
        telemetry._stop_exporting()
