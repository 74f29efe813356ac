"""Did every step run guarded? And is what guards them well?"""

from __future__ import annotations

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import prometheus_label
from dashboards.generate.board import ENFORCEMENT, Dashboard, Row
from dashboards.generate.panels import NO_PROCESS, SELDOM, Column, Panel, graph, heat, number, rows
from dashboards.generate.queries import (
    ERROR,
    KIND,
    OPERATION,
    OUTCOME,
    Query,
    equal,
    exemplars,
    or_nothing,
    over_range,
    quantile,
    raw,
    series,
    total,
    unequal,
)
from dashboards.generate.thresholds import SETTLEMENT_OLD, SLOW_ADMISSION, UNANSWERED_SHARE

_CALLS = semconv.OPERATION_DURATION
_RESERVE = equal(semconv.OPERATION_NAME, "reserve")
_FAILED = unequal(semconv.ERROR_TYPE, "")
_SIGNAL, _CAUSE, _DISPOSITION, _BRACKETING, _DRY_RUN, _DECISION, _TARGET, _VERSION, _FAIL_OPEN, _PRICES = (
    prometheus_label(key)
    for key in (
        *(semconv.TELEMETRY_SIGNAL, semconv.TELEMETRY_CAUSE, semconv.HEARTBEAT_DISPOSITION, semconv.RUN_BRACKETING),
        *(semconv.DRY_RUN, semconv.DECISION, semconv.EXPORTER_TARGET),
        *(semconv.VERSION, semconv.FAIL_OPEN, semconv.PRICE_DATA_VERSION),
    )
)
_NO_CALL = "No call was made"


def board() -> Dashboard:
    return Dashboard(
        ENFORCEMENT,
        "Did every step run guarded? Latency and errors of the Cycles API, heartbeats, settlement, leaks, and the "
        "telemetry itself.",
        [
            Row("", _answers()),
            Row("Was every step guarded?", _guarded()),
            Row("The Cycles API", _calls()),
            Row("Reservations and their settlement", _settlement()),
            Row("Telemetry, processes and the exporter", _processes()),
        ],
    )


def _answers() -> list[Panel]:
    unenforced = total(over_range(series(semconv.UNENFORCED_STEPS, "rate5m")))
    unguarded = total(series(semconv.UNENFORCED_STEPS, "rate5m"))
    reserves = total(series(semconv.DECISIONS, "rate5m", _RESERVE))
    calls = total(series(_CALLS, "rate5m", part="count"))
    failed = total(series(_CALLS, "rate5m", _FAILED, part="count"))
    return [
        number(
            "Unenforced steps",
            "Steps that ran without a reservation in the time range, because Cycles gave no answer and fail_open is "
            "on. Anything but 0 needs somebody now.",
            or_nothing(unenforced),
            steps=((None, "green"), (0.5, "red")),
            width=3,
            decimals=0,
        ),
        number(
            "Guarded now",
            "The share of the steps of the last five minutes for which the server was asked.",
            f"1 - ({or_nothing(unguarded)}) / ((({reserves}) + ({or_nothing(unguarded)})) > 0)",
            unit="percentunit",
            steps=((None, "red"), (1, "green")),
            empty="No step ran",
            width=3,
            decimals=1,
        ),
        number(
            "Failing calls",
            "The share of the API calls of the last five minutes that failed, each try counted. A denial is none.",
            f"({or_nothing(failed)}) / (({calls}) > 0)",
            unit="percentunit",
            steps=((None, "green"), (1e-9, "yellow"), (UNANSWERED_SHARE, "red")),
            empty=_NO_CALL,
            width=3,
            decimals=1,
        ),
        number(
            "Wait for a reserve, p99",
            "What a step waited for its reservation at the 99th percentile, over the last five minutes.",
            quantile(0.99, _CALLS, matchers=[_RESERVE]),
            unit="s",
            steps=((None, "green"), (SLOW_ADMISSION / 2, "yellow"), (SLOW_ADMISSION, "red")),
            empty=_NO_CALL,
            width=3,
        ),
        number(
            "Waiting to settle",
            "Known spends that wait in the journals to be told to the ledger.",
            total(series(semconv.BACKLOG, "sum")),
            steps=SELDOM,
            empty="No journal",
            width=3,
            decimals=0,
        ),
        number(
            "Oldest that waits",
            "The age of the oldest of them.",
            f"max({series(semconv.OLDEST, 'max')})",
            unit="s",
            steps=((None, "green"), (SETTLEMENT_OLD / 2, "yellow"), (SETTLEMENT_OLD, "red")),
            empty="No journal",
            width=3,
        ),
        number(
            "Lost or leaked",
            "Settlements that were given up, and reservations left open after the end of their run, in the time range. "
            "Both must be 0.",
            or_nothing(_lost_or_leaked()),
            steps=((None, "green"), (0.5, "red")),
            width=3,
            decimals=0,
        ),
        number(
            "Processes",
            "Processes that report. What they run is in the table below.",
            total(series(semconv.INFO, "count")),
            empty=NO_PROCESS,
            width=3,
            decimals=0,
        ),
    ]


