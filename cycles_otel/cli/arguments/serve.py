"""``cycles-otel serve``: what it takes."""

from __future__ import annotations

from cycles_otel.cli import commands
from cycles_otel.cli.arguments.common import Subparsers, Wide

_SERVE = """\
An embedded Cycles server for development and tests. It speaks the protocol of the real server; to move to that, change
CYCLES_BASE_URL and CYCLES_API_KEY, and nothing else. It prints the address and the keys.
"""

_SERVE_EXAMPLES = """\
examples:
  cycles-otel serve                            a tenant with ample budgets, on http://127.0.0.1:7878
  cycles-otel serve --budgets budgets.yaml --db ledger.db
                                               your own budgets, in a ledger that outlives the server
a budgets file is YAML: scopes, and for each an amount in a unit (1 USD is 100,000,000 USD_MICROCENTS):
  budgets:
    tenant:acme:
      USD_MICROCENTS: 1_000_000_000
      RISK_POINTS: 500
    tenant:acme/agent:billing/toolset:send_email:
      RISK_POINTS: 100
"""


def add(subparsers: Subparsers) -> None:
    """``cycles-otel serve``."""
    serve = subparsers.add_parser(
        "serve",
        help="start a Cycles server for development and tests",
        description=_SERVE,
        epilog=_SERVE_EXAMPLES,
        formatter_class=Wide,
    )
    serve.add_argument("--budgets", metavar="FILE", help='a YAML file (default: ample budgets for a tenant "acme")')
    serve.add_argument("--port", type=int, default=7878, help="0 for any that is free (default: 7878)")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)")
    serve.add_argument("--db", metavar="FILE", help="keep the ledger in this file (default: in memory)")
    serve.set_defaults(command=commands.serve, program=serve.prog)
