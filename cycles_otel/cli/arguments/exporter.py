"""``cycles-otel exporter``: what it takes."""

from __future__ import annotations

from cycles_otel.cli import commands
from cycles_otel.cli.arguments.common import Subparsers, Wide, positive

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


def add(subparsers: Subparsers) -> None:
    """``cycles-otel exporter``."""
    exporter = subparsers.add_parser(
        "exporter",
        help="show the budgets of a server as metrics",
        description=_EXPORTER,
        epilog=_EXPORTER_EXAMPLES,
        formatter_class=Wide,
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
        "--max-budgets", type=positive, default=10_000, metavar="N", help="how many are shown at most (default: 10000)"
    )
    exporter.set_defaults(command=commands.exporter, program=exporter.prog)