def _lost_or_leaked() -> str:
    lost = over_range(series(semconv.SETTLEMENT_COUNT, "rate5m", equal(semconv.RESERVATION_OUTCOME, semconv.LOST)))
    leaked = over_range(series(semconv.LEAKED, "rate5m"))
    return f"(sum({lost}) or sum({leaked}) * 0) + (sum({leaked}) or sum({lost}) * 0)"


def _guarded() -> list[Panel]:
    decided = total(series(semconv.DECISIONS, "rate5m", _RESERVE), _DECISION)
    unenforced, unbudgeted = semconv.UNENFORCED_STEPS, semconv.UNBUDGETED_STEPS
    return [
        graph(
            "Steps, by what became of them",
            "Per second: allowed, allowed within caps, denied; unenforced steps ran without an answer, unbudgeted ones "
            "without a budget.",
            Query(decided, f"{{{{{_DECISION}}}}}"),
            Query(total(series(unenforced, "rate5m")), "unenforced"),
            Query(total(series(unbudgeted, "rate5m")), "unbudgeted"),
            unit="ops",
            empty="No step ran",
            stacked=True,
            colors={
                "ALLOW": "green",
                "ALLOW_WITH_CAPS": "yellow",
                "DENY": "orange",
                "unenforced": "red",
                "unbudgeted": "purple",
            },
        ),
        graph(
            "Unenforced steps, by why",
            "Per second. The points are steps: each leads to its trace.",
            Query(total(series(unenforced, "rate5m"), ERROR, KIND), f"{{{{{KIND}}}}}: {{{{{ERROR}}}}}"),
            exemplars(unenforced),
            unit="ops",
            empty="Every step was guarded",
            width=6,
        ),
        graph(
            "Open circuits, and steps without a budget",
            "A circuit opens where the server gives no answer several times running: its steps do not wait for one "
            "then. Unbudgeted steps ran since unbudgeted is set to allow.",
            Query(series(semconv.CIRCUITS_OPEN, "sum"), "open circuits"),
            Query(total(series(unbudgeted, "rate5m"), KIND), f"unbudgeted {{{{{KIND}}}}} per s"),
            unit="short",
            empty="None",
            width=6,
        ),
    ]


def _calls() -> list[Panel]:
    errors = total(series(_CALLS, "rate5m", _FAILED, part="count"), OPERATION, ERROR)
    return [
        graph(
            "Latency of a reserve",
            "Median, 95th and 99th percentile of what a step waits for. The points are calls: each leads to its trace.",
            *(Query(quantile(of, _CALLS, matchers=[_RESERVE]), f"p{of * 100:g}") for of in (0.5, 0.95, 0.99)),
            exemplars(_CALLS, _RESERVE, part="bucket"),
            unit="s",
            empty=_NO_CALL,
            steps=((None, "green"), (SLOW_ADMISSION, "red")),
            colors={"p50": "green", "p95": "yellow", "p99": "orange"},
            width=8,
        ),
        graph(
            "Latency by operation",
            "The 99th percentile of each operation. Commits and heartbeats happen in the background: no step waits for "
            "them.",
            Query(quantile(0.99, _CALLS, OPERATION), f"{{{{{OPERATION}}}}} p99"),
            exemplars(_CALLS, part="bucket"),
            unit="s",
            empty=_NO_CALL,
            width=8,
            values=("lastNotNull",),
        ),
        heat(
            "Spread of the latency",
            "How many calls per second took how long, all operations together.",
            Query(total(series(_CALLS, "rate5m", part="bucket"), "le"), "{{le}}"),
            exemplars(_CALLS, part="bucket"),
            unit="s",
            empty=_NO_CALL,
            width=8,
        ),
        graph(
            "Calls, by operation",
            "Per second, each try counted.",
            Query(total(series(_CALLS, "rate5m", part="count"), OPERATION), f"{{{{{OPERATION}}}}}"),
            unit="reqps",
            empty=_NO_CALL,
            stacked=True,
        ),
        graph(
            "Errors, by operation and type",
            "Per second: the protocol's own code, else timeout, connection_error, or the HTTP status.",
            Query(errors, f"{{{{{OPERATION}}}}}: {{{{{ERROR}}}}}"),
            unit="reqps",
            empty="No call failed",
        ),
    ]


