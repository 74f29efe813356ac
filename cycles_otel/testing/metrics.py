"""The readings of the Prometheus metrics of one test."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

from cycles_otel.errors import InvalidParameterError
from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.processes import is_multiprocess
from cycles_otel.telemetry.recorder import metrics_watched
from cycles_otel.telemetry.schema import Kind, Metric

_OF_HISTOGRAMS = ("_count", "_sum", "_bucket")


class CyclesMetrics:
    """Counts what this package counts while it watches; the fixture ``cycles_metrics`` is one that watches one test.

    Attributes
    ----------
    registry: what ``prometheus_client`` counts in, to render a page of it, say.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    @contextlib.contextmanager
    def watching(self) -> Iterator[CyclesMetrics]:
        """Count from zero what is counted from here on, beside wherever it is counted otherwise."""
        if is_multiprocess():
            raise RuntimeError(
                "PROMETHEUS_MULTIPROC_DIR is set: metrics are then those of all processes, not of one test. Unset it."
            )
        with metrics_watched(self.registry):
            yield self

    def value(self, name: str, **labels: object) -> float:
        """The sum over all series of this name that have these labels; what was never counted is 0.

        Parameters
        ----------
        name: as on ``/metrics``, such as ``cycles_client_denials_total``; of a histogram ``…_count`` or ``…_sum``.
        labels: as on ``/metrics``, or the word of it that says which: ``agent`` for ``gen_ai_agent_name``,
            ``reason`` for ``cycles_reason_code``.

        Raises
        ------
        InvalidParameterError: there is no such metric, or none with such a label.
        LookupError: a gauge is not shown, or more than one series of it fits.
        """
        metric = _metric(name)
        wanted = {_label(metric, name, word): _text(value) for word, value in labels.items()}
        found = [sample for sample in self._samples() if sample.name == name and _fits(sample.labels, wanted)]
        if metric.kind is Kind.GAUGE and len(found) != 1:
            raise LookupError(f"{len(found)} series of {name} fit {wanted}, and a gauge has no sum. There are:\n{self}")
        return sum(sample.value for sample in found)

    def __str__(self) -> str:
        """The counters and gauges that are not 0, and how often each histogram observed anything, a line each."""
        shown = (each for each in self._samples() if each.value and not each.name.endswith(_LEFT_OUT))
        return "\n".join(sorted(map(_line, shown))) or "nothing was counted"

    def _samples(self) -> Iterator[Sample]:
        return (sample for family in self.registry.collect() for sample in family.samples)


_LEFT_OUT = ("_created", "_bucket", "_sum", "_info", "_observed_seconds")
_BY_NAME: dict[str, Metric] = {
    metric.prometheus_name + suffix: metric
    for metric in semconv.METRICS
    for suffix in (_OF_HISTOGRAMS if metric.kind is Kind.HISTOGRAM else ("",))
}


def _metric(name: str) -> Metric:
    if name not in _BY_NAME:
        near = difflib.get_close_matches(str(name), _BY_NAME, cutoff=0.5)
        raise InvalidParameterError(
            "name", name, "a metric of docs/telemetry.md" + "".join(f", {each}" for each in near)
        )
    return _BY_NAME[name]


def _label(metric: Metric, name: str, word: str) -> str:
    """The label that a word of it stands for."""
    known = (*metric.labels, *(("le",) if name.endswith("_bucket") else ()))
    meant = [word] if word in known else [label for label in known if f"_{word}_" in f"_{label}_"]
    if len(meant) != 1:
        raise InvalidParameterError(f"label of {name}", word, "one of " + ", ".join(meant or known))
    return meant[0]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _fits(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return wanted.items() <= labels.items()


def _line(sample: Sample) -> str:
    labels = ", ".join(f'{key}="{value}"' for key, value in sample.labels.items() if value)
    return f"{sample.name}{{{labels}}} {sample.value:g}"
