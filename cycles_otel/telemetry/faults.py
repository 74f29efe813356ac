"""Faults of the telemetry itself: contained, logged once, counted, and never seen by the program."""

from __future__ import annotations

import contextlib
import logging
import threading
from types import TracebackType

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.metrics import Metrics

logger = logging.getLogger("cycles_otel")


class Faults:
    """Contains exceptions at places that have a name."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._logged: set[str] = set()
        self._lock = threading.Lock()

    def note(self, signal: str, place: str, error: Exception) -> None:
        """Count a fault of ``signal`` (traces, metrics), and log it if it is the first at this place."""
        with self._lock:
            first = place not in self._logged
            self._logged.add(place)
        if first:
            logger.warning("Telemetry failed at %s; further faults there are only counted", place, exc_info=error)
        with contextlib.suppress(Exception):
            self._metrics.record(semconv.TELEMETRY_DROPPED, 1, (signal, type(error).__name__))


class Contained:
    """A context that lets no ``Exception`` out; it can be entered many times, by many threads at once."""

    __slots__ = ("_faults", "_place", "_signal")

    def __init__(self, faults: Faults, signal: str, place: str) -> None:
        self._faults = faults
        self._signal = signal
        self._place = place

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._faults.note(self._signal, self._place, error)
        return True
