"""The one call that sets up telemetry for a program: where its spans go, and where its metrics are read."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from opentelemetry import trace

from cycles_otel.telemetry import ending, exporting
from cycles_otel.telemetry.errors import TelemetrySetupError
from cycles_otel.telemetry.recorder import Recorder, default_recorder
from cycles_otel.telemetry.sending import Exporting
from cycles_otel.telemetry.serving import MetricsServer

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

logger = logging.getLogger("cycles_otel")

PROMETHEUS_PORT = 9464
FLUSH_TIMEOUT = 5.0
_LONGEST_FLUSH = 600.0


class Telemetry:
    """What was set up, for one recorder; ``setup_telemetry`` makes it."""

    def __init__(self, recorder: Recorder) -> None:
        self.flush_timeout = FLUSH_TIMEOUT
        self._recorder = recorder
        self._provider = recorder.tracer_provider
        self._route: str | None = None
        self._service: dict[str, str] = {}
        self._exporting: dict[tuple[str, str | None], list[Exporting]] = {}
        self._servers: dict[tuple[str, int], MetricsServer] = {}

    @property
    def metrics_url(self) -> str | None:
        """The address of ``/metrics``; None where it is not served."""
        return next((server.url for server in reversed(self._servers.values())), None)

    @property
    def tracer_provider(self) -> trace.TracerProvider:
        """The provider that the spans go to."""
        return self._provider or trace.get_tracer_provider()

    @property
    def exports(self) -> bool:
        """Whether anything waits to be sent, now and then."""
        return any(self._exporting.values())

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send the spans and metrics that wait, and say whether all of it arrived."""
        flushed = [part.force_flush(timeout_millis) for part in self._parts()]
        return all(flushed)

    def shutdown(self) -> None:
        """Send what waits, for ``flush_timeout`` s at most, and stop serving; a second call does nothing."""
        with _lock:
            _set_up.pop(self._recorder, None)
            servers, self._servers = self._servers, {}
        self.stop_exporting(self.flush_timeout)
        for server in servers.values():
            server.close()

    def stop_exporting(self, timeout: float) -> None:
        """Send what waits, and stop; wait ``timeout`` s for it. It takes no lock: a signal handler may call it."""
        deadline, parts, self._exporting = time.monotonic() + timeout, self._parts(), {}
        for part in parts:
            part.begin_shutdown()
        done = [part.is_shut_down(max(deadline - time.monotonic(), 0)) for part in parts]
        if not all(done):
            logger.warning("Not all telemetry could be sent within %s s: the rest is lost", timeout)

    def after_fork(self) -> None:
        """In a forked child: the pages stay the parent's, and what is exported begins anew."""
        for server in self._servers.values():
            server.after_fork()
        self._servers = {}
        for part in self._parts():
            part.after_fork()
        for (signal, endpoint), parts in self._exporting.items():
            if signal == "metrics" and parts:
                self._recorder.meter_provider = exporting.Anew(
                    self._service, endpoint, self._recorder.max_series, parts.extend
                )
                self._recorder.route(self._route)

    def _parts(self) -> list[Exporting]:
        return [part for parts in list(self._exporting.values()) for part in parts]

    def _send_metrics(self, metrics: str | None, registry: CollectorRegistry | None) -> str:
        if registry is not None and registry is not self._recorder.registry:
            if self._servers:
                raise TelemetrySetupError("registry", registry, "the registry that is served already")
            self._recorder.registry, metrics = registry, metrics or self._route
            self._route = None
        if metrics is not None or self._route is None:
            self._route = self._recorder.route(metrics)
            if self._route == "both":
                logger.warning("Metrics leave by two ways: one Prometheus that gets both counts everything twice")
        return self._route

    def _serve(self, host: str, port: int, *, next_free: bool) -> None:
        if (host, port) not in self._servers:
            self._servers[host, port] = MetricsServer(host, port, self._recorder.registry, next_free=next_free)

    def _export(self, endpoint: str | None, *, with_metrics: bool) -> None:
        if ("spans", endpoint) not in self._exporting:
            self._provider, parts = exporting.export_spans(self._provider, self._service, endpoint)
            self._exporting["spans", endpoint] = parts
        if with_metrics and ("metrics", endpoint) not in self._exporting:
            meters, most = self._recorder.meter_provider, self._recorder.max_series
            self._exporting["metrics", endpoint] = exporting.export_metrics(meters, self._service, endpoint, most)


