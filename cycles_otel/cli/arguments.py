"""What can be asked for on the command line."""

from __future__ import annotations

import argparse
import functools
from typing import NoReturn

from cycles_otel._version import __version__
from cycles_otel.cli import commands

_PROGRAM = "cycles-otel"
_DESCRIPTION = "Budgets in front of every step of an agent run, with OpenTelemetry spans and Prometheus metrics."
_FIRST_STEPS = """\
first steps:
  cycles-otel demo                             a team of agents under budgets, in ten seconds
  cycles-otel serve                            a Cycles server for development, for your own agents
  cycles-otel exporter                         the budgets of a server as metrics, for Prometheus
  cycles-otel dashboards export DIR            the Grafana dashboards, the rules and runbooks for Prometheus
  cycles-otel COMMAND --help                   what a command does, and what it takes
"""

_DEMO = """\
A support desk with four tenants works under budgets, on an embedded Cycles server: agents hand over to each other, use
tools of different risk, and are stopped before a step that their tenant's budget does not allow. Models are scripted:
no key and no internet are needed, and nothing is spent.

It ends with what was spent and denied, the spans of a run, lines of the /metrics page, and the proof that what the
telemetry says equals what the ledger holds. The exit status is 1 where it does not.
"""
_DEMO_EXAMPLES = """\
examples:
  cycles-otel demo --seed 7                    another workload; the same seed spends the same
  cycles-otel demo --serve                     keep /metrics and the workload up, for a Prometheus to scrape
  cycles-otel demo --otlp http://localhost:4318
                                               send the traces to an OpenTelemetry collector
"""

_SERVE = """\
An embedded Cycles server for development and tests. It speaks the protocol of the real server; to move to that, change
CYCLES_BASE_URL and nothing else. It prints the address and the keys.
"""
_SERVE_EXAMPLES = """\
a budgets file is YAML: scopes, and for each an amount in a unit (1 USD is 100,000,000 USD_MICROCENTS):
  budgets:
    tenant:acme:
      USD_MICROCENTS: 1_000_000_000
      RISK_POINTS: 500
    tenant:acme/agent:billing/toolset:send_email:
      RISK_POINTS: 100
"""

_EXPORTER = """\
A Prometheus exporter of budgets: it polls a Cycles server for the balances that nobody touches just now, and shows
what is allocated, remaining, reserved, spent and owed, by scope and unit. A balance that was not seen for some
intervals disappears, rather than lies.

What it polls is CYCLES_BASE_URL with CYCLES_API_KEY (all budgets of the key's tenant; CYCLES_TENANT, CYCLES_AGENT
etc. narrow it down), or the targets of a file. SIGTERM ends it with status 0, Ctrl-C with 130.
"""
_EXPORTER_EXAMPLES = """\
examples:
  cycles-otel exporter                         poll every 30 s, serve http://127.0.0.1:9465/metrics
  cycles-otel exporter --config targets.yaml --host 0.0.0.0
                                               several tenants, scraped from elsewhere
  cycles-otel exporter --metrics otlp          send by OTLP, to where OTEL_EXPORTER_OTLP_ENDPOINT says
  cycles-otel exporter --once > cycles.prom    print the page once, for cron; status 1 where a target is down
a file of targets is YAML; it counts more than the command line:
  base_url: https://cycles.example.com         # here for all targets, or in each
  interval: 60                                 # so may jitter, timeout, stale_after, max_backoff
  targets:
    - tenant: acme
      api_key_env: ACME_CYCLES_KEY
    - tenant: globex
      api_key_file: /run/secrets/globex        # read anew before each poll
      agent: billing                           # only the budgets of this agent
      interval: 10
"""

_DASHBOARDS = """\
The five Grafana dashboards, with the recording rules that they read, the alerts, and a runbook for each alert.
"""
_EXPORT = """\
Writes all files below a folder: *.json for Grafana (to import, or for provisioning), rules/*.yaml for Prometheus,
runbooks/*.md. What stands there is overwritten.
"""
_PUSH = """\
Puts the dashboards into a Grafana (11 or later) by its HTTP API. What is the same already is left alone, and one that
was changed there is overwritten: Grafana keeps its history. The token is that of a service account with the role
Editor; better than on the command line it stands in GRAFANA_TOKEN.
"""
_PUSH_EXAMPLES = """\
examples:
  export GRAFANA_TOKEN=glsa_...
  cycles-otel dashboards push --url https://grafana.example.com --folder Cycles --dry-run
                                               see what would change
  cycles-otel dashboards push --url https://grafana.example.com --folder Cycles
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where to read more."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """The parser; what it returns has a ``command``, which takes that and returns the exit status."""
    top = _Parser(_PROGRAM, description=_DESCRIPTION, epilog=_FIRST_STEPS, formatter_class=_Wide)
    top.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    top.set_defaults(command=functools.partial(_print_help, top))
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    _add_demo(subparsers)
    _add_serve(subparsers)
    _add_exporter(subparsers)
    _add_dashboards(subparsers)
    return top


class _Wide(argparse.RawDescriptionHelpFormatter):
    """Keeps our own line breaks, and puts the help of an option beside it."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=118)


