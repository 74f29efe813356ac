"""Alerts about settlement: is what was used charged, and charged at what it cost?"""

from __future__ import annotations

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import prometheus_label
from dashboards.generate import thresholds
from dashboards.generate.alerts import EVENT_KEPT, Alert, AlertGroup, Board, Severity, counted, label, value
from dashboards.generate.promql import HOUR, INTERVAL, MINUTE, WINDOW, Clock, aggregate, where
from dashboards.generate.recording import recorded


def settlement_alerts(clock: Clock) -> AlertGroup:
    """All alerts about what becomes of a spend."""
    return AlertGroup(
        "cycles-settlement-alerts",
        (
            _lost(clock),
            _backlog(clock),
            _old(clock),
            _journal_failures(clock),
            _leaked(clock),
            _price_unknown(clock),
            _estimate_far_off(clock),
        ),
    )


def _lost(clock: Clock) -> Alert:
    keys = (semconv.ACTION_KIND,)
    lost = where({semconv.RESERVATION_OUTCOME: semconv.LOST})
    return Alert(
        "SettlementLost",
        Severity.CRITICAL,
        Board.ENFORCEMENT,
        counted(semconv.SETTLEMENT_COUNT, keys, clock, lost),
        keys,
        "What was used is not charged",
        f"{value()} spends of {label(semconv.ACTION_KIND)} could not be charged in the last 5 minutes: "
        "the ledger says less than what was used.",
        keeping=HOUR,
    )


def _backlog(clock: Clock) -> Alert:
    """Each spend waits in the journal for a moment: what counts is how long what waits takes to be settled."""
    settled = aggregate("sum", (), recorded(semconv.SETTLEMENT_COUNT, "rate5m"))
    in_time = f"{clock.seconds(WINDOW * thresholds.BACKLOG_IN_WINDOWS)} * ({settled} or vector(0))"
    return Alert(
        "SettlementBacklog",
        Severity.WARNING,
        Board.ENFORCEMENT,
        f"{recorded(semconv.BACKLOG, 'sum')} > {thresholds.BACKLOG_AT_LEAST}\n  and\n"
        f"{recorded(semconv.BACKLOG, 'sum')} > {in_time}",
        (),
        "Settlements pile up",
        f"{value()} spends wait in the journals, more than are settled in 5 minutes: the ledger lags behind, and "
        "budgets look fuller than they are.",
        lasting=10 * MINUTE,
        keeping=10 * MINUTE,
    )


def _old(clock: Clock) -> Alert:
    return Alert(
        "SettlementOld",
        Severity.WARNING,
        Board.ENFORCEMENT,
        f"{recorded(semconv.OLDEST, 'max')} > {clock.seconds(thresholds.SETTLEMENT_OLD)}",
        (),
        "A spend waits long to be charged",
        f"The oldest spend in a journal has waited for {value('humanizeDuration')}.",
        lasting=5 * MINUTE,
        keeping=5 * MINUTE,
    )


def _journal_failures(clock: Clock) -> Alert:
    keys = (semconv.ERROR_TYPE,)
    return Alert(
        "JournalFailures",
        Severity.WARNING,
        Board.ENFORCEMENT,
        counted(semconv.JOURNAL_FAILURES, keys, clock),
        keys,
        "Spends cannot be written to the journal",
        f"{value()} spends could not be written to the journal in the last 5 minutes "
        f"({label(semconv.ERROR_TYPE)}): what a process has not sent when it dies is lost.",
        keeping=EVENT_KEPT,
    )


def _leaked(clock: Clock) -> Alert:
    return Alert(
        "ReservationsLeaked",
        Severity.WARNING,
        Board.ENFORCEMENT,
        counted(semconv.LEAKED, (), clock),
        (),
        "Runs end and leave reservations open",
        f"{value()} reservations were open after the end of their run in the last 5 minutes: they hold "
        "budget until they expire.",
        keeping=HOUR,
    )


def _price_unknown(clock: Clock) -> Alert:
    keys = (semconv.MODEL,)
    return Alert(
        "PriceUnknown",
        Severity.WARNING,
        Board.AGENTS,
        counted(semconv.PRICE_UNKNOWN, keys, clock),
        keys,
        f"No price is known for model {label(semconv.MODEL)}",
        f"{value()} calls of {label(semconv.MODEL)} were charged at their estimate in the last "
        "5 minutes: what the ledger says of them is a guess.",
        keeping=HOUR,
    )


def _estimate_far_off(clock: Clock) -> Alert:
    keys = (semconv.ACTION_KIND, semconv.UNIT)

    def of_an_hour(part: str) -> str:
        rate = recorded(semconv.ESTIMATE_RATIO, "rate5m", part)
        return aggregate("sum", map(prometheus_label, keys), f"sum_over_time({rate}[{clock.duration(HOUR)}])")

    mean = f"{of_an_hour('sum')}\n/\n{of_an_hour('count')}"
    enough = f"{of_an_hour('count')} * {clock.seconds(INTERVAL)} >= {thresholds.ESTIMATES_AT_LEAST}"
    off = f"({mean}\n  > {thresholds.ESTIMATE_TOO_LOW:g})\n  or\n({mean}\n  < {thresholds.ESTIMATE_TOO_HIGH:g})"
    return Alert(
        "EstimateFarOff",
        Severity.INFO,
        Board.AGENTS,
        f"(\n{off}\n)\n  and\n{enough}",
        keys,
        f"Estimates of {label(semconv.ACTION_KIND)} are far from what is used",
        f"A step of kind {label(semconv.ACTION_KIND)} used {value()} times its estimate "
        f"({label(semconv.UNIT)}) in the mean of the last hour.",
        lasting=30 * MINUTE,
        keeping=HOUR,
    )
