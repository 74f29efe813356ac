"""Telemetry of budgets: spans and metrics of every Cycles API call, of every reservation's life and of every run.

``setup_telemetry()`` is the one call that a program makes. Without it spans go to the global tracer provider, and
metrics to the default registry of ``prometheus_client``.
"""

from cycles_otel.telemetry.client import observe_client
from cycles_otel.telemetry.errors import TelemetrySetupError
from cycles_otel.telemetry.observer import TelemetryObserver, default_observer
from cycles_otel.telemetry.pages import metrics_asgi_app, metrics_wsgi_app
from cycles_otel.telemetry.recorder import Recorder, default_recorder
from cycles_otel.telemetry.setup import Telemetry, setup_telemetry

__all__ = [
    "Recorder",
    "Telemetry",
    "TelemetryObserver",
    "TelemetrySetupError",
    "default_observer",
    "default_recorder",
    "metrics_asgi_app",
    "metrics_wsgi_app",
    "observe_client",
    "setup_telemetry",
]
