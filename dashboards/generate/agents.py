"""What agents cost, by tool, model and workflow; what a run costs; how good the estimates are."""

from __future__ import annotations

from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import prometheus_label
from dashboards.generate.board import AGENTS, Dashboard, Row
from dashboards.generate.budget_overview import IN_USD, NO_SPEND, NOT_IN_USD
from dashboards.generate.panels import SELDOM, Column, Panel, bars, graph, heat, number, rows
from dashboards.generate.queries import (
    AGENT,
    KIND,
    TARGET,
    TENANT,
    UNIT,
    USD,
    Query,
    dollars,
    equal,
    exemplars,
    hourly,
    or_nothing,
    over_range,
    quantile,
    series,
    share,
    top,
    total,
)
from dashboards.generate.thresholds import ESTIMATE_TOO_HIGH, ESTIMATE_TOO_LOW

_COMMITTED = semconv.AMOUNT_COMMITTED_TOTAL
_RUN_COST = semconv.RUN_AMOUNTS[USD]
_RISK = equal(semconv.UNIT, "RISK_POINTS")
_HANDOFF = equal(semconv.ACTION_KIND, "agent.handoff")
_RESERVES = equal(semconv.OPERATION_NAME, "reserve")
_MODEL, _TOKEN, _RUN_OUTCOME, _POLICY, _TOOL, _WORKFLOW = (
    prometheus_label(key)
    for key in (
        *(semconv.MODEL, semconv.TOKEN_TYPE, semconv.RUN_OUTCOME, semconv.DENIAL_POLICY),
        *(semconv.TOOL_NAME, semconv.WORKFLOW),
    )
)
_NO_RUN = "No run ended"


def board() -> Dashboard:
    return Dashboard(
        AGENTS,
        "What agents spend, on which models and tools, in which workflows; what a run costs and how many steps it "
        "takes; how estimates compare with what was used.",
        [
            Row("", _answers()),
            Row("Spend", _spend()),
            Row("Runs", _runs()),
            Row("Estimates", _estimates()),
            Row("Tokens and prices", _tokens()),
            Row("Tools, risk and handoffs", _tools()),
        ],
    )


def _runs_over_range(*matchers: str) -> str:
    return total(over_range(series(semconv.RUNS, "rate5m", *matchers)))


def _answers() -> list[Panel]:
    spent = total(over_range(series(_COMMITTED, "rate5m", IN_USD)))
    run_cost = total(over_range(series(_RUN_COST, "rate5m", part="sum")))
    costed = total(over_range(series(_RUN_COST, "rate5m", part="count")))
    completed = _runs_over_range(equal(semconv.RUN_OUTCOME, "completed"))
    return [
        number(
            "Spent",
            "Dollars charged to the selected agents in the time range.",
            dollars(f"({spent})"),
            unit="currencyUSD",
            empty=NO_SPEND,
            decimals=2,
        ),
        number(
            "Cost of a run",
            "Dollars that a run committed on average, of the runs that ended in the time range.",
            dollars(share(f"({run_cost})", f"({costed})")),
            unit="currencyUSD",
            empty=_NO_RUN,
            decimals=4,
        ),
        number(
            "Runs",
            "Runs that ended in the time range, in whatever way.",
            or_nothing(_runs_over_range()),
            decimals=0,
        ),
        number(
            "Completed runs",
            "The share of the runs that ended as they should: not denied, failed or cancelled.",
            f"(({completed}) or 0 * ({_runs_over_range()})) / (({_runs_over_range()}) > 0)",
            unit="percentunit",
            steps=((None, "orange"), (0.9, "green")),
            empty=_NO_RUN,
            decimals=1,
        ),
        number(
            "Tokens",
            "Input and output tokens of governed model calls in the time range; cached and reasoning tokens are parts "
            "of these.",
            total(over_range(series(semconv.TOKENS, "rate5m", f'{_TOKEN}=~"input|output"'))),
            empty="No tokens were used",
        ),
        number(
            "Calls without a price",
            "Model calls in the time range whose model has no price: they were charged at their estimate. Give the "
            "model a price, or the ledger is a guess.",
            or_nothing(f"sum({over_range(series(semconv.PRICE_UNKNOWN, 'rate5m'))})"),
            steps=SELDOM,
            decimals=0,
        ),
    ]


