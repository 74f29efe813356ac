"""What is left, how fast it goes, when it is gone, and who spends it."""

from __future__ import annotations

from cycles_otel.telemetry import semconv
from dashboards.generate.board import BUDGETS, DENIALS, Dashboard, Row
from dashboards.generate.panels import NEVER, PLAIN, USED, Column, Panel, bars, graph, number, rows
from dashboards.generate.promql import DAY
from dashboards.generate.queries import (
    AGENT,
    KIND,
    REASON,
    SCOPE,
    TARGET,
    TENANT,
    UNIT,
    USD,
    Query,
    budgets,
    dollars,
    equal,
    hourly,
    or_nothing,
    over_range,
    series,
    share,
    top,
    total,
    unequal,
)
from dashboards.generate.recording import BUDGET_USED, budget_burn, budget_exhausted_in, recorded
from dashboards.generate.thresholds import EXHAUSTED_IN_A_DAY, EXHAUSTED_SOON

NO_BALANCE = "No balance was seen"
NO_SPEND = "Nothing was charged"
BY_BUDGET = f"{{{{{SCOPE}}}}} {{{{{UNIT}}}}}"

IN_USD, NOT_IN_USD = equal(semconv.UNIT, USD), unequal(semconv.UNIT, USD)
_TENANTS_OWN = f'{SCOPE}!~".*/.*"'
"""Matches budgets of tenants: what is below them is a part of theirs, and would be counted twice."""
_OVER_LIMIT = recorded(semconv.BUDGET_OVER_LIMIT, "last")
_LEFT_FOR = ((None, "red"), (EXHAUSTED_SOON, "orange"), (EXHAUSTED_IN_A_DAY, "green"))
_COMMITTED, _DENIED = semconv.AMOUNT_COMMITTED_TOTAL, semconv.AMOUNT_DENIED_TOTAL


def board() -> Dashboard:
    return Dashboard(
        BUDGETS,
        "What is left of each budget, how fast it goes, when it is gone at this rate, and who spends it. "
        "USD_MICROCENTS are shown as dollars.",
        [
            Row("", _answers()),
            Row("What is left", [*_left(), *_tables()]),
            Row("How fast it goes, and when it is gone", _burn()),
            Row("Held, spent and owed", _held()),
            Row("Who spends", _spenders()),
            Row("What was refused", _refused()),
        ],
    )


def _answers() -> list[Panel]:
    spent = total(over_range(series(_COMMITTED, "rate5m", IN_USD)))
    burn = total(series(_COMMITTED, "rate5m", IN_USD))
    denied = total(over_range(series(semconv.DENIALS, "rate5m")))
    return [
        number(
            "Fullest budget",
            "The share of its allocation that the fullest of the selected budgets has used; what is held counts as "
            "used. Yellow from 80 %, orange from 95 %, red from 100 %.",
            f"max({budgets(BUDGET_USED)})",
            unit="percentunit",
            steps=USED,
            empty=NO_BALANCE,
            decimals=1,
        ),
        number(
            "First to run out",
            "How long the budget lasts that runs out first, if it goes on as in the last hour. Orange below a day, red "
            "below an hour.",
            f"min({budgets(budget_exhausted_in('1h'))})",
            unit="s",
            steps=_LEFT_FOR,
            empty="Nothing burns",
        ),
        number(
            "Budgets over their limit",
            "Budgets on which every reservation is refused until an operator clears them, since a commit went beyond "
            "what they cover.",
            f"sum({budgets(_OVER_LIMIT)})",
            steps=NEVER,
            empty="None known",
        ),
        number(
            "Spent",
            "Dollars charged in the time range, by what the agents' processes counted.",
            dollars(f"({spent})"),
            unit="currencyUSD",
            empty=NO_SPEND,
            decimals=2,
        ),
        number(
            "Burn per hour",
            "Dollars that are charged per hour, by the last five minutes.",
            dollars(f"({hourly(burn)})"),
            unit="currencyUSD",
            empty=NO_SPEND,
            decimals=2,
        ),
        number(
            "Denied steps",
            "Steps that were not allowed in the time range. Why, and whose, is on the board Denials.",
            or_nothing(denied),
            steps=((None, "green"), (0.5, "orange")),
            decimals=0,
        ),
    ]


