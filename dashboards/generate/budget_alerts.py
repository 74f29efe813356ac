"""Alerts about budgets: used up, soon used up, burning too fast, refusing."""

from __future__ import annotations

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import prometheus_label
from dashboards.generate import thresholds
from dashboards.generate.alerts import Alert, AlertGroup, Board, Severity, label, value
from dashboards.generate.promql import DAY, HOUR, MINUTE, WINDOW, Clock, aggregate, where
from dashboards.generate.recording import BUDGET_USED, budget_burn, budget_exhausted_in, recorded

_BUDGET = semconv.BUDGET_OBSERVED.attributes
_WHICH = f"{label(semconv.SCOPE_PATH)} ({label(semconv.UNIT)})"
_ALLOCATED = recorded(semconv.BUDGETS["allocated"], "last")
_OVER_LIMIT = recorded(semconv.BUDGET_OVER_LIMIT, "last")


def budget_alerts(clock: Clock) -> AlertGroup:
    """All alerts about budgets."""
    return AlertGroup(
        "cycles-budget-alerts",
        (
            _used("BudgetUsed80", Severity.INFO, thresholds.BUDGET_USED_INFO),
            _used("BudgetUsed95", Severity.WARNING, thresholds.BUDGET_USED_WARNING),
            _exhausted(),
            _exhausted_in("BudgetExhaustedIn1h", thresholds.EXHAUSTED_SOON, ("1h", "5m"), clock),
            _exhausted_in("BudgetExhaustedIn24h", thresholds.EXHAUSTED_IN_A_DAY, ("1d", "1h"), clock),
            _burn_fast(clock),
            _denial_rate_high(clock),
        ),
    )


def _used(name: str, severity: Severity, share: float) -> Alert:
    return Alert(
        name,
        severity,
        Board.BUDGETS,
        f"{BUDGET_USED} >= {share:g}",
        _BUDGET,
        f"{share:.0%} of budget {_WHICH} is used",
        f"{value('humanizePercentage')} of what {_WHICH} was given is spent or held. At 100 % steps are denied.",
        lasting=5 * MINUTE,
        keeping=10 * MINUTE,
    )


def _exhausted() -> Alert:
    return Alert(
        "BudgetExhausted",
        Severity.WARNING,
        Board.BUDGETS,
        f"{BUDGET_USED} >= {thresholds.BUDGET_USED_UP:g}\n  or\n{_OVER_LIMIT} == 1",
        _BUDGET,
        f"Budget {_WHICH} is exhausted",
        f"Nothing remains of budget {_WHICH}, or it is over its limit: every step that it pays for is denied.",
        lasting=2 * MINUTE,
        keeping=10 * MINUTE,
    )


def _exhausted_in(name: str, within: float, windows: tuple[str, str], clock: Clock) -> Alert:
    long, short = map(budget_exhausted_in, windows)
    in_a_day = within == DAY
    return Alert(
        name,
        Severity.INFO if in_a_day else Severity.WARNING,
        Board.BUDGETS,
        f"({long} > 0) < {clock.seconds(within)}\n  and\n{short} < {clock.seconds(within)}",
        _BUDGET,
        f"Budget {_WHICH} is exhausted within {'a day' if in_a_day else 'an hour'}",
        f"At the burn of the last {'day' if in_a_day else 'hour'} nothing remains of budget {_WHICH} in "
        f"{value('humanizeDuration')}, and it still burns like that.",
        lasting=15 * MINUTE if in_a_day else 5 * MINUTE,
        keeping=HOUR if in_a_day else 10 * MINUTE,
    )


def _burn_fast(clock: Clock) -> Alert:
    """The value is by how many times it burns too fast, of the first pair of windows that holds."""
    days = thresholds.BUDGET_PERIOD // DAY

    def too_fast(window: str, factor: float) -> str:
        rate = f"{clock.seconds(thresholds.BUDGET_PERIOD)} * {budget_burn(window)} / ({_ALLOCATED} > 0)"
        return f"{rate} > {factor:g}"

    pairs = [
        f"(\n  {too_fast(pair.long, pair.factor)}\n    and\n  {too_fast(pair.short, pair.factor)}\n)"
        for pair in thresholds.BURN_RATES
    ]
    return Alert(
        "BudgetBurnFast",
        Severity.WARNING,
        Board.BUDGETS,
        "\n  or\n".join(pairs),
        _BUDGET,
        f"Budget {_WHICH} burns too fast",
        f"Budget {_WHICH} burns {value()} times as fast as an allocation that is to last {days} days.",
        lasting=2 * MINUTE,
        keeping=10 * MINUTE,
    )


def _denial_rate_high(clock: Clock) -> Alert:
    keys = (semconv.TENANT, semconv.AGENT_NAME)
    by = tuple(map(prometheus_label, keys))
    decisions = recorded(semconv.DECISIONS, "rate5m")
    real = {semconv.OPERATION_NAME: "reserve", semconv.DRY_RUN: "false"}
    denied = aggregate("sum", by, decisions + where({**real, semconv.DECISION: semconv.DENY}))
    every = aggregate("sum", by, decisions + where(real))
    enough = f"{denied} * {clock.seconds(WINDOW)} >= {thresholds.DENIED_AT_LEAST}"
    return Alert(
        "DenialRateHigh",
        Severity.WARNING,
        Board.DENIALS,
        f"{denied}\n/\n{every}\n  > {thresholds.DENIED_SHARE:g}\n  and\n{enough}",
        keys,
        f"Many steps of agent {label(semconv.AGENT_NAME)} are denied",
        f"{value('humanizePercentage')} of the steps that agent {label(semconv.AGENT_NAME)} of tenant "
        f"{label(semconv.TENANT)} asked for in the last 5 minutes were denied.",
        lasting=10 * MINUTE,
        keeping=10 * MINUTE,
    )