def _spend() -> list[Panel]:
    spent = series(_COMMITTED, "rate5m", IN_USD)

    def by(label: str) -> Query:
        return Query(top(10, dollars(f"({hourly(total(spent, label))})")), f"{{{{{label}}}}}")

    def per_hour(title: str, what: str, label: str) -> Panel:
        description = f"Dollars charged per hour, {what}; the ten largest."
        return graph(title, description, by(label), unit="currencyUSD", empty=NO_SPEND, stacked=True, width=8)

    workflows = top(10, dollars(f"({total(over_range(series(_COMMITTED, 'rate5m', IN_USD)), _WORKFLOW, TENANT)})"))
    return [
        per_hour("Dollars per hour, by agent", "by the agent that spends", AGENT),
        per_hour("Dollars per hour, by model or tool", "by what the money goes to", TARGET),
        graph(
            "Other units per hour, by agent",
            "Tokens, credits and risk points charged per hour; the ten largest.",
            Query(
                top(10, hourly(total(series(_COMMITTED, "rate5m", NOT_IN_USD), AGENT, UNIT))),
                f"{{{{{AGENT}}}}} {{{{{UNIT}}}}}",
            ),
            unit="short",
            empty=NO_SPEND,
            width=8,
        ),
        rows(
            "Who spends on what",
            "Dollars charged in the time range, by agent and model or tool, with the share of all that was spent.",
            Column("Agent", AGENT),
            Column("Model or tool", TARGET),
            Column("Kind", KIND),
            Column("Spent", expression=dollars(f"({_spent_on()})"), unit="currencyUSD", decimals=4),
            Column(
                "Share",
                expression=f"({_spent_on()}) / scalar({total(over_range(spent))})",
                unit="percentunit",
                bar=True,
                width=260,
            ),
            empty=NO_SPEND,
            width=16,
            sort="Spent",
        ),
        bars(
            "Dollars, by workflow and tenant",
            "Dollars charged in the time range. Workflows are told apart where the label workflow is switched on; "
            "without it there is a bar for each tenant.",
            Query(f"sort_desc({workflows})", f"{{{{{TENANT}}}}} {{{{{_WORKFLOW}}}}}"),
            unit="currencyUSD",
            empty=NO_SPEND,
        ),
    ]


def _spent_on() -> str:
    return total(over_range(series(_COMMITTED, "rate5m", IN_USD)), AGENT, TARGET, KIND)


def _runs() -> list[Panel]:
    steps = total(series(semconv.DECISIONS, "rate5m", _RESERVES), AGENT)
    runs = total(series(semconv.RUNS, "rate5m"), AGENT)
    cost = [Query(dollars(quantile(of, _RUN_COST, AGENT)), f"{{{{{AGENT}}}}} p{of * 100:g}") for of in (0.5, 0.95)]
    return [
        graph(
            "Cost of a run, by agent",
            "The median and the 95th percentile of the dollars that a run committed, by the agent that it began with. "
            "The points are runs: each leads to its trace.",
            *cost,
            exemplars(_RUN_COST, part="bucket"),
            unit="currencyUSD",
            empty=_NO_RUN,
            width=8,
            values=("lastNotNull",),
        ),
        graph(
            "Runs, by how they ended",
            "Per second. Denied: stopped by the budget. Failed: by an error. Cancelled: by the program.",
            Query(total(series(semconv.RUNS, "rate5m"), _RUN_OUTCOME), f"{{{{{_RUN_OUTCOME}}}}}"),
            unit="ops",
            empty=_NO_RUN,
            width=8,
            stacked=True,
            colors={"completed": "green", "denied": "orange", "failed": "red", "cancelled": "purple"},
        ),
        graph(
            "Steps of a run, by agent",
            "Steps for which budget was asked, by agent, over the runs that ended: of an agent that others hand over "
            "to there are steps, but no runs. All agents together are what a run takes.",
            Query(f"{total(series(semconv.DECISIONS, 'rate5m', _RESERVES))} / ({total(runs)} > 0)", "all agents"),
            Query(f"{steps} / ({runs} > 0)", f"own steps of {{{{{AGENT}}}}}"),
            unit="short",
            empty=_NO_RUN,
            width=8,
            values=("lastNotNull",),
        ),
    ]


