"""The course of the demo: set up, serve the customers, show what it came to, prove it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from rich.console import Console

from cycles_otel.cli.demo import summary
from cycles_otel.cli.demo.cases import cases
from cycles_otel.cli.demo.display import display_on, shown
from cycles_otel.cli.demo.progress import Watch
from cycles_otel.cli.demo.readings import Readings
from cycles_otel.cli.demo.reconciliation import reconcile
from cycles_otel.cli.demo.stage import Stage, stage
from cycles_otel.cli.demo.workload import DeskLog, serve_customers

DIFFERENT = 1
_PIPE_WIDTH = 120


@dataclass(frozen=True)
class Options:
    """What the command line asks for; see its help."""

    customers: int = 80
    seed: int = 1
    serve: bool = False
    otlp: str | None = None


def run_demo(options: Options, console: Console | None = None) -> int:
    """Run the demo; 0 where the telemetry equals the ledger, else 1.

    Parameters
    ----------
    console: where it is shown, by default the standard output.
    """
    return asyncio.run(_demo(options, console or _standard_output()))


def _standard_output() -> Console:
    console = _Output(highlight=False)
    return console if console.is_terminal else _Output(highlight=False, width=_PIPE_WIDTH)


class _Output(Console):
    """A console that leaves it to the program to say by its exit status that nobody reads any more."""

    def on_broken_pipe(self) -> None:
        """Called where a ``BrokenPipeError`` is handled."""
        raise


async def _demo(options: Options, console: Console) -> int:
    async with stage(options.customers, options.otlp) as set_up:
        _introduce(console, set_up, options)
        log = DeskLog()
        await _serve_customers(options, console, set_up, log)
        await set_up.settle()
        different = _conclude(options, console, set_up, log)
        if options.serve:
            with suppress(asyncio.CancelledError):
                await _go_on(options, console, set_up)
        return DIFFERENT if different else 0


async def _serve_customers(options: Options, console: Console, set_up: Stage, log: DeskLog, first: int = 1) -> None:
    work = serve_customers(cases(options.customers, options.seed, first), set_up.accounts, log)
    await shown(work, Watch(set_up.registry, log, options.customers), display_on(console))


def _introduce(console: Console, set_up: Stage, options: Options) -> None:
    console.print("A support desk under budgets", style="bold")
    console.print(
        f"{options.customers} customers of {len(set_up.accounts)} tenants (seed {options.seed}). "
        "Models are scripted: nothing is really spent."
    )
    for account in set_up.accounts.values():
        console.print(f"  {account.tenant.name:8} {account.tenant.story}")
    console.print(f"Cycles server (embedded): {set_up.server.url}")
    if set_up.telemetry.metrics_url:
        console.print(f"Metrics: {set_up.telemetry.metrics_url}")
    console.print()


def _conclude(options: Options, console: Console, set_up: Stage, log: DeskLog) -> bool:
    """Print what it came to; whether telemetry and ledger differ."""
    readings, server = Readings(set_up.registry), set_up.server
    result = reconcile(readings, server.ledger(), len(server.requests), set_up.witness.client_spans)
    summary.print_spans(console, set_up.witness.spans)
    if set_up.telemetry.metrics_url:
        summary.print_metrics_page(console, set_up.telemetry.metrics_url)
    summary.print_summary(console, readings, log)
    if options.otlp:
        _say_whether_sent(console, set_up, options.otlp)
    summary.print_reconciliation(console, result)
    return bool(result.differences)


def _say_whether_sent(console: Console, set_up: Stage, endpoint: str) -> None:
    sent = set_up.telemetry.force_flush()
    console.print()
    console.print(f"The traces were sent to {endpoint}." if sent else f"{endpoint} did not take the traces.")


async def _go_on(options: Options, console: Console, set_up: Stage) -> None:
    """Round after round, each with fresh money, until Ctrl-C cancels it."""
    console.print(f"\nThe desk goes on; metrics at {set_up.telemetry.metrics_url}. Ctrl-C ends it.")
    first = 1
    while True:
        first += options.customers
        set_up.server.clear_requests()
        set_up.witness.clear()
        set_up.top_up(options.customers)
        await _serve_customers(options, console, set_up, DeskLog(), first)
