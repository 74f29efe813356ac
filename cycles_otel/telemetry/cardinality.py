"""The guard of cardinality: free text cannot make the number of series grow without bound."""

from __future__ import annotations

import threading

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Metric

MAX_VALUES = 100
MAX_SERIES = 1_000


class CardinalityGuard:
    """Admits the first values of each free-text label, and the first label sets of each metric; folds the rest.

    Parameters
    ----------
    max_values: how many values of one label are told apart, in all metrics together.
    max_series: how many label sets of one metric are told apart.
    """

    def __init__(self, max_values: int = MAX_VALUES, max_series: int = MAX_SERIES) -> None:
        self._max_values = max_values
        self._max_series = max_series
        self._values: dict[str, set[str]] = {}
        self._series: dict[str, set[tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def admit(self, metric: Metric, values: tuple[str, ...]) -> tuple[str, ...]:
        """The label values under which the measurement is counted: the given ones, or with some as ``_other``."""
        with self._lock:
            known = self._series.setdefault(metric.name, set())
            if values in known:
                return values
            folded = tuple(map(self._admit_value, metric.attributes, values))
            if folded not in known and len(known) >= self._max_series:
                return tuple(map(_fold, metric.attributes, values))
            known.add(folded)
            return folded

    def _admit_value(self, key: str, value: str) -> str:
        if key not in semconv.FREE_TEXT or not value:
            return value
        known = self._values.setdefault(key, set())
        if value in known:
            return value
        if len(known) >= self._max_values:
            return semconv.OTHER
        known.add(value)
        return value


def _fold(key: str, value: str) -> str:
    return semconv.OTHER if value and key in semconv.FREE_TEXT else value
