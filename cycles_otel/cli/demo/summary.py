"""What the demo prints at its end: telemetry as others will see it, who spent what, what was denied, and the proof."""

from __future__ import annotations

import re
from urllib.request import urlopen

from opentelemetry.sdk.trace import ReadableSpan
from rich.console import Console
from rich.table import Table

from cycles_otel.cli.demo import span_tree
from cycles_otel.cli.demo.accounts import LLM_ESTIMATE
from cycles_otel.cli.demo.amounts import POINTS, USD, amount, dollars, points
from cycles_otel.cli.demo.progress import heartbeats, spend_by_agent, steps
from cycles_otel.cli.demo.readings import Readings
from cycles_otel.cli.demo.reconciliation import UNITS, Reconciliation
from cycles_otel.cli.demo.workload import DeskLog
from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Metric

_OF_THE_PAGE = (
    (semconv.AMOUNT_COMMITTED_TOTAL, "llm.completion"),
    (semconv.DECISIONS, semconv.DENY),
    (semconv.BUDGETS["remaining"], "USD"),
    (semconv.HEARTBEAT_MARGIN_SECONDS, "_count"),
    (semconv.RUNS, ""),
)
"""The metrics of which a line is shown, and a word that the line has."""


def print_spans(console: Console, spans: list[ReadableSpan]) -> None:
    """A run as a tracing tool would show it, and one that was stopped."""
    for title, trace in (
        ("The spans of a run", span_tree.shortest_run_with_heartbeat(spans)),
        ("The spans of a run that was stopped", span_tree.shortest_denied_run(spans)),
    ):
        if trace:
            console.print()
            console.print(title, style="bold")
            console.print(span_tree.tree(trace))


def print_metrics_page(console: Console, url: str) -> None:
    """Some lines of ``/metrics``, fetched over HTTP as a Prometheus does; labels without a value are left out."""
    with urlopen(url, timeout=10) as reply:
        lines = str(reply.read().decode()).splitlines()
    console.print()
    console.print(f"Some lines of {url}", style="bold", soft_wrap=True)
    for metric, word in _OF_THE_PAGE:
        of_metric = (line for line in lines if line.startswith(metric.prometheus_name) and word in line)
        for line in [line for line in of_metric if "_created" not in line][:1]:
            console.print(re.sub(r'\w+="",?', "", line), markup=False, soft_wrap=True)


def print_summary(console: Console, readings: Readings, log: DeskLog) -> None:
    """What became of the customers, and the tables."""
    console.print()
    console.print(
        f"{log.served} customers in {log.seconds:.1f} s: {log.answers} answered, {log.stops} stopped in a run, "
        f"{log.refusals} turned away",
        style="bold",
    )
    console.print(
        f"{steps(readings)} steps under a reservation, {heartbeats(readings)} heartbeats, "
        f"{readings.total(semconv.UNENFORCED_STEPS)} unenforced steps"
    )
    side_by_side = Table.grid(padding=(0, 4, 0, 0))
    side_by_side.add_row(_by_agent(readings), _by_tool(readings))
    for table in side_by_side, _by_model(readings), _denied(readings):
        if table.row_count:
            console.print()
            console.print(table)


def print_reconciliation(console: Console, result: Reconciliation) -> None:
    """At the end one line with the sums where all is equal; otherwise each difference."""
    console.print()
    if result.differences:
        console.print("telemetry ≠ ledger", style="bold red")
        for each in result.differences:
            console.print(f"  {each}  (difference {each.difference:+,})", soft_wrap=True)
        return
    requests = result.calls[0].server
    console.print(
        f"Equal as well: each tenant by itself; spans, observations and requests on the wire ({requests:,} each)",
        style="dim",
    )
    console.print("telemetry = ledger  " + ", ".join(str(each) for each in result.sums), style="bold green")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True, header_style="dim")
    return table


def _by_agent(readings: Readings) -> Table:
    table = _table("Spent by agent", "agent", "dollars", "risk points")
    for agent, (microcents, risk) in spend_by_agent(readings).items():
        table.add_row(agent, dollars(microcents), points(risk))
    return table


def _by_tool(readings: Readings) -> Table:
    table = _table("Spent by tool", "tool", "risk points")
    for tool, spent in _by_target(readings, semconv.AMOUNT_COMMITTED_TOTAL, POINTS).items():
        if spent:
            table.add_row(tool, points(spent))
    return table


def _by_model(readings: Readings) -> Table:
    table = _table("Spent by model", "model", "dollars", "tokens in", "cached", "tokens out")
    tokens = readings.by(semconv.TOKENS, [semconv.MODEL, semconv.TOKEN_TYPE])
    for model, spent in _by_target(readings, semconv.AMOUNT_COMMITTED_TOTAL, USD).items():
        counts = [f"{tokens.get((model, kind), 0):,}" for kind in ("input", "cached", "output")]
        table.add_row(model, dollars(spent), *counts)
    return table


def _denied(readings: Readings) -> Table:
    table = _table("Denied, before it cost anything", "tenant", "agent", "what", "why", "times", "would have cost")
    what = (semconv.TENANT, semconv.AGENT_NAME, semconv.ACTION_KIND)
    refused = readings.by(semconv.AMOUNT_DENIED_TOTAL, (*what, semconv.UNIT))
    denials = readings.by(semconv.DECISIONS, (*what, semconv.REASON_CODE), {semconv.DECISION: semconv.DENY})
    for (*step, reason), times in sorted(denials.items()):
        asked = [(refused.get((*step, unit)), unit) for unit in UNITS]
        costs = [amount(sum_, unit) for sum_, unit in asked if sum_]
        table.add_row(*step, reason, str(times), ", ".join(costs) or dollars(LLM_ESTIMATE * times))
    return table


def _by_target(readings: Readings, metric: Metric, unit: str) -> dict[str, int]:
    spent = readings.by(metric, [semconv.TARGET], {semconv.UNIT: unit})
    return {target: spent[target,] for (target,) in sorted(spent)}