def _estimates() -> list[Panel]:
    ratio = semconv.ESTIMATE_RATIO
    mean = share(
        total(series(ratio, "rate5m", part="sum"), KIND, UNIT), total(series(ratio, "rate5m", part="count"), KIND, UNIT)
    )
    by_kind = f"{{{{{KIND}}}}} {{{{{UNIT}}}}}"
    return [
        graph(
            "Used / estimated",
            "The mean by kind of step. 1 is a perfect estimate; above 1 budgets are overrun, far below 1 they are held "
            "for nothing, and steps denied that would have fitted.",
            Query(mean, by_kind),
            unit="none",
            empty="No step was settled",
            width=8,
            steps=((None, "orange"), (ESTIMATE_TOO_HIGH, "green"), (ESTIMATE_TOO_LOW, "red")),
        ),
        heat(
            "Spread of used / estimated",
            "How many steps per second fall between which ratios. The row above 1 is what was underestimated.",
            Query(total(series(ratio, "rate5m", part="bucket"), "le"), "{{le}}"),
            exemplars(ratio, part="bucket"),
            unit="none",
            empty="No step was settled",
            width=8,
        ),
        graph(
            "Reserved and charged, dollars per hour",
            "What was held against what it came to; the difference was given back. Uncharged is what was used but not "
            "charged, since the overage policy capped it.",
            *(
                Query(dollars(f"({hourly(total(series(metric, 'rate5m', IN_USD)))})"), name)
                for name, metric in (
                    ("reserved", semconv.AMOUNT_RESERVED_TOTAL),
                    ("charged", _COMMITTED),
                    ("given back", semconv.AMOUNT_RELEASED_TOTAL),
                    ("uncharged", semconv.AMOUNT_UNCHARGED_TOTAL),
                )
            ),
            unit="currencyUSD",
            empty=NO_SPEND,
            width=8,
            colors={"reserved": "yellow", "charged": "blue", "given back": "green", "uncharged": "red"},
        ),
    ]


def _tokens() -> list[Panel]:
    cached = total(series(semconv.TOKENS, "rate5m", equal(semconv.TOKEN_TYPE, "cached")), _MODEL)
    read = total(series(semconv.TOKENS, "rate5m", equal(semconv.TOKEN_TYPE, "input")), _MODEL)
    return [
        graph(
            "Tokens, by type",
            "Per second. Cached tokens are a part of the input, reasoning tokens of the output.",
            Query(total(series(semconv.TOKENS, "rate5m"), _TOKEN), f"{{{{{_TOKEN}}}}}"),
            unit="short",
            empty="No tokens were used",
            width=8,
        ),
        graph(
            "Share of the input from the cache, by model",
            "Cached tokens are cheaper: a fall shows that prompts have changed in front.",
            Query(share(cached, read), f"{{{{{_MODEL}}}}}"),
            unit="percentunit",
            empty="No cached tokens",
            width=8,
            values=("lastNotNull",),
        ),
        graph(
            "Calls without a price, by model",
            "Per second. These are charged at their estimate; give the model a price, or update the price data.",
            Query(total(series(semconv.PRICE_UNKNOWN, "rate5m"), _MODEL), f"{{{{{_MODEL}}}}}"),
            unit="ops",
            empty="Every model has a price",
            width=8,
        ),
    ]


def _tools() -> list[Panel]:
    risk = total(over_range(series(_COMMITTED, "rate5m", _RISK)), TARGET)
    handed = total(over_range(series(_COMMITTED, "rate5m", _HANDOFF)), AGENT, TARGET, TENANT)
    return [
        bars(
            "Risk points, by tool",
            "Charged in the time range; the ten largest. A tool without points is free, and not here.",
            Query(f"sort_desc({top(10, f'({risk}) > 0')})", f"{{{{{TARGET}}}}}"),
            unit="short",
            empty="No risk points were charged",
        ),
        rows(
            "Handoffs",
            "Which agent handed over to which in the time range. The ledger records a handoff as an event, with the "
            "risk points that it was given, by default none.",
            Column("From", AGENT),
            Column("To", TARGET),
            Column("Tenant", TENANT),
            Column("Risk points", expression=handed, unit="short"),
            empty="No agent handed over",
            width=8,
            sort="From",
            descending=False,
        ),
        graph(
            "Tools that the provider hosts",
            "Calls per second of web search, code interpreter and the like: no hook sees them, they are not governed.",
            Query(total(series(semconv.HOSTED_CALLS, "rate5m"), _TOOL, _MODEL), f"{{{{{_TOOL}}}}} of {{{{{_MODEL}}}}}"),
            unit="ops",
            empty="No hosted tool was called",
            width=8,
        ),
    ]
