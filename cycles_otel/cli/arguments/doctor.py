"""``cycles-otel doctor``: what it takes."""

from __future__ import annotations

from runcycles import Unit

from cycles_otel.cli import commands
from cycles_otel.cli.arguments.common import Subparsers, Wide, address, seconds, whole_number

_DOCTOR = """\
Looks at the whole chain: the environment, the key, the tenant and its budgets in the units that steps need, a dry run
of a reserve, clock, latency, the OTLP endpoint, /metrics, the Agents SDK, the journal and what waits in it. Each
finding says what to mend. Nothing is changed: neither on the server nor on the disk.

The set-up is that of the program: CYCLES_BASE_URL, CYCLES_API_KEY, CYCLES_TENANT, OTEL_*; what your program gives to
CyclesRunHooks as parameters is given here as options. The exit status is 1 where there is something to mend.
"""
_EXAMPLES = """\
examples:
  cycles-otel doctor                           what CYCLES_* and OTEL_* set up
  cycles-otel doctor --agent billing --llm-unit TOKENS --llm-estimate 4000
                                               the budgets of an agent that reserves tokens
  cycles-otel doctor --tool-risk 0             where tools cost no risk points (default_tool_risk=0)
  cycles-otel doctor --metrics-url http://127.0.0.1:9464/metrics
                                               and whether the running program can be scraped
  cycles-otel doctor --json                    for a program: {"well": ..., "findings": [...]}
"""
_METRICS_URL = "where the program serves /metrics (default: http://127.0.0.1:9464/metrics, if anything is there)"
_TIMEOUT = "seconds for a reply (default: what CYCLES_READ_TIMEOUT says, else 5)"


def add(subparsers: Subparsers) -> None:
    """``cycles-otel doctor``."""
    doctor = subparsers.add_parser(
        "doctor",
        help="find what is not set up as it should be",
        description=_DOCTOR,
        epilog=_EXAMPLES,
        formatter_class=Wide,
    )
    for level in commands.LEVELS:
        doctor.add_argument(f"--{level}", help=f"of the subject (default: what CYCLES_{level.upper()} says)")
    units = [unit.value for unit in Unit]
    doctor.add_argument("--llm-unit", choices=units, default=Unit.USD_MICROCENTS.value, help="what LLM calls reserve")
    doctor.add_argument("--llm-estimate", type=whole_number(0), metavar="N", help="how much of it (default: 500000)")
    doctor.add_argument(
        "--tool-risk", type=whole_number(0), default=1, metavar="N", help="risk points of a tool (default: 1)"
    )
    doctor.add_argument("--metrics-url", type=address, metavar="URL", help=_METRICS_URL)
    doctor.add_argument("--timeout", type=seconds, metavar="S", help=_TIMEOUT)
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(command=commands.doctor, program=doctor.prog)
