"""The guard of cardinality: free text cannot make the number of series grow without bound."""

from __future__ import annotations

import threading
from collections import Counter

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
        self.max_values = max_values
        self._max_series = max_series
        self._uses: dict[str, Counter[str]] = {}
        self._series: dict[str, set[tuple[str, ...]]] = {}
        self._lock = threading.Lock()

    def admit(self, metric: Metric, values: tuple[str, ...]) -> tuple[str, ...]:
        """The label values under which the measurement is counted: the given ones, or with some as ``_other``."""
        with self._lock:
            known = self._series.setdefault(metric.name, set())
            if values in known:
                return values
            folded = tuple(map(self._told_apart, metric.attributes, values))
            if folded in known:
                return folded
            if len(known) >= self._max_series:
                return tuple(map(_fold, metric.attributes, values))
            known.add(folded)
            for key, value in zip(metric.attributes, folded, strict=False):
                self._uses.setdefault(key, Counter())[value] += 1
            return folded

    def forget(self, metric: Metric, values: tuple[str, ...]) -> None:
        """Make room for others: this series is gone, and so is each value that no other series has."""
        with self._lock:
            known = self._series.get(metric.name, set())
            if values not in known:
                return
            known.remove(values)
            for key, value in zip(metric.attributes, values, strict=False):
                self._uses[key][value] -= 1
                if not self._uses[key][value]:
                    del self._uses[key][value]

    def _told_apart(self, key: str, value: str) -> str:
        if key not in semconv.FREE_TEXT or not value:
            return value
        uses = self._uses.get(key, ())
        return value if value in uses or len(uses) < self.max_values else semconv.OTHER


def _fold(key: str, value: str) -> str:
    return semconv.OTHER if value and key in semconv.FREE_TEXT else value
