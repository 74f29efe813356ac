"""The course of the demo: set up, serve the customers, show what it came to, prove it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rich.console import Console

from cycles_otel.cli.demo import metrics_page, span_tree
from cycles_otel.cli.demo.cases import cases
from cycles_otel.cli.demo.display import display_on, shown
from cycles_otel.cli.demo.log import DeskLog
from cycles_otel.cli.demo.progress import Watch
from cycles_otel.cli.demo.readings import Readings
from cycles_otel.cli.demo.reconciliation import Reconciliation, reconcile
from cycles_otel.cli.demo.stage import Stage, stage
from cycles_otel.cli.demo.summary import print_reconciliation, print_summary
from cycles_otel.cli.demo.workload import AT_A_TIME, serve_customers

DIFFERENT = 1
_PIPE_WIDTH = 110


@dataclass(frozen=True)
class Options:
    """What the command line asks for; see its help."""

    customers: int = 96
    seed: int = 1
    serve: bool = False
    otlp: str | None = None


def run_demo(options: Options) -> int:
    """Run the demo; 0 where the telemetry equals the ledger, else 1."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_WIDTH)
    return asyncio.run(_demo(options, console))


async def _demo(options: Options, console: Console) -> int:
    async with stage(options.customers, options.otlp) as set_up:
        _introduce(console, set_up, options)
        log = DeskLog()
        await _serve_customers(options, console, set_up, log)
        await set_up.settle()
        readings = Readings(set_up.registry)
        print_summary(console, readings, log)
        _print_telemetry(console, set_up)
        result = _reconciled(set_up, readings)
        print_reconciliation(console, result)
        if options.otlp:
            _say_whether_sent(console, set_up, options.otlp)
        if options.serve:
            await _go_on(options, console, set_up)
        return DIFFERENT if result.differences else 0


async def _serve_customers(options: Options, console: Console, set_up: Stage, log: DeskLog, first: int = 1) -> None:
    work = serve_customers(cases(options.customers, options.seed, first), set_up.accounts, log)
    await shown(work, Watch(set_up.registry, log, options.customers), display_on(console))


async def _go_on(options: Options, console: Console, set_up: Stage) -> None:
    """Round after round, each with fresh money, until Ctrl-C."""
    console.print(f"\nThe desk goes on; metrics at {set_up.telemetry.metrics_url}. Ctrl-C ends it.")
    first = 1
    while True:
        first += options.customers
        set_up.server.clear_requests()
        set_up.witness.clear()
        set_up.top_up(options.customers)
        await _serve_customers(options, console, set_up, DeskLog(), first)


def _introduce(console: Console, set_up: Stage, options: Options) -> None:
    console.print("A support desk under budgets", style="bold")
    console.print(
        f"{options.customers} customers of {len(set_up.accounts)} tenants, {AT_A_TIME} at a time (seed {options.seed})."
        " Models are scripted: nothing is really spent.\n"
        f"Cycles server (embedded): {set_up.server.url}    metrics: {set_up.telemetry.metrics_url}\n"
    )


def _print_telemetry(console: Console, set_up: Stage) -> None:
    spans = set_up.witness.spans
    for title, trace in (
        ("Spans of one run", span_tree.shortest_run_with_heartbeat(spans)),
        ("Spans of a run that was stopped", span_tree.shortest_denied_run(spans)),
    ):
        if trace:
            console.print(title, style="bold")
            console.print(span_tree.tree(trace), soft_wrap=True)
            console.print()
    if url := set_up.telemetry.metrics_url:
        console.print(f"Some lines of {url}", style="bold")
        for line in metrics_page.excerpt(metrics_page.fetch(url)):
            console.print(line, markup=False, soft_wrap=True)
        console.print()


def _reconciled(set_up: Stage, readings: Readings) -> Reconciliation:
    server = set_up.server
    return reconcile(readings, server.ledger(), len(server.requests), set_up.witness.client_spans)


def _say_whether_sent(console: Console, set_up: Stage, endpoint: str) -> None:
    sent = set_up.telemetry.force_flush()
    console.print(f"The traces were sent to {endpoint}." if sent else f"{endpoint} did not take the traces.")