def _settlement() -> list[Panel]:
    margin = semconv.HEARTBEAT_MARGIN_SECONDS
    active = total(series(semconv.RESERVATIONS_ACTIVE, "sum"), KIND)
    return [
        graph(
            "How reservations ended",
            "Per second. settled_by_event: charged by an event, since the reservation was gone. queued: in the "
            "journal. lost must not be.",
            Query(total(series(semconv.SETTLEMENT_COUNT, "rate5m"), OUTCOME), f"{{{{{OUTCOME}}}}}"),
            unit="ops",
            empty="Nothing was settled",
            width=8,
            stacked=True,
            colors={"committed": "green", "released": "blue", "expired": "orange", "lost": "red"},
        ),
        graph(
            "Held now, and waiting in the journal",
            "Reservations that processes hold, by kind of step, and settlements that wait.",
            Query(active, f"{{{{{KIND}}}}}"),
            Query(series(semconv.BACKLOG, "sum"), "waiting to settle"),
            unit="short",
            empty=NO_PROCESS,
            width=8,
        ),
        graph(
            "Oldest that waits in a journal",
            "Its age: a straight rising line means that the server does not take it.",
            Query(series(semconv.OLDEST, "max"), "oldest"),
            unit="s",
            empty="No journal",
            width=8,
        ),
        graph(
            "How long a reservation lives",
            "From reserve to settlement: the median and the 95th percentile by kind of step. Points lead to traces.",
            *(
                Query(quantile(of, semconv.RESERVATION_DURATION, KIND), f"{{{{{KIND}}}}} p{of * 100:g}")
                for of in (0.5, 0.95)
            ),
            exemplars(semconv.RESERVATION_DURATION, part="bucket"),
            unit="s",
            empty="Nothing was settled",
            width=8,
            values=("lastNotNull",),
        ),
        graph(
            "Time left when a heartbeat was acknowledged",
            "The fifth percentile and the median. Near 0 a lease may run out while its step still works.",
            *(Query(quantile(of, margin), f"p{of * 100:g}") for of in (0.05, 0.5)),
            exemplars(margin, part="bucket"),
            unit="s",
            empty="No step was long enough",
            width=8,
            values=("lastNotNull", "min"),
        ),
        graph(
            "Failed heartbeats, expiries, leaks",
            "Per second. retry: tried again; stop: the reservation is over. Leaks must not be.",
            Query(
                total(series(semconv.HEARTBEAT_FAILURES, "rate5m"), ERROR, _DISPOSITION),
                f"heartbeat {{{{{ERROR}}}}} ({{{{{_DISPOSITION}}}}})",
            ),
            Query(
                total(series(semconv.SETTLEMENT_COUNT, "rate5m", equal(semconv.RESERVATION_OUTCOME, semconv.EXPIRED))),
                "expired",
            ),
            Query(series(semconv.LEAKED, "rate5m"), "leaked"),
            unit="ops",
            empty="None",
            width=8,
        ),
    ]


def _processes() -> list[Panel]:
    dropped = total(series(semconv.TELEMETRY_DROPPED, "rate5m"), _SIGNAL, _CAUSE)
    journal = total(series(semconv.JOURNAL_FAILURES, "rate5m"), ERROR)
    labels = (_VERSION, _FAIL_OPEN, _DRY_RUN, _BRACKETING, _PRICES)
    polls = raw(semconv.EXPORTER_POLLS)
    failing = raw(semconv.EXPORTER_POLLS, _FAILED)
    success = raw(semconv.EXPORTER_LAST_SUCCESS)
    return [
        rows(
            "What the processes run",
            "Processes by version and settings. Bracketing inactive: runs that end badly are not settled at their end, "
            "since the Agents SDK has changed; see the log.",
            Column("Version", _VERSION, width=100),
            Column("fail_open", _FAIL_OPEN, width=100),
            Column("dry_run", _DRY_RUN, width=100),
            Column("Run bracketing", _BRACKETING, width=140),
            Column("Price data", _PRICES, width=120),
            Column("Processes", expression=total(series(semconv.INFO, "count"), *labels)),
            empty=NO_PROCESS,
            width=12,
            sort="Processes",
        ),
        graph(
            "Telemetry errors, label overflow, journal failures",
            "Per second: faults of the telemetry itself, label values that were folded into _other, and spends that "
            "the journal could not keep.",
            Query(dropped, f"{{{{{_SIGNAL}}}}}: {{{{{_CAUSE}}}}}"),
            Query(journal, f"journal: {{{{{ERROR}}}}}"),
            unit="ops",
            empty="None",
        ),
        rows(
            "Exporter, by target",
            "Whether the last poll of each target worked, and how many balances it found.",
            Column("Target", _TARGET),
            Column(
                "Up",
                expression=f"max by ({_TARGET}) ({raw(semconv.EXPORTER_UP)})",
                unit="bool_on_off",
                steps=((None, "red"), (1, "green")),
            ),
            Column("Balances", expression=f"max by ({_TARGET}) ({raw(semconv.EXPORTER_BALANCES)})"),
            Column("Last success", expression=f"time() - max by ({_TARGET}) ({success})", unit="s"),
            empty="No exporter is scraped",
            width=12,
            height=6,
            sort="Up",
            descending=False,
        ),
        graph(
            "Polls of the exporter",
            "Per second, those that failed apart.",
            Query(f"sum(rate({polls}[$__rate_interval]))", "polls"),
            Query(f"sum by ({ERROR}) (rate({failing}[$__rate_interval]))", f"{{{{{ERROR}}}}}"),
            unit="ops",
            empty="No exporter is scraped",
            height=6,
        ),
    ]
