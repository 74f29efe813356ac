"""Alerts about enforcement and settlement: did every step run guarded, and is what was used in the ledger?"""

from __future__ import annotations

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import prometheus_label
from dashboards.generate import thresholds
from dashboards.generate.alerts import EVENT_KEPT, Alert, AlertGroup, Board, Severity, counted, label, value
from dashboards.generate.promql import HOUR, MINUTE, WINDOW, Clock, aggregate, where
from dashboards.generate.recording import recorded

UNANSWERED = "timeout|connection_error|_OTHER|[0-9]+|INTERNAL_ERROR|SERVICE_UNAVAILABLE|LIMIT_EXCEEDED"
"""Values of ``error.type`` that are no answer of the server: a bare HTTP status is not the protocol's."""
_CALLS = recorded(semconv.OPERATION_DURATION, "rate5m", "count")
_ADMISSION = where({semconv.OPERATION_NAME: "reserve|decide"})
_RECENT = "in the last 5 minutes"


def enforcement_alerts(clock: Clock) -> AlertGroup:
    """Alerts about steps."""
    return AlertGroup(
        "cycles-enforcement-alerts",
        (
            _events(
                "StepsUnenforced",
                Severity.CRITICAL,
                counted(semconv.UNENFORCED_STEPS, (semconv.ERROR_TYPE,), clock),
                (semconv.ERROR_TYPE,),
                "Steps run without a budget check",
                f"{value()} steps ran unguarded {_RECENT}, since Cycles gave no answer "
                f"({label(semconv.ERROR_TYPE)}) and fail_open lets them go.",
            ),
            _unavailable(),
            _latency_high(clock),
            _events(
                "HeartbeatFailures",
                Severity.WARNING,
                counted(
                    semconv.HEARTBEAT_FAILURES,
                    (semconv.ERROR_TYPE,),
                    clock,
                    where({semconv.HEARTBEAT_DISPOSITION: "stop"}),
                ),
                (semconv.ERROR_TYPE,),
                "Running steps lose their reservation",
                f"{value()} heartbeats were given up {_RECENT} ({label(semconv.ERROR_TYPE)}): what "
                "the steps hold is given back while they run, and charged by an event afterwards.",
            ),
            _bracketing_inactive(),
            _unbudgeted(clock),
            _exporter_down(clock),
            _events(
                "TelemetryErrors",
                Severity.INFO,
                counted(semconv.TELEMETRY_DROPPED, (semconv.TELEMETRY_SIGNAL, semconv.TELEMETRY_CAUSE), clock),
                (semconv.TELEMETRY_SIGNAL, semconv.TELEMETRY_CAUSE),
                "Telemetry of Cycles is incomplete",
                f"{value()} items of {label(semconv.TELEMETRY_SIGNAL)} were dropped or folded "
                f"{_RECENT} ({label(semconv.TELEMETRY_CAUSE)}).",
                keeping=HOUR,
            ),
        ),
    )


def _events(
    name: str,
    severity: Severity,
    expression: str,
    labels: tuple[str, ...],
    summary: str,
    description: str,
    keeping: float = EVENT_KEPT,
) -> Alert:
    """An alert about what must not happen at all: it fires at once."""
    board = Board.ENFORCEMENT
    return Alert(name, severity, board, expression, labels, summary, description, keeping=keeping)


def _unavailable() -> Alert:
    unanswered = aggregate("sum", (), _CALLS + where({semconv.ERROR_TYPE: UNANSWERED}))
    return Alert(
        "Unavailable",
        Severity.CRITICAL,
        Board.ENFORCEMENT,
        f"{unanswered}\n/\n{aggregate('sum', (), _CALLS)}\n  > {thresholds.UNANSWERED_SHARE:g}",
        (),
        "Cycles does not answer",
        f"{value('humanizePercentage')} of the requests to Cycles in the last 5 minutes got no answer: steps run "
        "unguarded (fail_open) or are stopped.",
        lasting=5 * MINUTE,
        keeping=5 * MINUTE,
    )


