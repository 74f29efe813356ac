"""Our series beside those of the ledger: what was charged, and which calls the server counted itself."""

from __future__ import annotations

from cycles_otel.telemetry import semconv
from dashboards.generate import server
from dashboards.generate.board import RECONCILIATION, Dashboard, Row
from dashboards.generate.budget_overview import IN_USD, NOT_IN_USD
from dashboards.generate.panels import Column, Panel, Values, graph, number, rows
from dashboards.generate.queries import (
    REASON,
    TENANT,
    UNIT,
    Query,
    budgets,
    dollars,
    equal,
    hourly,
    over_range,
    series,
    total,
)
from dashboards.generate.recording import budget_burn
from dashboards.generate.server import recorded_by_server

NOT_SCRAPED = "The server's own metrics are not scraped"
_TENANTS_OWN = f'{server.TENANT}=~"$tenant"'
_SCOPE_OF_TENANT = 'cycles_scope_path!~".*/.*"'
_ACCEPTED = f'{server.DECISION}!="{semconv.DENY}"'
"""Of what it refuses the server counts the call as well; ours are those that worked."""
_COLORS = {"ours": "blue", "the server's": "orange", "the ledger's": "orange", NOT_SCRAPED: "gray"}
_AGREES = ((None, "red"), (-0.05, "yellow"), (-0.02, "green"), (0.02, "yellow"), (0.05, "red"))
"""So much may differ at the edges of the time range; the longer that is, the less it does."""
_NOTE = (
    "A reply that was lost on the way is counted by the server alone; the board Enforcement health shows such errors."
)


def board() -> Dashboard:
    return Dashboard(
        RECONCILIATION,
        "What our counters say beside what the ledger says: the balances that were seen, and the server's own metrics "
        "where they are scraped. They must agree.",
        [
            Row("", _answers()),
            Row("What was charged: our counters beside the balances", _charged()),
            Row("Calls: ours beside the server's", _calls()),
            Row("What the server alone sees", _server()),
        ],
    )


def _theirs(what: str, *matchers: str) -> str:
    labels = ", ".join((*matchers, _TENANTS_OWN))
    return f"{recorded_by_server(what)}{{{labels}}}"


def _reserves(*matchers: str) -> str:
    """Reserves that the server answered; it does not count those of shadow mode."""
    live = (equal(semconv.OPERATION_NAME, "reserve"), equal(semconv.DRY_RUN, "false"))
    return series(semconv.DECISIONS, "rate5m", *live, *matchers)


def _answered(operation: str) -> str:
    worked = (equal(semconv.OPERATION_NAME, operation), equal(semconv.ERROR_TYPE, ""))
    return series(semconv.OPERATION_DURATION, "rate5m", *worked, part="count")


def _answers() -> list[Panel]:
    scraped = recorded_by_server("reserve")
    counted = total(over_range(series(semconv.AMOUNT_COMMITTED_TOTAL, "rate5m", IN_USD)))
    charged = total(over_range(budgets(budget_burn("5m"), IN_USD, _SCOPE_OF_TENANT)))
    return [
        number(
            "The server's own metrics",
            "Whether Prometheus scrapes /actuator/prometheus of the Cycles server. Without "
            "them this board compares with the balances alone.",
            f"count({scraped}) > bool 0 or vector(0)",
            values=Values({"1": ("scraped", "green"), "0": ("not scraped", "gray")}),
            steps=(),
        ),
        number(
            "Dollars, ours against the ledger's",
            "By how much our counters differ from what the balances of tenants say was charged in the time range. More "
            "than 5 % either way is red: other clients charge the same budgets, or a process is not scraped.",
            f"({counted}) / (({charged}) > 0) - 1",
            unit="percentunit",
            steps=_AGREES,
            empty="Nothing was charged",
            decimals=2,
        ),
        *(
            number(
                title,
                f"By how much our count differs from the server's in the time range. {_NOTE}",
                f"(sum({over_range(ours)})) / ((sum({over_range(theirs)})) > 0) - 1",
                unit="percentunit",
                steps=_AGREES,
                empty="Nothing to compare",
                decimals=2,
            )
            for title, ours, theirs in (
                ("Reserves: difference", _reserves(), _theirs("reserve")),
                ("Commits: difference", _answered("commit"), _theirs("commit", _ACCEPTED)),
                ("Releases: difference", _answered("release"), _theirs("release", _ACCEPTED)),
                ("Events: difference", _answered("event"), _theirs("event", _ACCEPTED)),
            )
        ),
    ]