_set_up: dict[Recorder, Telemetry] = {}
_lock = threading.RLock()


def setup_telemetry(
    service_name: str | None = None,
    *,
    service_version: str | None = None,
    metrics: str | None = None,
    prometheus_port: int | None = PROMETHEUS_PORT,
    prometheus_host: str = "127.0.0.1",
    next_free_port: bool = False,
    registry: CollectorRegistry | None = None,
    otlp_endpoint: str | None = None,
    subject_labels: Collection[str] | None = None,
    max_values: int | None = None,
    flush_timeout: float | None = None,
    recorder: Recorder | None = None,
) -> Telemetry:
    """Set up spans and metrics for this process, and return a handle on what was set up.

    It never replaces a provider that the program has set. A second call returns the same handle, and adds what is
    new in it. What waits is sent when the program ends, by itself or by SIGTERM where the program handles that not.

    Parameters
    ----------
    service_name: the name of the program in traces, by default what ``OTEL_SERVICE_NAME`` says.
    service_version: the version of the program, by default what ``OTEL_RESOURCE_ATTRIBUTES`` says.
    metrics: ``prometheus`` serves them, ``otlp`` sends them, ``both`` does both (and counts twice in a Prometheus
        that gets both), ``none`` records none; by default what ``CYCLES_OTEL_METRICS`` says, else ``prometheus``.
    prometheus_port: where ``/metrics`` is served; 0 picks a free port, None serves nothing.
    next_free_port: whether a port that is taken makes the next ones be tried; else it is an error.
    registry: the registry of ``prometheus_client`` that metrics are made in, by default its own default.
    otlp_endpoint: the base address of an OTLP receiver, such as ``http://localhost:4318``; by default what
        ``OTEL_EXPORTER_OTLP_ENDPOINT`` says, where the program has set no provider of its own.
    subject_labels: the levels of the subject on metrics (tenant, workspace, app, workflow), by default the tenant.
    max_values: how many values of one label are told apart, by default what ``CYCLES_OTEL_MAX_VALUES`` says, else 100.
    flush_timeout: how long the end of the program waits for what is still to be sent, in s, by default 5.
    recorder: whose telemetry is set up, by default that of the process.

    Raises
    ------
    TelemetrySetupError: for an argument or a variable that cannot be used; a port that is taken, for instance.
    """
    recorder = recorder or default_recorder()
    endpoint = exporting.checked_endpoint(otlp_endpoint)
    with _lock:
        telemetry = _set_up.setdefault(recorder, Telemetry(recorder))
        telemetry._service |= exporting.service_attributes(service_name, service_version)
        if flush_timeout is not None:
            telemetry.flush_timeout = _checked_timeout(flush_timeout)
        if subject_labels is not None:
            recorder.show_on_metrics(subject_labels)
        if max_values is not None:
            recorder.tell_apart(max_values)
        route = telemetry._send_metrics(metrics, registry)
        if prometheus_port is not None and route in ("prometheus", "both"):
            telemetry._serve(prometheus_host, prometheus_port, next_free=next_free_port)
        if not exporting.is_disabled():
            telemetry._export(endpoint, with_metrics=route in ("otlp", "both"))
        if telemetry.exports:
            ending.send_at_the_end(_send_what_waits)
        return telemetry


def _checked_timeout(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= _LONGEST_FLUSH:
        raise TelemetrySetupError("flush_timeout", seconds, f"seconds from 0 to {_LONGEST_FLUSH:g}")
    return float(seconds)


def _send_what_waits() -> None:
    # The pages need no end of their own: their threads end with the process.
    for telemetry in list(_set_up.values()):
        telemetry.stop_exporting(telemetry.flush_timeout)


def _after_fork() -> None:
    for telemetry in list(_set_up.values()):
        telemetry.after_fork()


ending.in_forked_children(_after_fork)