def _left() -> list[Panel]:
    used = top(12, f"sort_desc({budgets(BUDGET_USED)})")
    return [
        bars(
            "Used, by budget",
            "The share of the allocation that is used, of the fullest twelve budgets: spent, owed and held.",
            Query(used, BY_BUDGET),
            unit="percentunit",
            empty=NO_BALANCE,
            steps=USED,
            width=10,
            height=9,
            maximum=1,
        ),
        graph(
            "Used, over time",
            "The same over time, with lines at 80, 95 and 100 %. A budget falls when it is funded or reset.",
            Query(top(12, budgets(BUDGET_USED)), BY_BUDGET),
            unit="percentunit",
            empty=NO_BALANCE,
            steps=USED,
            width=14,
            height=9,
            right=True,
            values=("lastNotNull",),
        ),
    ]


def _tables() -> list[Panel]:
    tip = "A click on a scope shows what was denied to its tenant."
    return [
        rows(
            "Budgets in dollars",
            f"Each budget of dollars as it was last seen, by any process or by the exporter. {tip}",
            *_columns(IN_USD, "currencyUSD", dollars),
            empty="No budget in dollars was seen",
            height=7,
            sort="Used",
        ),
        rows(
            "Budgets in other units",
            f"Tokens, credits and risk points, in whole numbers. {tip}",
            *_columns(NOT_IN_USD, "locale", str),
            empty="No budget in another unit was seen",
            height=7,
            sort="Used",
        ),
    ]


def _columns(matcher: str, unit: str, spelled: object) -> list[Column]:
    def amount(field: str) -> str:
        return _by_budget(recorded(semconv.BUDGETS[field], "last"), matcher)

    assert callable(spelled)
    last = {field: spelled(amount(field)) for field in ("allocated", "remaining", "reserved", "spent", "debt")}
    burn = spelled(f"({hourly(_by_budget(budget_burn('1h'), matcher))})")
    gone = _by_budget(budget_exhausted_in("1h"), matcher)
    link = f"/d/{DENIALS}?var-tenant=${{__data.fields.Tenant}}&${{__url_time_range}}"
    return [
        Column("Scope", SCOPE, width=360, link=link),
        Column("Tenant", TENANT, width=120),
        Column("Unit", UNIT, width=160),
        Column(
            "Used", expression=_by_budget(BUDGET_USED, matcher), unit="percentunit", steps=USED, bar=True, width=240
        ),
        Column("Remaining", expression=last["remaining"], unit=unit),
        Column("Allocated", expression=last["allocated"], unit=unit),
        Column("Spent", expression=last["spent"], unit=unit),
        Column("Held", expression=last["reserved"], unit=unit),
        Column("Owed", expression=last["debt"], unit=unit),
        Column("Burn per hour", expression=burn, unit=unit),
        Column("Lasts", expression=gone, unit="s", steps=_LEFT_FOR),
    ]


def _by_budget(name: str, matcher: str) -> str:
    return f"max by ({SCOPE}, {TENANT}, {UNIT}) ({budgets(name, matcher)})"


def _burn() -> list[Panel]:
    windows = ("5m", "1h", "1d")
    ahead = f"predict_linear({_last('remaining')}[1h], {DAY})"
    allocated = f"({_last('allocated')} > 0)"
    return [
        graph(
            "Burn in dollars per hour",
            "What is charged per hour, averaged over five minutes, an hour and a day. The short one above the long "
            "ones means that spending has gone up.",
            *(
                Query(dollars(f"({hourly(total(series(_COMMITTED, f'rate{window}', IN_USD)))})"), f"over {window}")
                for window in windows
            ),
            unit="currencyUSD",
            empty=NO_SPEND,
            width=8,
        ),
        graph(
            "Burn in other units per hour",
            "The same for tokens, credits and risk points. The scale is logarithmic.",
            *(
                Query(
                    hourly(total(series(_COMMITTED, f"rate{window}", NOT_IN_USD), UNIT)),
                    f"{{{{{UNIT}}}}} over {window}",
                )
                for window in windows
            ),
            unit="short",
            empty=NO_SPEND,
            width=8,
            minimum=None,
            log=True,
        ),
        graph(
            "Share of the allocation burned per hour",
            "By budget, over the last hour: at 10 % per hour a budget that is whole lasts ten hours.",
            Query(
                top(8, f"{hourly(budgets(budget_burn('1h')))} / {allocated}"),
                BY_BUDGET,
            ),
            unit="percentunit",
            empty=NO_BALANCE,
            width=8,
            values=("lastNotNull",),
        ),
        graph(
            "Lasts, at the burn of the last hour",
            "How long what remains lasts: remaining / burn, of the eight that run out first. Lines: a day, an hour.",
            Query(f"bottomk(8, {budgets(budget_exhausted_in('1h'))})", BY_BUDGET),
            unit="s",
            empty="Nothing burns",
            steps=_LEFT_FOR,
            minimum=None,
            log=True,
            values=("lastNotNull",),
        ),
        graph(
            "Remaining in 24 hours, on the line of the last hour",
            "What would remain in 24 hours, as a share of the allocation, if it went on along a straight line "
            "(predict_linear over an hour). Below 0 a budget is gone before that; what is beyond the scale is cut.",
            Query(f"clamp(bottomk(8, {ahead} / {allocated}), -1, 1)", BY_BUDGET),
            unit="percentunit",
            empty=NO_BALANCE,
            steps=((None, "red"), (0, "green")),
            minimum=None,
            values=("lastNotNull",),
        ),
    ]


