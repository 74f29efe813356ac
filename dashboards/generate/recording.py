"""The recording rules, and the names of what they record.

They take away what tells one process from another (``instance``, ``job``, pod, scope labels), so that dashboards and
alerts read a few series where thousands of processes are scraped, and so that both routes of the metrics look alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Kind, Metric
from dashboards.generate.promql import DAY, HOUR, INTERVAL, WINDOW, Clock, aggregate, rate
from dashboards.generate.server import server_rates

BUDGET_LABELS = semconv.BUDGET_OBSERVED.labels
"""What tells one budget from another."""

AMOUNTS = (
    semconv.AMOUNT_RESERVED_TOTAL,
    semconv.AMOUNT_COMMITTED_TOTAL,
    semconv.AMOUNT_RELEASED_TOTAL,
    semconv.AMOUNT_DENIED_TOTAL,
    semconv.AMOUNT_UNCHARGED_TOTAL,
)
COUNTERS = (
    *(semconv.DECISIONS, semconv.DENIALS, semconv.TOKENS, semconv.SETTLEMENT_COUNT),
    *(semconv.UNENFORCED_STEPS, semconv.UNBUDGETED_STEPS, semconv.PRICE_UNKNOWN, semconv.HOSTED_CALLS, semconv.RUNS),
    *(semconv.HEARTBEAT_FAILURES, semconv.JOURNAL_FAILURES, semconv.TELEMETRY_DROPPED, semconv.LEAKED),
)
HISTOGRAMS = (
    *(semconv.OPERATION_DURATION, semconv.RESERVATION_DURATION, semconv.ESTIMATE_RATIO),
    *(semconv.HEARTBEAT_MARGIN_SECONDS, *semconv.RUN_AMOUNTS.values()),
)
STATES = (
    (semconv.RESERVATIONS_ACTIVE, "sum"),
    (semconv.BACKLOG, "sum"),
    (semconv.OLDEST, "max"),
    (semconv.CIRCUITS_OPEN, "sum"),
    (semconv.INFO, "count"),
)
"""Gauges, each with how those of all processes make one."""


@dataclass(frozen=True)
class Recording:
    """One recording rule."""

    record: str
    expression: str


@dataclass(frozen=True)
class RecordingGroup:
    """Rules that are evaluated one after the other, so that a later one reads what an earlier one recorded."""

    name: str
    rules: tuple[Recording, ...]


def recorded(metric: Metric, operation: str, part: str = "") -> str:
    """The name under which a metric is recorded.

    Parameters
    ----------
    operation: ``rate5m``, ``rate1h``, ``rate1d`` (amounts), ``last`` (budgets), ``sum``, ``max``, ``count``.
    part: ``bucket``, ``sum`` or ``count`` of a histogram.
    """
    what = metric.prometheus_name.removeprefix("cycles_client_").removeprefix("cycles_").removesuffix("_total")
    return f"cycles:{what}_{part}:{operation}" if part else f"cycles:{what}:{operation}"


BUDGET_OBSERVED = recorded(semconv.BUDGET_OBSERVED, "max")
BUDGET_CHARGED = "cycles:budget_charged:last"
BUDGET_USED = "cycles:budget_used:ratio"


def budget_burn(window: str) -> str:
    """What was charged per second; the window is ``5m``, ``1h`` or ``1d``."""
    return f"cycles:budget_burn:rate{window}"


def budget_exhausted_in(window: str) -> str:
    """Seconds until nothing remains at the burn of that window; absent where nothing burns."""
    return f"cycles:budget_exhausted_in_seconds:rate{window}"


def recording_groups(clock: Clock) -> tuple[RecordingGroup, ...]:
    """All recording rules."""
    counters = tuple(_counter(metric, clock) for metric in COUNTERS)
    histograms = tuple(rule for metric in HISTOGRAMS for rule in _histogram(metric, clock))
    states = tuple(
        Recording(recorded(metric, how), aggregate(how, metric.labels, metric.prometheus_name))
        for metric, how in STATES
    )
    return (
        RecordingGroup("cycles-amounts", _amounts(clock)),
        RecordingGroup("cycles-counters", counters),
        RecordingGroup("cycles-histograms", histograms),
        RecordingGroup("cycles-states", states),
        RecordingGroup("cycles-budgets", _budgets(clock)),
        RecordingGroup("cycles-server", tuple(Recording(*rule) for rule in server_rates(clock).items())),
    )


def _counter(metric: Metric, clock: Clock) -> Recording:
    assert metric.kind is Kind.COUNTER
    return Recording(recorded(metric, "rate5m"), aggregate("sum", metric.labels, rate(metric, clock)))


def _amounts(clock: Clock) -> tuple[Recording, ...]:
    committed = semconv.AMOUNT_COMMITTED_TOTAL
    return (
        *(_counter(metric, clock) for metric in AMOUNTS),
        *(
            Recording(recorded(committed, f"rate{window}"), _spread(recorded(committed, "rate5m"), seconds, clock))
            for window, seconds in (("1h", HOUR), ("1d", DAY))
        ),
    )


def _histogram(metric: Metric, clock: Clock) -> tuple[Recording, ...]:
    assert metric.kind is Kind.HISTOGRAM
    window = clock.duration(WINDOW)
    return tuple(
        Recording(
            recorded(metric, "rate5m", part),
            aggregate("sum", (*extra, *metric.labels), f"rate({metric.prometheus_name}_{part}[{window}])"),
        )
        for part, extra in (("bucket", ("le",)), ("sum", ()), ("count", ()))
    )


def _budgets(clock: Clock) -> tuple[Recording, ...]:
    observed, window = semconv.BUDGET_OBSERVED, clock.duration(WINDOW)
    gauges = (*semconv.BUDGETS.values(), semconv.BUDGET_OVER_LIMIT)
    allocated, remaining, spent, debt = (
        recorded(semconv.BUDGETS[field], "last") for field in ("allocated", "remaining", "spent", "debt")
    )
    burn = budget_burn("5m")
    return (
        Recording(BUDGET_OBSERVED, aggregate("max", observed.labels, observed.prometheus_name)),
        *(Recording(recorded(gauge, "last"), _freshest(gauge)) for gauge in gauges),
        Recording(BUDGET_CHARGED, f"{spent} + ({debt} or 0 * {spent})"),
        Recording(BUDGET_USED, f"({allocated} - {remaining}) / ({allocated} > 0)"),
        Recording(burn, f"clamp_min(deriv({BUDGET_CHARGED}[{window}]), 0)"),
        Recording(budget_burn("1h"), _spread(burn, HOUR, clock)),
        Recording(budget_burn("1d"), _spread(burn, DAY, clock)),
        *(
            Recording(budget_exhausted_in(window), f"clamp_min({remaining}, 0) / ({budget_burn(window)} > 0)")
            for window in ("5m", "1h", "1d")
        ),
    )


def _freshest(gauge: Metric) -> str:
    """The value that was seen last, by whatever process or exporter: others may have seen the budget long ago."""
    observed, by = semconv.BUDGET_OBSERVED.prometheus_name, ", ".join(BUDGET_LABELS)
    newest = aggregate("max", BUDGET_LABELS, observed)
    seen = f"{gauge.prometheus_name}\n  and\n({observed} == on ({by}) group_left () {newest})"
    return aggregate("max", BUDGET_LABELS, seen)


def _spread(rate_5m: str, seconds: int, clock: Clock) -> str:
    """The rate over a longer window, from the recorded one over 5 minutes; where nothing was recorded it counts as 0.

    So a budget seen for the first time an hour ago is not taken to have burned for a day, a budget that was reset
    loses five minutes and not the whole window, and no raw series is read over a day.
    """
    evaluations = seconds // INTERVAL
    return f"sum_over_time({rate_5m}[{clock.duration(seconds)}]) / {evaluations}"