def _charged() -> list[Panel]:
    def both(matcher: str, scale: object, *labels: str) -> list[Query]:
        assert callable(scale)
        ours = hourly(total(series(semconv.AMOUNT_COMMITTED_TOTAL, "rate5m", matcher), *labels))
        theirs = hourly(total(budgets(budget_burn("5m"), matcher, _SCOPE_OF_TENANT), *labels))
        suffix = "".join(f" {{{{{label}}}}}" for label in labels)
        return [Query(scale(f"({ours})"), f"ours{suffix}"), Query(scale(f"({theirs})"), f"the ledger's{suffix}")]

    counted = total(over_range(series(semconv.AMOUNT_COMMITTED_TOTAL, "rate5m")), TENANT, UNIT)
    charged = total(over_range(budgets(budget_burn("5m"), _SCOPE_OF_TENANT)), TENANT, UNIT)
    return [
        graph(
            "Dollars charged per hour",
            "What our processes counted, beside the growth of spent and debt of the tenants' own budgets. The lines "
            "must lie on each other.",
            *both(IN_USD, dollars),
            unit="currencyUSD",
            empty="Nothing was charged",
            colors=_COLORS,
            width=8,
        ),
        graph(
            "Other units charged per hour",
            "The same for tokens, credits and risk points.",
            *both(NOT_IN_USD, str, UNIT),
            unit="short",
            empty="Nothing was charged in another unit",
            width=8,
        ),
        rows(
            "Charged, by tenant and unit",
            "In whole numbers of the unit (100,000,000 USD_MICROCENTS are a dollar), over the time range. A tenant "
            "without a budget of its own at the top has no figure of the ledger.",
            Column("Tenant", TENANT),
            Column("Unit", UNIT, width=160),
            Column("Ours", expression=counted, unit="locale", decimals=0),
            Column("The ledger's", expression=charged, unit="locale", decimals=0),
            Column(
                "Difference",
                expression=f"({counted}) / (({charged}) > 0) - 1",
                unit="percentunit",
                decimals=2,
                steps=_AGREES,
            ),
            empty="Nothing was charged",
            width=8,
            sort="Tenant",
            descending=False,
        ),
    ]


def _calls() -> list[Panel]:
    denied, granted = equal(semconv.DECISION, semconv.DENY), f'cycles_decision!="{semconv.DENY}"'
    pairs = (
        ("Reserves granted", _reserves(granted), _theirs("reserve", _ACCEPTED)),
        ("Reserves denied", _reserves(denied), _theirs("reserve", f'{server.DECISION}="{semconv.DENY}"')),
        ("Commits", _answered("commit"), _theirs("commit", _ACCEPTED)),
        ("Releases", _answered("release"), _theirs("release", _ACCEPTED)),
        ("Extensions", _answered("extend"), _theirs("extend", _ACCEPTED)),
        ("Events", _answered("event"), _theirs("event", _ACCEPTED)),
    )
    return [
        graph(
            title,
            f"Per second, as our processes and as the server counted them. {_NOTE}"
            + ("" if title.startswith("Reserves") else " Ours has no tenant: select all of them."),
            Query(total(ours), "ours"),
            Query(total(theirs), "the server's"),
            Query(f"absent({recorded_by_server('reserve')}) * 0", NOT_SCRAPED),
            unit="reqps",
            empty="No such call was made",
            colors=_COLORS,
            width=8,
            height=7,
        )
        for title, ours, theirs in pairs
    ]


def _server() -> list[Panel]:
    reasons = total(over_range(_theirs("reserve", f'{server.DECISION}="{semconv.DENY}"')), server.REASON)
    ours = total(over_range(_reserves(equal(semconv.DECISION, semconv.DENY))), REASON)
    aligned = f'label_replace({reasons}, "{REASON}", "$1", "{server.REASON}", "(.*)")'
    return [
        rows(
            "Denials, by reason",
            "Denied reserves in the time range, as the server and as our processes counted them.",
            Column("Reason", REASON),
            Column("Ours", expression=ours, decimals=0),
            Column("The server's", expression=f"sum by ({REASON}) ({aligned})", decimals=0),
            empty="Nothing was denied",
            width=8,
            sort="Ours",
        ),
        graph(
            "Expired reservations, and overdrafts",
            "Per second, as the server counted them: reservations that nobody settled in time, and commits into debt.",
            Query(total(_theirs("expired"), server.TENANT), f"expired {{{{{server.TENANT}}}}}"),
            Query(total(_theirs("overdraft"), server.TENANT), f"overdraft {{{{{server.TENANT}}}}}"),
            Query(f"absent({recorded_by_server('reserve')}) * 0", NOT_SCRAPED),
            unit="ops",
            empty="Nothing expired, and nothing went into debt",
            colors=_COLORS,
            width=8,
        ),
        graph(
            "Runs of the server's maintenance",
            "Per second: the job that expires reservations. A line at 0 means that nothing expires any more.",
            Query(f"sum(rate({server.MAINTENANCE_RUNS}[$__rate_interval]))", "runs"),
            unit="ops",
            empty=NOT_SCRAPED,
            width=8,
        ),
    ]
