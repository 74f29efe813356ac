"""The commands; each imports what it needs when it is asked for, and says which extra has it."""

from __future__ import annotations

import argparse
from pathlib import Path

from cycles_otel.cli.extra import cli_extra

DEFAULT_BUDGETS = Path(__file__).with_name("budgets.yaml")


def demo(given: argparse.Namespace) -> int:
    """``cycles-otel demo``; returns 1 where telemetry and ledger differ."""
    with cli_extra(given.program):
        from cycles_otel.cli.demo.command import Options, run_demo

    return run_demo(Options(customers=given.customers, seed=given.seed, serve=given.serve, otlp=given.otlp))


def serve(given: argparse.Namespace) -> int:
    """``cycles-otel serve``; returns after Ctrl-C."""
    with cli_extra(given.program):
        from cycles_otel.local.serve import serve as serve_budgets

    serve_budgets(given.budgets or DEFAULT_BUDGETS, host=given.host, port=given.port, db=given.db)
    return 0
