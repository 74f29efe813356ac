"""The commands; each imports what it needs when it is asked for, and says which extra has it."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

DEFAULT_BUDGETS = Path(__file__).with_name("budgets.yaml")
LEVELS = ("tenant", "workspace", "app", "workflow", "agent")
PACE = ("interval", "jitter", "timeout", "stale_after", "max_backoff")
_PACKAGES_OF_THE_EXTRA = ("rich", "shtab", "starlette", "uvicorn", "yaml")


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


def exporter(given: argparse.Namespace) -> int:
    """``cycles-otel exporter``; returns 0 after SIGTERM, and with ``--once`` 1 where a target is down."""
    # It is one process, whatever the programs around it do: in multiprocess mode no series could disappear.
    for variable in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
        os.environ.pop(variable, None)
    with _cli_extra():
        from cycles_otel.exporter.command import Options, run_exporter

        pace = {name: value for name, value in vars(given).items() if name in PACE and value is not None}
        options = Options(given.config, given.host, given.port, given.metrics, given.once, given.max_budgets, pace)
        return run_exporter(options)


def dashboards_export(given: argparse.Namespace) -> int:
    """``cycles-otel dashboards export``."""
    from cycles_otel.dashboards.command import run_export

    return run_export(given.folder)


def dashboards_push(given: argparse.Namespace) -> int:
    """``cycles-otel dashboards push``."""
    from cycles_otel.dashboards.command import run_push

    token = (given.token or os.environ.get("GRAFANA_TOKEN", "")).strip()
    return run_push(given.url, token, given.folder or None, given.dry_run)


def doctor(given: argparse.Namespace) -> int:
    """``cycles-otel doctor``; returns 1 where there is something to mend."""
    with _cli_extra():
        from rich.console import Console
        from runcycles import Unit

        with Console(stderr=True).status("Loading the Agents SDK"):
            from cycles_otel.doctor.command import run_doctor
            from cycles_otel.doctor.setup import Asked

    levels = {level: value for level in LEVELS if (value := getattr(given, level)) is not None}
    more = {} if given.llm_estimate is None else {"llm_estimate": given.llm_estimate}
    asked = Asked(
        levels,
        llm_unit=Unit(given.llm_unit),
        tool_risk=given.tool_risk,
        timeout=given.timeout,
        metrics_url=given.metrics_url,
        **more,
    )
    return run_doctor(asked, json=given.json)


def journal_list(given: argparse.Namespace) -> int:
    """``cycles-otel journal list``."""
    with _cli_extra():
        from cycles_otel.cli.journal.listing import run_list
    from runcycles.journal import default_journal_dir

    named = given.dir or os.environ.get("CYCLES_JOURNAL_DIR")
    return run_list(Path(named) if named else default_journal_dir(), given.tenant, as_json=given.json)


def journal_replay(given: argparse.Namespace) -> int:
    """``cycles-otel journal replay``; returns 1 where something is left."""
    with _cli_extra():
        from rich.console import Console

        with Console(stderr=True).status("Loading the Agents SDK"):
            from cycles_otel.cli.journal.replay import run_replay
            from cycles_otel.parameters import connection_config, subject_levels
    try:
        config = connection_config(None, None)
        tenant = subject_levels(config, tenant=given.tenant).get("tenant")
    except ValueError as error:
        print(f"{given.program}: {error}", file=sys.stderr)
        return 2
    config = replace(config, tenant=tenant, journal_dir=given.dir or config.journal_dir)
    return run_replay(config, timeout=given.timeout, dry_run=given.dry_run)


def completion(given: argparse.Namespace) -> int:
    """``cycles-otel completion``."""
    with _cli_extra():
        from cycles_otel.cli.completion import script
    from cycles_otel.cli.arguments import parser

    print(script(parser(), given.shell))
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
