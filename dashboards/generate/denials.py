"""Why a step was denied, whose it was, by which budget, at what moment; and what shadow mode would have denied."""

from __future__ import annotations

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import prometheus_label
from dashboards.generate.board import AGENTS, DENIALS, Dashboard, Row
from dashboards.generate.budget_overview import IN_USD, NOT_IN_USD
from dashboards.generate.panels import USED, Column, Panel, Values, bars, graph, number, rows, traces
from dashboards.generate.queries import (
    AGENT,
    KIND,
    REASON,
    SCOPE,
    TARGET,
    TENANT,
    UNIT,
    Query,
    budgets,
    dollars,
    equal,
    exemplars,
    hourly,
    or_nothing,
    over_range,
    series,
    share,
    top,
    total,
)
from dashboards.generate.recording import BUDGET_USED, budget_exhausted_in, recorded
from dashboards.generate.thresholds import BUDGET_USED_INFO, DENIED_SHARE

_POLICY = prometheus_label(semconv.DENIAL_POLICY)
_DENY = equal(semconv.DECISION, semconv.DENY)
_LIVE, _SHADOW = equal(semconv.DRY_RUN, "false"), equal(semconv.DRY_RUN, "true")
_OVER_LIMIT = recorded(semconv.BUDGET_OVER_LIMIT, "last")
_NOTHING = "Nothing was denied"
_NO_SHADOW = "Nothing runs in shadow mode, or nothing would be denied"


def board() -> Dashboard:
    return Dashboard(
        DENIALS,
        "Why steps were denied, whose they were, which budgets refuse, and when; what shadow mode (dry_run) would have "
        "denied, before it is switched on.",
        [
            Row("", _answers()),
            Row("Why, and at what moment", _why()),
            Row("Who, and by which budget", _who()),
            Row("Shadow mode: what would enforcement do?", _shadow()),
            Row("The denied steps themselves", _traces(), collapsed=True),
        ],
        traces=True,
    )


def _answers() -> list[Panel]:
    steps = series(semconv.DENIALS, "rate5m")
    answered = total(series(semconv.DECISIONS, "rate5m", _LIVE))
    denied = total(series(semconv.DECISIONS, "rate5m", _LIVE, _DENY))
    refused = total(over_range(series(semconv.AMOUNT_DENIED_TOTAL, "rate5m", IN_USD)))
    runs = series(semconv.RUNS, "rate5m", equal(semconv.RUN_OUTCOME, semconv.DENIED))
    would = total(over_range(series(semconv.DECISIONS, "rate5m", _SHADOW, _DENY)))
    return [
        number(
            "Denied steps",
            "Steps that were not allowed in the time range, by the server or by caps.",
            or_nothing(total(over_range(steps))),
            steps=((None, "green"), (0.5, "orange")),
            decimals=0,
        ),
        number(
            "Share that is denied",
            "Denials among the server's answers of the last five minutes, to reserves and to questions before a run.",
            f"({or_nothing(denied)}) / (({answered}) > 0)",
            unit="percentunit",
            steps=((None, "green"), (1e-9, "yellow"), (DENIED_SHARE, "red")),
            empty="The server was not asked",
            decimals=1,
        ),
        number(
            "Runs that were stopped",
            "Runs that ended by a denial in the time range.",
            or_nothing(total(over_range(runs))),
            steps=((None, "green"), (0.5, "orange")),
            decimals=0,
        ),
        number(
            "Dollars refused",
            "What the denied steps would have reserved in the time range. Not the cost saved: an estimate is higher.",
            dollars(f"({refused})"),
            unit="currencyUSD",
            empty=_NOTHING,
            decimals=2,
        ),
        number(
            "Tenants denied now",
            "Tenants that were denied a step within the last five minutes.",
            or_nothing(f"count({total(steps, TENANT)} > 0)"),
            steps=((None, "green"), (0.5, "orange")),
            decimals=0,
        ),
        number(
            "Would be denied",
            "Steps in the time range that ran in shadow mode (dry_run) and would have been denied.",
            or_nothing(would),
            steps=((None, "green"), (0.5, "yellow")),
            decimals=0,
        ),
    ]


def _why() -> list[Panel]:
    denied = series(semconv.DENIALS, "rate5m")
    return [
        graph(
            "Denied steps, by reason",
            "Per second. The points are denials: each leads to its trace, and stands at the moment of the denial.",
            Query(total(denied, REASON), f"{{{{{REASON}}}}}"),
            exemplars(semconv.DENIALS),
            unit="ops",
            empty=_NOTHING,
            stacked=True,
        ),
        graph(
            "Denials before a run",
            "Per second: runs that a budget guardrail turned away before anything was spent, by agent and reason.",
            Query(
                total(
                    series(semconv.DECISIONS, "rate5m", _LIVE, _DENY, equal(semconv.OPERATION_NAME, "decide")),
                    AGENT,
                    REASON,
                ),
                f"{{{{{AGENT}}}}}: {{{{{REASON}}}}}",
            ),
            unit="ops",
            empty="No run was turned away",
            width=6,
        ),
        graph(
            "What was done about it",
            "Per second, by policy: raise stopped the run, downgrade let a cheaper model answer, disable left the tool "
            "out, defer waited for budget.",
            Query(total(denied, _POLICY), f"{{{{{_POLICY}}}}}"),
            unit="ops",
            empty=_NOTHING,
            width=6,
            stacked=True,
        ),
    ]


