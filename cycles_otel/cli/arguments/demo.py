"""``cycles-otel demo``: what it takes."""

from __future__ import annotations

from cycles_otel.cli import commands
from cycles_otel.cli.arguments.common import Subparsers, Wide, positive

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


def add(subparsers: Subparsers) -> None:
    """``cycles-otel demo``."""
    demo = subparsers.add_parser(
        "demo",
        help="watch a team of agents work under budgets",
        description=_DEMO,
        epilog=_DEMO_EXAMPLES,
        formatter_class=Wide,
    )
    demo.add_argument("--customers", type=positive, default=80, metavar="N", help="how many are served (default: 80)")
    demo.add_argument("--seed", type=int, default=1, metavar="N", help="what the workload is drawn from (default: 1)")
    demo.add_argument("--otlp", metavar="ENDPOINT", help="send the traces there by OTLP over HTTP")
    demo.add_argument("--serve", action="store_true", help="go on with the workload and /metrics until Ctrl-C")
    demo.set_defaults(command=commands.demo, program=demo.prog)