def _latency_high(clock: Clock) -> Alert:
    by = prometheus_label(semconv.OPERATION_NAME)
    buckets = aggregate("sum", ("le", by), f"{recorded(semconv.OPERATION_DURATION, 'rate5m', 'bucket')}{_ADMISSION}")
    enough = aggregate("sum", (by,), _CALLS + _ADMISSION)
    return Alert(
        "LatencyHigh",
        Severity.WARNING,
        Board.ENFORCEMENT,
        f"histogram_quantile(0.99, {buckets}) > {thresholds.SLOW_ADMISSION:g}\n  and\n"
        f"{enough} * {clock.seconds(WINDOW)} >= {thresholds.ADMISSIONS_AT_LEAST}",
        (semconv.OPERATION_NAME,),
        "Steps wait long for Cycles",
        f"The 99th percentile of {label(semconv.OPERATION_NAME)} is {value('humanizeDuration')}: so long each "
        "step waits before it begins.",
        lasting=10 * MINUTE,
        keeping=5 * MINUTE,
    )


def _bracketing_inactive() -> Alert:
    processes = recorded(semconv.INFO, "count") + where({semconv.RUN_BRACKETING: "inactive"})
    inactive = aggregate("sum", (prometheus_label(semconv.VERSION),), processes)
    return Alert(
        "RunBracketingInactive",
        Severity.WARNING,
        Board.ENFORCEMENT,
        f"{inactive} > 0",
        (semconv.VERSION,),
        "Runs that fail leave their reservations behind",
        f"{value()} processes with cycles-otel {label(semconv.VERSION)} could not wrap the runner of "
        "openai-agents: what a run holds when it ends without its hooks stays held until it expires.",
        lasting=15 * MINUTE,
        keeping=15 * MINUTE,
    )


def _unbudgeted(clock: Clock) -> Alert:
    keys = (semconv.ACTION_KIND, semconv.UNIT)
    return Alert(
        "StepsUnbudgeted",
        Severity.INFO,
        Board.ENFORCEMENT,
        counted(semconv.UNBUDGETED_STEPS, keys, clock),
        keys,
        "Steps run for which no budget exists",
        f"{value()} steps of kind {label(semconv.ACTION_KIND)} ran {_RECENT} without a budget "
        f'in {label(semconv.UNIT)}, as unbudgeted="allow" lets them.',
        lasting=15 * MINUTE,
        keeping=HOUR,
    )


def _exporter_down(clock: Clock) -> Alert:
    """Its polls fail, or it hangs, or it is gone: what was never there is not missed."""
    by = (prometheus_label(semconv.EXPORTER_TARGET),)
    up = semconv.EXPORTER_UP.prometheus_name
    is_up = aggregate("max", by, up)
    was_there = aggregate("max", by, f"max_over_time({up}[{clock.duration(thresholds.EXPORTER_REMEMBERED)}])")
    succeeded = aggregate("max", by, semconv.EXPORTER_LAST_SUCCESS.prometheus_name)
    interval = aggregate("max", by, semconv.EXPORTER_INTERVAL.prometheus_name)
    return Alert(
        "ExporterDown",
        Severity.WARNING,
        Board.ENFORCEMENT,
        f"{is_up} == 0\n  or\ntime() - {succeeded} > {thresholds.POLLS_MISSED} * {interval}\n"
        f"  or\n{was_there} unless {is_up}",
        (semconv.EXPORTER_TARGET,),
        f"Budgets of {label(semconv.EXPORTER_TARGET)} are not polled any more",
        f"The exporter of {label(semconv.EXPORTER_TARGET)} is gone, or its polls fail: budgets that nobody touches "
        "vanish, and alerts about them with them.",
        lasting=5 * MINUTE,
        keeping=5 * MINUTE,
    )
