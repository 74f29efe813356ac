"""The commands; each imports what it needs when it is asked for, and says which extra has it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEFAULT_BUDGETS = Path(__file__).with_name("budgets.yaml")
_PACKAGES_OF_THE_EXTRA = ("rich", "starlette", "uvicorn", "yaml")


def demo(given: argparse.Namespace) -> int:
    """``cycles-otel demo``; returns 1 where telemetry and ledger differ."""
    with _cli_extra():
        from rich.console import Console

        with Console(stderr=True).status("Loading the Agents SDK"):
            from cycles_otel.cli.demo.command import Options, run_demo

    return run_demo(Options(customers=given.customers, seed=given.seed, serve=given.serve, otlp=given.otlp))


def serve(given: argparse.Namespace) -> int:
    """``cycles-otel serve``; returns after Ctrl-C."""
    with _cli_extra():
        from cycles_otel.local.serve import serve as serve_budgets

    serve_budgets(given.budgets or DEFAULT_BUDGETS, host=given.host, port=given.port, db=given.db)
    return 0


@contextmanager
def _cli_extra() -> Iterator[None]:
    """Around the imports of a command.

    Raises
    ------
    MissingExtraError: a package of the extra ``cli`` is not installed; the message says what to install.
    """
    try:
        yield
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _PACKAGES_OF_THE_EXTRA:
            raise
        from cycles_otel.errors import MissingExtraError

        message = f'{missing} is not installed: pip install "cycles-otel[cli]"'
        raise MissingExtraError(message, name=missing) from error
