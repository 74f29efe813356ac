"""How a PromQL expression is spelled: durations, sums by labels, the rate of a counter from its birth on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Metric, prometheus_label

MINUTE, HOUR, DAY = 60, 3_600, 86_400
WINDOW = 5 * MINUTE
"""Seconds over which the rates of raw series are taken."""
INTERVAL = 30
"""Seconds from one evaluation of a group to the next."""

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_PROCESS = "job, instance"


@dataclass(frozen=True)
class Clock:
    """Spells durations; every one of them is ``scale`` times as long as it says.

    The shipped rules have the scale 1. A test that lets the real cause fire the real expression within seconds takes
    a smaller one.
    """

    scale: float = 1.0

    def seconds(self, seconds: float) -> str:
        """A number of seconds, to compare with or to divide by."""
        return f"{seconds * self.scale:.12g}"

    def duration(self, seconds: float) -> str:
        """A duration, such as a range or a ``for``."""
        milliseconds = max(1, round(seconds * self.scale * 1_000))
        unit, length = next((unit, length) for unit, length in _UNITS if milliseconds % length == 0)
        return f"{milliseconds // length}{unit}"


def aggregate(operator: str, labels: Iterable[str], expression: str) -> str:
    """``operator by (labels) (expression)``; what does not stand among the labels vanishes."""
    by = ", ".join(labels)
    return f"{operator} by ({by}) (\n{indent(expression)}\n)" if by else f"{operator}(\n{indent(expression)}\n)"


def where(matches: dict[str, str]) -> str:
    """A selector: each attribute is a value, or matches a regular expression."""
    return (
        "{" + ", ".join(f'{prometheus_label(key)}{_operator(value)}"{value}"' for key, value in matches.items()) + "}"
    )


def _operator(value: str) -> str:
    return "=" if value.replace("_", "").isalnum() else "=~"


def rate(metric: Metric, clock: Clock) -> str:
    """The rate per second of each series of a counter, the first increment included.

    A counter that has labels appears with its first increment, which ``rate`` does not see: what happens once would
    never be noticed, and what a short-lived process spent would be lost. So a series that is younger here than the
    info series of its process counts from 0. One that appears together with its process (after a gap in scraping, say)
    does not: what it had counted before is not of this window.
    """
    name, info, window = metric.prometheus_name, semconv.INFO.prometheus_name, clock.duration(WINDOW)
    known = aggregate("max", [_PROCESS], f"count_over_time({info}[{window}])")
    return "\n".join(
        (
            f"({name} unless {name} offset {window}) / {clock.seconds(WINDOW)}",
            "  and",
            f"count_over_time({name}[{window}]) < on ({_PROCESS}) group_left () {known}",
            "  or",
            f"rate({name}[{window}])",
        )
    )


def indent(expression: str) -> str:
    """The expression two columns further to the right."""
    return "\n".join("  " + line for line in expression.splitlines())