def _add_demo(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    demo = subparsers.add_parser(
        "demo",
        help="watch a team of agents work under budgets",
        description=_DEMO,
        epilog=_DEMO_EXAMPLES,
        formatter_class=_Wide,
    )
    demo.add_argument("--customers", type=_positive, default=80, metavar="N", help="how many are served (default: 80)")
    demo.add_argument("--seed", type=int, default=1, metavar="N", help="what the workload is drawn from (default: 1)")
    demo.add_argument("--otlp", metavar="ENDPOINT", help="send the traces there by OTLP over HTTP")
    demo.add_argument("--serve", action="store_true", help="go on with the workload and /metrics until Ctrl-C")
    demo.set_defaults(command=commands.demo, program=demo.prog)


def _add_serve(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    serve = subparsers.add_parser(
        "serve",
        help="start a Cycles server for development and tests",
        description=_SERVE,
        epilog=_SERVE_EXAMPLES,
        formatter_class=_Wide,
    )
    serve.add_argument("--budgets", metavar="FILE", help='a YAML file (default: ample budgets for a tenant "acme")')
    serve.add_argument("--port", type=int, default=7878, help="0 for any that is free (default: 7878)")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    serve.add_argument("--db", metavar="FILE", help="keep the ledger in this file (default: in memory)")
    serve.set_defaults(command=commands.serve, program=serve.prog)


def _add_exporter(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    exporter = subparsers.add_parser(
        "exporter",
        help="show the budgets of a server as metrics",
        description=_EXPORTER,
        epilog=_EXPORTER_EXAMPLES,
        formatter_class=_Wide,
    )
    exporter.add_argument("--config", metavar="FILE", help="a YAML file of targets (default: what CYCLES_* say)")
    exporter.add_argument("--port", type=int, default=9465, help="of /metrics; 0 for any that is free (default: 9465)")
    exporter.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    exporter.add_argument(
        "--metrics",
        choices=("prometheus", "otlp", "both"),
        help="serve /metrics, send by OTLP, or both (default: what CYCLES_OTEL_METRICS says, else prometheus)",
    )
    exporter.add_argument("--once", action="store_true", help="poll once, print the page, and end")
    for name, kind, metavar, what in (
        ("interval", float, "S", "seconds from one poll of a target to the next (default: 30)"),
        ("jitter", float, "SHARE", "by how much of the interval a poll may be late, 0 to 0.5 (default: 0.1)"),
        ("timeout", float, "S", "seconds that a page of balances may take (default: 10)"),
        ("stale-after", int, "N", "intervals after which what was not seen again disappears (default: 3)"),
        ("max-backoff", float, "S", "seconds that a target is left alone at most after failures (default: 60)"),
    ):
        exporter.add_argument(f"--{name}", type=kind, metavar=metavar, help=what)
    exporter.add_argument(
        "--max-budgets", type=_positive, default=10_000, metavar="N", help="how many are shown at most (default: 10000)"
    )
    exporter.set_defaults(command=commands.exporter, program=exporter.prog)


def _add_dashboards(subparsers: argparse._SubParsersAction[_Parser]) -> None:
    dashboards = subparsers.add_parser(
        "dashboards",
        help="the Grafana dashboards, rules and runbooks",
        description=_DASHBOARDS,
        formatter_class=_Wide,
    )
    dashboards.set_defaults(command=functools.partial(_print_help, dashboards), program=dashboards.prog)
    actions = dashboards.add_subparsers(title="commands", metavar="COMMAND", parser_class=_Parser)
    export = actions.add_parser("export", help="write them to a folder", description=_EXPORT, formatter_class=_Wide)
    export.add_argument("folder", metavar="DIR", help="the folder; it is made where it is missing")
    export.set_defaults(command=commands.dashboards_export, program=export.prog)
    push = actions.add_parser(
        "push",
        help="put the dashboards into a Grafana",
        description=_PUSH,
        epilog=_PUSH_EXAMPLES,
        formatter_class=_Wide,
    )
    push.add_argument("--url", required=True, help="the address of Grafana")
    push.add_argument("--token", help="of a service account (default: what GRAFANA_TOKEN says)")
    push.add_argument("--folder", metavar="TITLE", help="the folder to put them into; it is made where it is missing")
    push.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    push.set_defaults(command=commands.dashboards_push, program=push.prog)


def _print_help(top: argparse.ArgumentParser, _: argparse.Namespace) -> int:
    top.print_help()
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted: a whole number from 1 on")
    return int(text)
