"""The recorder: everything that telemetry is recorded with, put together once for a process (or for a test)."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind

from cycles_otel._version import __version__
from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.backends import Backend
from cycles_otel.telemetry.backlogs import Backlogs
from cycles_otel.telemetry.balances import REMEMBERED, Balances
from cycles_otel.telemetry.call_hooks import CallHooks
from cycles_otel.telemetry.cardinality import MAX_SERIES, MAX_VALUES, CardinalityGuard
from cycles_otel.telemetry.errors import TelemetrySetupError
from cycles_otel.telemetry.facts import SWITCHABLE_LEVELS
from cycles_otel.telemetry.faults import Contained, Faults
from cycles_otel.telemetry.metrics import Metrics
from cycles_otel.telemetry.reservations import Replays, Reservations

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from prometheus_client import CollectorRegistry

METRICS_VARIABLE = "CYCLES_OTEL_METRICS"
MAX_VALUES_VARIABLE = "CYCLES_OTEL_MAX_VALUES"
ROUTES = ("prometheus", "otlp", "both", "none")


class Recorder:
    """Records spans and metrics, by default where any instrumented library does.

    Parameters
    ----------
    metrics: the way out for metrics: ``prometheus``, ``otlp``, ``both`` or ``none``; by default what the environment
        variable ``CYCLES_OTEL_METRICS`` says, else ``prometheus``.
    registry: the registry of ``prometheus_client``, by default its own default.
    tracer_provider, meter_provider: by default the global ones.
    subject_labels: the levels of the subject that stand on metrics: of tenant, workspace, app, workflow (the last
        three on amounts only).
    max_values: how many values of one label are told apart, by default what the environment variable
        ``CYCLES_OTEL_MAX_VALUES`` says, else 100; further ones are counted as ``_other``.
    max_series: how many label sets of one metric are told apart.

    Raises
    ------
    TelemetrySetupError: for a way out or a level that does not exist, or a bound that is none.
    """

    def __init__(
        self,
        *,
        metrics: str | None = None,
        registry: CollectorRegistry | None = None,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        subject_labels: Collection[str] = ("tenant",),
        max_values: int | None = None,
        max_series: int = MAX_SERIES,
    ) -> None:
        self.registry = registry
        self.tracer_provider = tracer_provider
        self.meter_provider = meter_provider
        self.call_hooks: CallHooks | None = None
        self._places: dict[tuple[str, str], Contained] = {}
        self.max_series = max_series
        self._guard = CardinalityGuard(checked_bound(max_values), max_series)
        self.metrics = Metrics(self._guard)
        self.faults = Faults(self.metrics)
        self.balances = Balances(self.metrics, self.subject_label, max(REMEMBERED, max_series))
        self.backlogs = Backlogs(self.metrics)
        self.reservations = Reservations()
        self.replays = Replays()
        self.show_on_metrics(subject_labels)
        self.route(metrics)
        self._traces = False
        with _lock:
            _recorders.add(self)
            self._attend()

    def route(self, metrics: str | None = None) -> str:
        """Send metrics this way from now on (see the parameter of the class), and return its name."""
        self._route = checked_route(metrics)
        self.metrics.route(self._backends(self._route))
        return self._route

    def after_fork(self) -> None:
        """In a forked child: begin to count anew, since what the parent counted is the parent's."""
        self.backlogs = Backlogs(self.metrics)
        self.route(self._route)

    def tell_apart(self, max_values: int) -> None:
        """Bound the values of one label from now on (see the parameter of the class)."""
        self._guard.max_values = checked_bound(max_values)

    def contained(self, signal: str, place: str) -> Contained:
        """A context that keeps a fault of ``signal`` (traces or metrics) from the program."""
        return self._places.get((signal, place)) or self._places.setdefault(
            (signal, place), Contained(self.faults, signal, place)
        )

    def show_on_metrics(self, subject_labels: Collection[str]) -> None:
        """Let these levels of the subject stand on metrics from now on (see the parameter of the class)."""
        self.subject_levels = _checked_levels(subject_labels)
        self.balances.relabel()

    def subject_label(self, level: str, value: str) -> str:
        """The value of a subject's level as a label: "" where the level does not stand on metrics."""
        return value if level in self.subject_levels else ""

    @property
    def traces(self) -> bool:
        """Whether anybody set up tracing; where nobody did, attributes need not be put together."""
        if not self._traces:
            # A provider that was set stays set.
            self._traces = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
        return self._traces

    @property
    def has_traces(self) -> bool:
        """What ``traces`` said when it was last asked, for what happens inside of a call."""
        return self._traces

    @property
    def is_idle(self) -> bool:
        """Whether nothing at all is recorded: neither spans nor metrics."""
        return not (self.metrics.is_routed or self.traces)

    def start_span(
        self,
        name: str,
        kind: SpanKind,
        context: Context | None,
        attributes: Mapping[str, Any] | None,
        links: Sequence[Link] | None = None,
    ) -> Span:
        """Start a span; ``context`` holds its parent, by default the current one."""
        return self._tracer.start_span(name, context, kind, attributes, links)

    def _attend(self) -> None:
        """Record for the test that watches, if one does, and otherwise where this recorder records by itself."""
        provider = self.tracer_provider if _watching.spans is None else _watching.spans
        self._traces = provider is not None
        self._tracer = trace.get_tracer(semconv.SCOPE, __version__, provider)
        self.metrics.beside = _watching.metrics

    def _backends(self, route: str) -> list[Backend]:
        backends: list[Backend] = []
        if route in ("prometheus", "both"):
            from cycles_otel.telemetry.backends.prometheus import PrometheusBackend

            backends.append(PrometheusBackend(self.registry))
        if route in ("otlp", "both"):
            from cycles_otel.telemetry.backends.opentelemetry import OpenTelemetryBackend

            backends.append(OpenTelemetryBackend(self.meter_provider))
        return backends


