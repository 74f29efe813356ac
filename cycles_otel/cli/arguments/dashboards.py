"""``cycles-otel dashboards``: what it takes."""

from __future__ import annotations

import functools

from cycles_otel.cli import commands
from cycles_otel.cli.arguments.common import Parser, Subparsers, Wide, print_help

_DASHBOARDS = """\
The five Grafana dashboards, with the recording rules that they read, the alerts, and a runbook for each alert.
"""

_EXPORT = """\
Writes all files below a folder: *.json for Grafana (to import, or for provisioning), rules/*.yaml for Prometheus,
runbooks/*.md. What stands there is overwritten.
"""

_EXPORT_EXAMPLES = """\
examples:
  cycles-otel dashboards export /etc/grafana/dashboards
                                               for provisioning; Prometheus reads rules/*.yaml below it
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


def add(subparsers: Subparsers) -> None:
    """``cycles-otel dashboards``."""
    dashboards = subparsers.add_parser(
        "dashboards",
        help="the Grafana dashboards, rules and runbooks",
        description=_DASHBOARDS,
        formatter_class=Wide,
    )
    dashboards.set_defaults(command=functools.partial(print_help, dashboards), program=dashboards.prog)
    actions = dashboards.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    export = actions.add_parser(
        "export", help="write them to a folder", description=_EXPORT, epilog=_EXPORT_EXAMPLES, formatter_class=Wide
    )
    export.add_argument("folder", metavar="DIR", help="the folder; it is made where it is missing")
    export.set_defaults(command=commands.dashboards_export, program=export.prog)
    push = actions.add_parser(
        "push",
        help="put the dashboards into a Grafana",
        description=_PUSH,
        epilog=_PUSH_EXAMPLES,
        formatter_class=Wide,
    )
    push.add_argument("--url", required=True, help="the address of Grafana")
    push.add_argument("--token", help="of a service account (default: what GRAFANA_TOKEN says)")
    push.add_argument("--folder", metavar="TITLE", help="the folder to put them into; it is made where it is missing")
    push.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
    push.set_defaults(command=commands.dashboards_push, program=push.prog)
