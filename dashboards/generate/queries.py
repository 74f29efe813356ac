"""How a panel asks: recorded series that the variables of a board select, and what is made of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Metric, prometheus_label
from dashboards.generate.promql import INTERVAL
from dashboards.generate.recording import BUDGET_LABELS, recorded

USD = "USD_MICROCENTS"
MICROCENTS_PER_DOLLAR = 100_000_000
HOUR = 3_600

VARIABLES = {semconv.TENANT: "tenant", semconv.UNIT: "unit", semconv.AGENT_NAME: "agent"}
"""Attribute keys by which the viewer of a board selects, with the name of the variable for each."""

TENANT, UNIT, AGENT, TARGET, KIND, REASON, SCOPE = (
    prometheus_label(key)
    for key in (
        *(semconv.TENANT, semconv.UNIT, semconv.AGENT_NAME, semconv.TARGET, semconv.ACTION_KIND),
        *(semconv.REASON_CODE, semconv.SCOPE_PATH),
    )
)
OPERATION, ERROR, OUTCOME = (
    prometheus_label(key) for key in (semconv.OPERATION_NAME, semconv.ERROR_TYPE, semconv.RESERVATION_OUTCOME)
)

_VARIABLE_OF = {prometheus_label(key): name for key, name in VARIABLES.items()}


@dataclass(frozen=True)
class Query:
    """One query of a panel.

    Parameters
    ----------
    legend: how a series is called; ``{{label}}`` stands for the value of a label.
    instant: asked for the end of the time range only.
    exemplar: Grafana asks for the exemplars of the series in it, too.
    """

    expression: str
    legend: str = ""
    instant: bool = False
    exemplar: bool = False


def equal(key: str, value: str) -> str:
    """A matcher; the value "" is that of a label which is not there."""
    return f'{prometheus_label(key)}="{value}"'


def unequal(key: str, value: str) -> str:
    return f'{prometheus_label(key)}!="{value}"'


def series(metric: Metric, operation: str, *matchers: str, part: str = "") -> str:
    """The recorded series of a metric that the variables select, as far as it has their labels."""
    return selected(recorded(metric, operation, part), metric.labels, *matchers)


def budgets(name: str, *matchers: str) -> str:
    """The recorded series of budgets that the variables select."""
    return selected(name, BUDGET_LABELS, *matchers)


def raw(metric: Metric, *matchers: str, part: str = "") -> str:
    """The series of a metric as each process has them, and as the variables select them."""
    return selected(f"{metric.prometheus_name}_{part}" if part else metric.prometheus_name, metric.labels, *matchers)


def selected(name: str, labels: Iterable[str], *matchers: str) -> str:
    chosen = [f'{label}=~"${_VARIABLE_OF[label]}"' for label in labels if label in _VARIABLE_OF]
    braces = ", ".join((*matchers, *chosen))
    return f"{name}{{{braces}}}" if braces else name


def total(expression: str, *labels: str) -> str:
    return f"sum by ({', '.join(labels)}) ({expression})" if labels else f"sum({expression})"


def top(count: int, expression: str) -> str:
    return f"topk({count}, {expression})"


def over_range(rate: str) -> str:
    """How much it came to over the board's time range, from a recorded rate per second."""
    return f"sum_over_time({rate}[$__range:{INTERVAL}s]) * {INTERVAL}"


def dollars(microcents: str) -> str:
    return f"{microcents} / {MICROCENTS_PER_DOLLAR}"


def hourly(rate: str) -> str:
    return f"{rate} * {HOUR}"


def share(part: str, whole: str) -> str:
    """A share of what happened; absent where nothing did."""
    return f"{part} / ({whole} > 0)"


def or_nothing(expression: str) -> str:
    """0 instead of no data, as long as any process reports at all: silence is not good news."""
    return f"({expression}) or 0 * sum({recorded(semconv.INFO, 'count')})"


def quantile(of: float, metric: Metric, *labels: str, matchers: Iterable[str] = ()) -> str:
    buckets = total(series(metric, "rate5m", *matchers, part="bucket"), "le", *labels)
    return f"histogram_quantile({of:g}, {buckets})"


def exemplars(metric: Metric, *matchers: str, part: str = "") -> Query:
    """Shows the exemplars of a metric, which recorded series do not have, and reads none of its samples.

    Prometheus takes the series of an exemplar from the selector, whatever its offset; samples of so long ago there
    are none.
    """
    return Query(f"{raw(metric, *matchers, part=part)} offset 10y", "exemplars", exemplar=True)