def _held() -> list[Panel]:
    def stacked(field: str, matcher: str) -> str:
        return total(budgets(recorded(semconv.BUDGETS[field], "last"), matcher, _TENANTS_OWN), UNIT)

    parts = {"spent": "spent", "owed": "debt", "held": "reserved", "remaining": "remaining"}
    colors = {"spent": "blue", "owed": "red", "held": "yellow", "remaining": "green"}
    owed, limit = _last("debt"), f"({_last('overdraft_limit')} > 0)"
    return [
        graph(
            "Where the dollars are",
            "The tenants' own budgets together: spent, owed, held by reservations, and what remains. Budgets below a "
            "tenant's are parts of it, and not added.",
            *(Query(dollars(stacked(field, IN_USD)), name) for name, field in parts.items()),
            unit="currencyUSD",
            empty="No budget in dollars was seen",
            width=8,
            stacked=True,
            minimum=None,
            values=("lastNotNull",),
            colors=colors,
        ),
        graph(
            "Held",
            "The share of the allocation that reservations hold: high and steady means that estimates are far too "
            "large, or that reservations are not settled.",
            Query(top(8, f"{_last('reserved')} / ({_last('allocated')} > 0)"), BY_BUDGET),
            unit="percentunit",
            empty=NO_BALANCE,
            width=8,
            values=("lastNotNull", "max"),
        ),
        graph(
            "Debt, as a share of the overdraft limit",
            "What was charged beyond a budget, where that is allowed. At 100 % the next commit beyond it is refused.",
            Query(top(8, f"{owed} / {limit}"), BY_BUDGET),
            unit="percentunit",
            empty="No budget has an overdraft",
            steps=USED,
            width=8,
            values=("lastNotNull",),
        ),
    ]


def _last(field: str) -> str:
    return budgets(recorded(semconv.BUDGETS[field], "last"))


def _spenders() -> list[Panel]:
    spent = over_range(series(_COMMITTED, "rate5m", IN_USD))

    def largest(title: str, label: str, legend: str) -> Panel:
        return bars(
            title,
            f"Dollars charged in the time range, by {legend}; the ten largest.",
            Query(f"sort_desc({top(10, dollars(f'({total(spent, label)})'))})", f"{{{{{label}}}}}"),
            unit="currencyUSD",
            empty=NO_SPEND,
            steps=PLAIN,
        )

    return [
        largest("Top tenants", TENANT, "tenant"),
        largest("Top agents", AGENT, "agent"),
        largest("Top models and tools", TARGET, "model or tool"),
    ]


def _refused() -> list[Panel]:
    refused = dollars(f"({hourly(total(series(_DENIED, 'rate5m', IN_USD), TENANT))})")
    decided = series(semconv.DECISIONS, "rate5m", equal(semconv.DRY_RUN, "false"))
    denied = series(semconv.DECISIONS, "rate5m", equal(semconv.DECISION, semconv.DENY), equal(semconv.DRY_RUN, "false"))
    return [
        graph(
            "Denied steps, by tenant and reason",
            "Per second. The board Denials says more.",
            Query(total(series(semconv.DENIALS, "rate5m"), TENANT, REASON), f"{{{{{TENANT}}}}} {{{{{REASON}}}}}"),
            unit="ops",
            empty="Nothing was denied",
            width=8,
        ),
        graph(
            "Dollars refused per hour, by tenant",
            "What the refused steps would have reserved.",
            Query(refused, f"{{{{{TENANT}}}}}"),
            unit="currencyUSD",
            empty="Nothing was denied",
            width=8,
        ),
        graph(
            "Share of decisions that deny, by kind of step",
            "Denials among the answers of the server.",
            Query(share(total(denied, KIND), total(decided, KIND)), f"{{{{{KIND}}}}}"),
            unit="percentunit",
            empty="Nothing was denied",
            width=8,
        ),
    ]
