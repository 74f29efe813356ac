"""What can be asked for on the command line, a module for each command."""

from __future__ import annotations

import functools

from cycles_otel._version import __version__
from cycles_otel.cli.arguments import completion, dashboards, demo, doctor, exporter, journal, serve
from cycles_otel.cli.arguments.common import Parser, Wide, print_help

_PROGRAM = "cycles-otel"
_DESCRIPTION = "Budgets in front of every step of an agent run, with OpenTelemetry spans and Prometheus metrics."
_FIRST_STEPS = """\
first steps:
  cycles-otel demo                             a team of agents under budgets, in ten seconds
  cycles-otel serve                            a Cycles server for development, for your own agents
  cycles-otel doctor                           what is not set up as it should be, and what to mend
  cycles-otel exporter                         the budgets of a server as metrics, for Prometheus
  cycles-otel dashboards export DIR            the Grafana dashboards, the rules and runbooks for Prometheus
  cycles-otel COMMAND --help                   what a command does, and what it takes
"""


def parser() -> Parser:
    """The parser; what it returns has a ``command``, which takes that and returns the exit status."""
    top = Parser(_PROGRAM, description=_DESCRIPTION, epilog=_FIRST_STEPS, formatter_class=Wide)
    top.add_argument("--version", action="version", version=f"{_PROGRAM} {__version__}")
    top.set_defaults(command=functools.partial(print_help, top))
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for command in (demo, serve, doctor, journal, exporter, dashboards, completion):
        command.add(subparsers)
    return top
