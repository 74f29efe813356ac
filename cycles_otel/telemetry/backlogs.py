"""The settlements that wait, of everything in a process that settles: the gauges show them together."""

from __future__ import annotations

import threading
import time
from weakref import WeakKeyDictionary

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.metrics import Metrics


class Backlogs:
    """Adds up what each hooks object tells of its own journal."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._told: WeakKeyDictionary[object, tuple[int, float | None]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    def tell(self, teller: object, pending: int, oldest: float | None) -> None:
        """What waits for ``teller`` now: how many settlements, and for how many s the oldest has."""
        now = time.monotonic()
        with self._lock:
            self._told[teller] = pending, None if oldest is None else now - oldest
            told = list(self._told.values())
        self._metrics.record(semconv.BACKLOG, sum(waiting for waiting, _ in told))
        begins = [since for _, since in told if since is not None]
        self._metrics.record(semconv.OLDEST, now - min(begins) if begins else 0.0)
