"""How the table of telemetry declares a span and a metric, and how a name is spelled on each route."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class Span:
    """A span: its ``name`` may be followed by one attribute's value, which ``suffix`` names."""

    name: str
    suffix: str | None
    kind: str
    parent: str
    covers: str


class Kind(Enum):
    """The type of an instrument."""

    COUNTER = "counter"
    UPDOWNCOUNTER = "updowncounter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True)
class Metric:
    """One metric, for both back ends.

    Parameters
    ----------
    attributes: its keys, in the order in which an instrument takes the values.
    buckets: the upper bounds of a histogram.
    multiprocess: how a gauge of several processes is put together, by ``prometheus_client``'s name for it.
    exemplars: whether a counter carries the trace that it was counted in (a histogram always does).
    """

    name: str
    kind: Kind
    unit: str
    attributes: tuple[str, ...]
    description: str
    buckets: tuple[float, ...] = ()
    multiprocess: str = ""
    exemplars: bool = False

    @property
    def prometheus_name(self) -> str:
        """The name of the series on ``/metrics``: dots as underscores, then the unit, then ``_total``."""
        base = prometheus_label(self.name) + ("_seconds" if self.unit == "s" else "")
        return base + "_total" if self.kind is Kind.COUNTER else base

    @property
    def labels(self) -> tuple[str, ...]:
        """The attribute keys as Prometheus spells them."""
        return tuple(prometheus_label(key) for key in self.attributes)


def prometheus_label(key: str) -> str:
    """An attribute key as Prometheus spells it."""
    return key.replace(".", "_")
