"""The two ways out for metrics. Both are made from the table in ``semconv``, and give the same series."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cycles_otel.telemetry.exemplar import Exemplar
from cycles_otel.telemetry.schema import Metric

Series = Callable[[float, Exemplar | None], None]
"""Takes one value of one series: it is added, set or observed, as the metric's kind demands."""


class Backend(Protocol):
    """Where measurements go."""

    def series(self, metric: Metric, values: tuple[str, ...]) -> Series:
        """The series of ``metric`` with these label values (in the order of its attributes; "" is no label)."""

    def forget(self, metric: Metric, values: tuple[str, ...]) -> bool:
        """Show this series of a gauge no more, until it is set again; False where it can only be left as it is."""