def checked_route(metrics: str | None) -> str:
    """The way out for metrics that was asked for, by argument or environment."""
    source = "metrics" if metrics is not None else METRICS_VARIABLE
    route = metrics if metrics is not None else os.environ.get(METRICS_VARIABLE) or ROUTES[0]
    if route not in ROUTES:
        raise TelemetrySetupError(source, route, "one of " + ", ".join(ROUTES))
    return route


def checked_bound(max_values: int | None) -> int:
    """The number of values of one label that was asked for, by argument or environment."""
    source, bound = "max_values", max_values
    if bound is None:
        text = os.environ.get(MAX_VALUES_VARIABLE, "").strip()
        if not text:
            return MAX_VALUES
        source, bound = MAX_VALUES_VARIABLE, int(text) if text.isdecimal() else 0
    if isinstance(bound, bool) or not isinstance(bound, int) or bound < 1:
        raise TelemetrySetupError(source, text if max_values is None else bound, "a whole number from 1")
    return bound


def _checked_levels(levels: Collection[str]) -> frozenset[str]:
    unknown = set(levels) - set(SWITCHABLE_LEVELS)
    if isinstance(levels, str) or unknown:
        raise TelemetrySetupError("subject_labels", levels, "a collection of " + ", ".join(SWITCHABLE_LEVELS))
    return frozenset(levels)


@dataclass
class _Watching:
    """Where all recorders of the process record while a test watches."""

    spans: trace.TracerProvider | None = None
    metrics: Metrics | None = None

    def set(self, **watching: Any) -> None:
        with _lock:
            vars(self).update(watching)
            for recorder in list(_recorders):
                recorder._attend()


_watching = _Watching()
_recorders: WeakSet[Recorder] = WeakSet()
_default: Recorder | None = None
_lock = threading.RLock()


@contextlib.contextmanager
def spans_watched(provider: trace.TracerProvider) -> Iterator[None]:
    """All spans of this package go to ``provider``, and only there, whatever provider each recorder was given."""
    before = _watching.spans
    _watching.set(spans=provider)
    try:
        yield
    finally:
        _watching.set(spans=before)


@contextlib.contextmanager
def metrics_watched(registry: CollectorRegistry) -> Iterator[None]:
    """All metrics of this package are counted in ``registry`` as well, whatever way out each recorder has."""
    from cycles_otel.telemetry.backends.prometheus import PrometheusBackend

    before = _watching.metrics
    _watching.set(metrics=Metrics(CardinalityGuard(), [PrometheusBackend(registry)]))
    try:
        yield
    finally:
        _watching.set(metrics=before)


def default_recorder() -> Recorder:
    """The recorder that a process shares, made when it is first asked for."""
    global _default
    with _lock:
        if _default is None:
            _default = Recorder()
        return _default


def _after_fork() -> None:
    for recorder in list(_recorders):
        recorder.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