def _who() -> list[Panel]:
    counted = total(over_range(series(semconv.DENIALS, "rate5m")), TENANT, AGENT, KIND, REASON)
    refused = total(over_range(series(semconv.AMOUNT_DENIED_TOTAL, "rate5m", NOT_IN_USD)), TARGET, UNIT)
    near = f"max by ({SCOPE}, {TENANT}, {UNIT}) ({budgets(BUDGET_USED)} >= {BUDGET_USED_INFO:g})"
    over = f"max by ({SCOPE}, {TENANT}, {UNIT}) ({budgets(_OVER_LIMIT)} == 1)"
    lasts = f"max by ({SCOPE}, {TENANT}, {UNIT}) ({budgets(budget_exhausted_in('1h'))} and {near})"
    return [
        rows(
            "Whose steps were denied",
            "Denied steps in the time range. A click on an agent shows what it spends.",
            Column("Tenant", TENANT),
            Column("Agent", AGENT, link=f"/d/{AGENTS}?var-agent=${{__data.fields.Agent}}&${{__url_time_range}}"),
            Column("Kind", KIND),
            Column("Reason", REASON),
            Column("Denied", expression=f"({counted}) > 0", decimals=0),
            empty=_NOTHING,
            width=12,
            sort="Denied",
        ),
        rows(
            "Budgets that refuse, or soon will",
            "Budgets that are used to 80 % or more, or over their limit. A step is denied already where less remains "
            "than it estimates.",
            Column("Scope", SCOPE, width=300),
            Column("Unit", UNIT, width=150),
            Column("Used", expression=near, unit="percentunit", steps=USED, bar=True),
            Column(
                "Over limit",
                expression=over,
                width=100,
                values=Values({"1": ("yes", "red"), "0": ("no", "green")}),
            ),
            Column("Lasts", expression=lasts, unit="s", width=100),
            empty="No budget is used to 80 %",
            width=12,
            sort="Used",
            hidden=(TENANT,),
        ),
        graph(
            "Denied steps, by agent",
            "Per second.",
            Query(
                top(10, total(series(semconv.DENIALS, "rate5m"), TENANT, AGENT)), f"{{{{{TENANT}}}}} {{{{{AGENT}}}}}"
            ),
            unit="ops",
            empty=_NOTHING,
            width=8,
        ),
        graph(
            "Dollars refused per hour, by agent",
            "What the denied steps would have reserved.",
            Query(
                top(10, dollars(f"({hourly(total(series(semconv.AMOUNT_DENIED_TOTAL, 'rate5m', IN_USD), AGENT))})")),
                f"{{{{{AGENT}}}}}",
            ),
            unit="currencyUSD",
            empty="No dollars were refused",
            width=8,
        ),
        bars(
            "Other units refused, by model or tool",
            "Risk points, tokens and credits that denied steps would have reserved in the time range; the largest.",
            Query(f"sort_desc({top(10, f'({refused}) > 0')})", f"{{{{{TARGET}}}}} {{{{{UNIT}}}}}"),
            unit="short",
            empty="Nothing was denied in another unit",
        ),
    ]


def _shadow() -> list[Panel]:
    asked = series(semconv.DECISIONS, "rate5m", _SHADOW)
    would = series(semconv.DECISIONS, "rate5m", _SHADOW, _DENY)
    counted = total(over_range(would), TENANT, AGENT, KIND, REASON)
    return [
        graph(
            "Would be denied, by reason",
            "Steps per second that ran in shadow mode and would have been denied. Shadow mode holds and charges "
            "nothing, so a budget that would be used up by then is not seen to be.",
            Query(total(would, REASON), f"{{{{{REASON}}}}}"),
            unit="ops",
            empty=_NO_SHADOW,
            width=8,
            stacked=True,
        ),
        graph(
            "Share that would be denied, by agent",
            "Of the steps that run in shadow mode: what enforcement would stop.",
            Query(share(total(would, AGENT), total(asked, AGENT)), f"{{{{{AGENT}}}}}"),
            unit="percentunit",
            empty=_NO_SHADOW,
            width=8,
            values=("lastNotNull", "max"),
        ),
        rows(
            "Whose steps would be denied",
            "In the time range.",
            Column("Tenant", TENANT),
            Column("Agent", AGENT),
            Column("Kind", KIND),
            Column("Reason", REASON),
            Column("Steps", expression=f"({counted}) > 0", decimals=0),
            empty=_NO_SHADOW,
            width=8,
            sort="Steps",
        ),
    ]


def _traces() -> list[Panel]:
    tenant, agent = f'span.{semconv.TENANT} =~ "$tenant"', f'span.{semconv.AGENT_NAME} =~ "$agent"'
    said = ", ".join(
        f"span.{key}" for key in (semconv.TENANT, semconv.AGENT_NAME, semconv.REASON_CODE, semconv.SCOPE_PATH)
    )
    return [
        traces(
            "Denied steps, as traces",
            "The last calls that the server answered with a denial, from the data source Traces (Tempo).",
            f'{{ span.{semconv.DECISION} = "{semconv.DENY}" && {tenant} && {agent} }} | select({said})',
            empty="No denial is among the traces, or there is no Tempo",
        )
    ]
