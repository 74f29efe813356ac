"""What the demo prints at its end: who spent what, what was denied and why, and whether telemetry equals the ledger."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from cycles_otel.cli.demo.amounts import POINTS, USD, amount, dollars, points
from cycles_otel.cli.demo.log import DeskLog
from cycles_otel.cli.demo.progress import heartbeats, spend_by_agent, steps
from cycles_otel.cli.demo.readings import Readings
from cycles_otel.cli.demo.reconciliation import Reconciliation
from cycles_otel.telemetry import semconv
from cycles_otel.telemetry.schema import Metric


def print_summary(console: Console, readings: Readings, log: DeskLog) -> None:
    """The tables."""
    console.print(
        f"\n{log.served} customers in {log.seconds:.1f} s: {log.answers} answered, {log.stops} stopped in their run, "
        f"{log.refusals} stopped at the door. {steps(readings)} steps ran under a reservation, "
        f"unenforced = {readings.total(semconv.UNENFORCED_STEPS)}, heartbeats = {heartbeats(readings)}."
    )
    console.print(_by_agent(readings), _by_tool(readings), _by_model(readings), _denied(readings), sep="\n")


def print_reconciliation(console: Console, result: Reconciliation) -> None:
    """One line with the sums where all is equal; otherwise each difference."""
    if result.differences:
        console.print("telemetry ≠ ledger", style="bold red")
        for each in result.differences:
            console.print(f"  {each}  (difference {each.difference:+,})")
        return
    sums = "   ".join(str(each) for each in result.sums)
    console.print(f"telemetry = ledger   {sums}", style="bold green", soft_wrap=True)
    console.print(
        f"  for each of {len(result.parts)} tenants' budgets; {'; '.join(str(each) for each in result.calls)}"
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    return table


def _by_agent(readings: Readings) -> Table:
    table = _table("Spent, by agent", "agent", "dollars", "risk points")
    for agent, (microcents, risk) in spend_by_agent(readings).items():
        table.add_row(agent, dollars(microcents), points(risk))
    return table


def _by_tool(readings: Readings) -> Table:
    table = _table("Spent, by tool", "tool", "risk points")
    for tool, spent in _by_target(readings, semconv.AMOUNT_COMMITTED_TOTAL, POINTS).items():
        if spent:
            table.add_row(tool, points(spent))
    return table


def _by_model(readings: Readings) -> Table:
    table = _table("Spent, by model", "model", "dollars", "tokens in", "of them cached", "tokens out")
    tokens = readings.by(semconv.TOKENS, [semconv.MODEL, semconv.TOKEN_TYPE])
    for model, spent in _by_target(readings, semconv.AMOUNT_COMMITTED_TOTAL, USD).items():
        counts = [f"{tokens.get((model, kind), 0):,}" for kind in ("input", "cached", "output")]
        table.add_row(model, dollars(spent), *counts)
    return table


def _denied(readings: Readings) -> Table:
    table = _table("Denied, before it cost anything", "tenant", "agent", "what", "why", "times")
    keys = (semconv.TENANT, semconv.AGENT_NAME, semconv.ACTION_KIND, semconv.REASON_CODE)
    denials = readings.by(semconv.DECISIONS, keys, {semconv.DECISION: semconv.DENY})
    for (tenant, agent, kind, reason), times in sorted(denials.items()):
        table.add_row(tenant, agent, kind, reason, str(times))
    refused = readings.by(semconv.AMOUNT_DENIED_TOTAL, [semconv.UNIT])
    table.caption = "asked for and refused: " + ", ".join(amount(sum_, unit) for (unit,), sum_ in refused.items())
    table.caption_justify = "left"
    return table


def _by_target(readings: Readings, metric: Metric, unit: str) -> dict[str, int]:
    spent = readings.by(metric, [semconv.TARGET], {semconv.UNIT: unit})
    return {target: spent[target,] for (target,) in sorted(spent)}
